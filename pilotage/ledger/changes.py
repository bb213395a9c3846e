"""Changing a row that others change too: read, decide, write exactly over what was read, or decide again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pilotage.errors import Busy, Conflict
from pilotage.ports import Rows

ATTEMPTS = 20

Row = dict[str, Any]


def change(
    rows: Rows, table: str, key: str, decide: Callable[[Row | None], Row | None],
    columns: Callable[[Row], dict[str, str]] | None = None,
) -> Row | None:
    """Apply `decide` (row or None -> new row, or None to leave it) and return the row as it then stands.

    `decide` may be called several times, and once more after a write whose answer was lost: it must see
    that its change is there already and leave it. Raises Busy when somebody else was first each time.
    """
    for _ in range(ATTEMPTS):
        found = rows.get(table, key)
        current, etag = found if found else (None, None)
        wanted = decide(current)
        if wanted is None or wanted == current:
            return current
        try:
            rows.put(table, key, wanted, etag, columns(wanted) if columns else None)
        except Conflict:
            continue
        return wanted
    raise Busy(f"{table}/{key} was changed by others {ATTEMPTS} times in a row; try again")
