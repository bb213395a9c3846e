"""Markers of work that a record promises: written before the record, removed once the work is done.

Whoever dies in between leaves the marker, and a timer does the work. A marker whose record never came
promises nothing (its writer was not answered and tries again), and is dropped after an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from pilotage.domain.canonical import canonical_json
from pilotage.errors import Conflict
from pilotage.ledger.documents import read_json
from pilotage.ports import Clock, Records

ABANDONED_AFTER = timedelta(hours=1)
BATCH = 200
"""Markers looked at in one pass of the timer."""


class Outbox:
    """The markers below one prefix."""

    def __init__(self, records: Records, clock: Clock, prefix: str) -> None:
        self._records, self._clock, self._prefix = records, clock, prefix

    def promise(self, key: str, about: dict[str, Any], record: Callable[[], bool]) -> bool:
        """Leave a marker, write the record (its result is returned), and see that the marker outlived it.

        A marker that an earlier try left may be old enough to be dropped just now, while `record` writes:
        so one that is not fresh is written again afterwards.
        """
        fresh = self._mark(key, about)
        result = record()
        if not fresh:
            self._mark(key, about)
        return result

    def done(self, key: str) -> None:
        self._records.delete(self._prefix + key)

    def pending(self, recorded: Callable[[dict[str, Any]], Any]) -> Iterator[tuple[dict[str, Any], Any]]:
        """(what the marker is about, its record) for each marker; `recorded` reads the record or gives None."""
        for name in self._records.names(self._prefix, BATCH):
            marker = read_json(self._records, name)
            if marker is None:  # done meanwhile
                continue
            found = recorded(marker["about"])
            if found is None and self._clock.now() - datetime.fromisoformat(marker["at"]) > ABANDONED_AFTER:
                self._records.delete(name)
                # The record may have been written between our two looks; then the marker must stay.
                found = recorded(marker["about"])
                if found is not None:
                    self._mark(name.removeprefix(self._prefix), marker["about"])
            if found is not None:
                yield marker["about"], found

    def _mark(self, key: str, about: dict[str, Any]) -> bool:
        """True when the marker is new."""
        marker = {"at": self._clock.now().isoformat(), "about": about}
        try:
            return self._records.create(self._prefix + key, canonical_json(marker))
        except Conflict:
            return False
