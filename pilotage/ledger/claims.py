"""Claims: one record per instance that shall run, written before it is started.

A claim holds the whole request, so the instance can be started again from it, long after Event Grid
has forgotten the event.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pilotage.ledger.documents import create_first, read_json
from pilotage.ledger.outbox import Outbox
from pilotage.ports import Clock, Records


@dataclass(frozen=True)
class Claim:
    """That an instance shall run, with its input."""

    instance_id: str
    orchestration: str
    message: dict[str, Any]
    created: bool = False
    """True when this call wrote it; another claim of the same id got what the first one holds."""


class Claims:
    def __init__(self, records: Records, clock: Clock, markers: Records) -> None:
        self._records = records
        self._outbox = Outbox(markers, clock, "outbox/start/")

    def claim(self, instance_id: str, orchestration: str, message: dict[str, Any]) -> Claim:
        """Claim an instance; the first claim of an id wins, and every later one is given it."""
        if found := self.get(instance_id):
            return found
        stored: dict[str, Any] = {"orchestration": orchestration, "message": message}

        def write() -> bool:
            nonlocal stored
            stored, created = create_first(self._records, _name(instance_id), stored)
            return created

        created = self._outbox.promise(instance_id, {"instance": instance_id}, write)
        return Claim(instance_id, stored["orchestration"], stored["message"], created)

    def get(self, instance_id: str) -> Claim | None:
        found = read_json(self._records, _name(instance_id))
        return None if found is None else Claim(instance_id, found["orchestration"], found["message"])

    def pending(self) -> list[Claim]:
        """Claims not known to have been started, in the order of their ids."""
        return [claim for _, claim in self._outbox.pending(lambda about: self.get(about["instance"]))]

    def started(self, instance_id: str) -> None:
        """The instance runs, or has run."""
        self._outbox.done(instance_id)


def _name(instance_id: str) -> str:
    return f"claims/{instance_id}.json"
