"""What was told where, and how each channel fares."""

from __future__ import annotations

from typing import Any

from pilotage.domain.canonical import short_hash
from pilotage.ledger.changes import Row, change
from pilotage.ledger.documents import create_first
from pilotage.ports import Records, Rows

_TABLE = "channels"


class ChannelBook:
    def __init__(self, records: Records, rows: Rows) -> None:
        self._records, self._rows = records, rows

    def told(self, promotion: str, key: str, channel: str) -> bool:
        """True when this message has gone to this channel."""
        return self._records.read(_name(promotion, key, channel)) is not None

    def note(self, promotion: str, key: str, channel: str, at: str, error: str = "") -> None:
        """A message went out, or (`error`) did not. The note follows it: a crash between the two tells it twice, never not at all."""
        if not error:
            create_first(self._records, _name(promotion, key, channel), {"channel": channel, "key": key, "at": at})
        self.fares(channel, at, error)

    def fares(self, channel: str, at: str, error: str = "") -> None:
        """A channel took a message, or (`error`) did not."""

        def decide(row: Row | None) -> Row:
            before: Row = {"name": channel, "last_ok": "", "since": "", "error": "", "error_at": "", "failures": 0} | (row or {})
            if not error:
                return {**before, "last_ok": at, "since": "", "failures": 0}
            return {**before, "since": before["since"] or at, "error": error[:300], "error_at": at, "failures": before["failures"] + 1}

        change(self._rows, _TABLE, channel, decide)

    def health(self) -> list[dict[str, Any]]:
        """Every channel that was ever used: {"name", "last_ok", "since", "error", "error_at", "failures"}.

        `since` and `failures` (in a row) tell of one that fails now; `error` is its last failure, which may be long over.
        """
        return sorted(self._rows.scan(_TABLE), key=lambda row: str(row["name"]))


def _name(promotion: str, key: str, channel: str) -> str:
    return f"notices/{promotion}/{short_hash(key, channel, length=24)}.json"
