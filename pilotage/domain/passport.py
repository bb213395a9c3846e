"""The passport: the append-only, hash-chained evidence of one promotion.

Each entry carries the digest of the one before it, so a changed, missing or reordered entry shows.
Entries hold object ids, aggregates and digests only: no rows, no e-mail addresses, no raw payloads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pilotage.domain.assets import Frozen
from pilotage.domain.canonical import canonical_json, digest

CLOSING = "closing"
"""Kind of the last entry: nothing follows it, and its digest is anchored outside."""
ANCHOR = "pilotage.passport."
"""Begins the name of the property by which a registry's model bears the digest of a promotion's closed passport."""
GENESIS = "sha256:" + "0" * 64


class Entry(Frozen):
    """One entry. `kind` is `intent` (before an effect), `outcome` (after it), `fact`, or `closing` (the last one)."""

    schema_: int = 1
    passport: str
    """The id of the promotion, rollback or incident."""
    sequence: int
    at: str
    """ISO time of the orchestration's clock, UTC."""
    kind: str
    step: str
    phase: str
    data: dict[str, Any] = {}
    previous: str = GENESIS

    @property
    def digest(self) -> str:
        return digest(self.model_dump(mode="json"))

    def to_bytes(self) -> bytes:
        """The bytes that are stored; the same entry always gives the same bytes."""
        return canonical_json(self.model_dump(mode="json"))


def verify_chain(entries: Sequence[Entry]) -> list[str]:
    """What is wrong with a passport's entries, in order; empty when nothing is."""
    problems = []
    previous = GENESIS
    for position, entry in enumerate(entries):
        if entry.sequence != position:
            problems.append(f"entry {position}: sequence is {entry.sequence}")
        if entry.previous != previous:
            problems.append(f"entry {position}: does not follow from the entry before it")
        if entry.passport != entries[0].passport:
            problems.append(f"entry {position}: belongs to {entry.passport}, not to {entries[0].passport}")
        previous = entry.digest
    return problems
