"""Passports: each entry a record of its own that can be written once."""

from __future__ import annotations

import json

from pilotage.domain.passport import Entry
from pilotage.messages import Cursor
from pilotage.ports import Records


class Passports:
    def __init__(self, records: Records) -> None:
        self._records = records

    def append(self, entry: Entry) -> None:
        """Write an entry; the same entry again is fine. Raises Conflict when the sequence number is taken by another."""
        self._records.create(f"passports/{entry.passport}/{entry.sequence:06d}.json", entry.to_bytes())

    def entries(self, passport: str) -> list[Entry]:
        """All entries in order; empty when there is no such passport."""
        found = [self._records.read(name) for name in self._records.names(f"passports/{passport}/")]
        return [Entry.model_validate(json.loads(content)) for content in found if content is not None]

    def tail(self, passport: str) -> Cursor:
        """Where the next entry goes."""
        names = self._records.names(f"passports/{passport}/")
        content = self._records.read(names[-1]) if names else None
        if content is None:
            return Cursor()
        last = Entry.model_validate(json.loads(content))
        return Cursor(sequence=last.sequence + 1, previous=last.digest)
