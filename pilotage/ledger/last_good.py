"""What served an endpoint before a promotion's first change: written once, before that change."""

from __future__ import annotations

from typing import Any

from pilotage.ledger.documents import create_first, read_json
from pilotage.ports import Records


class LastGood:
    def __init__(self, records: Records) -> None:
        self._records = records

    def record(self, promotion: str, value: dict[str, Any]) -> dict[str, Any]:
        """Keep the state; the first record wins, and is what every caller gets."""
        return create_first(self._records, _name(promotion), value)[0]

    def get(self, promotion: str) -> dict[str, Any] | None:
        return read_json(self._records, _name(promotion))


def _name(promotion: str) -> str:
    return f"last-good/{promotion}.json"
