"""Passports: each entry a record of its own, written once together with its signature."""

from __future__ import annotations

import json

from pilotage.domain.names import promotion_of
from pilotage.domain.passport import Entry
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.signatures import Jwk, Signature, entry_content, thumbprint
from pilotage.errors import Conflict, NotFound, PilotageError
from pilotage.ledger.documents import create_first, read_json
from pilotage.messages import Cursor
from pilotage.ports import Records, Signer

Signed = tuple[Entry, Signature]


class Passports:
    def __init__(self, records: Records, signer: Signer) -> None:
        self._records, self._signer = records, signer
        self._published: set[str] = set()

    def append(self, entry: Entry) -> None:
        """Write an entry with its signature; the same entry again is fine. Raises Conflict when another has its sequence number.

        A second signature of the same entry differs from the first (ES256 is not deterministic), and the first stays.
        """
        value = entry.model_dump(mode="json")
        try:
            signature = self.sign(entry_content(entry.passport, entry.sequence, entry.digest)).model_dump(mode="json")
        except PilotageError:
            if entry.phase != PromotionPhase.ROLLED_BACK:
                raise
            signature = None  # nothing blocks a rollback, not even a key that can't be reached: it is signed when it is next read
        stored, _ = create_first(self._records, f"passports/{entry.passport}/{entry.sequence:06d}.json",
                                 {"entry": value, "signature": signature})
        if stored["entry"] != value:
            raise Conflict(f"entry {entry.sequence} of {entry.passport} is there with another content")

    def signed(self, passport: str) -> list[Signed]:
        """All entries with their signatures, in order; empty when there is no such passport."""
        return [(entry, signature or self._late(entry)) for entry, signature in self._read(passport)]

    def entries(self, passport: str) -> list[Entry]:
        """All entries in order."""
        return [entry for entry, _ in self._read(passport)]

    def ids(self) -> list[str]:
        """Every passport there is, sorted."""
        return list(dict.fromkeys(name.split("/")[1] for name in self._records.names("passports/")))

    def span(self, passport: str) -> tuple[str, str]:
        """Times of the first and the last entry, read from these two alone. Raises NotFound."""
        names = self._records.names(f"passports/{passport}/")
        ends = [content for name in (names[:1] + names[-1:]) if (content := self._records.read(name)) is not None]
        if len(ends) != 2:
            raise NotFound(f"there is no passport {passport}")
        first, last = (_parse(content)[0].at for content in ends)
        return first, last

    def rollbacks(self, promotion: str) -> list[str]:
        """Passports of a promotion's rollbacks: those that were asked for, its rollout's own, a sweep's."""
        found = [name.split("/")[1] for prefix in (f"passports/rollback-{promotion}-", f"passports/{promotion}:")
                 for name in self._records.names(prefix)]
        return [name for name in dict.fromkeys(found) if promotion_of(name) == promotion]

    def keys(self) -> dict[str, Jwk]:
        """Every public key that ever signed, by thumbprint: what an old key signed stays verifiable."""
        found = {name: self._records.read(name) for name in self._records.names("keys/")}
        return {name.removeprefix("keys/").removesuffix(".json"): json.loads(content) for name, content in found.items() if content}

    def sign(self, content: bytes) -> Signature:
        """Sign, after the key is published: nothing is signed by a key that nobody can look up."""
        jwk = self._signer.public_key()
        kid = thumbprint(jwk)
        if kid not in self._published:
            create_first(self._records, f"keys/{kid}.json", dict(jwk))
            self._published.add(kid)
        return self._signer.sign(content)

    def tail(self, passport: str) -> Cursor:
        """Where the next entry goes."""
        names = self._records.names(f"passports/{passport}/")
        content = self._records.read(names[-1]) if names else None
        if content is None:
            return Cursor()
        last, _ = _parse(content)
        return Cursor(sequence=last.sequence + 1, previous=last.digest)

    def _read(self, passport: str) -> list[tuple[Entry, Signature | None]]:
        found = [self._records.read(name) for name in self._records.names(f"passports/{passport}/")]
        return [_parse(content) for content in found if content is not None]

    def _late(self, entry: Entry) -> Signature:
        """The signature of an entry that was written while nothing could be signed."""
        name = f"signatures/{entry.passport}/{entry.sequence:06d}.json"
        if (kept := read_json(self._records, name)) is None:
            signature = self.sign(entry_content(entry.passport, entry.sequence, entry.digest))
            kept, _ = create_first(self._records, name, signature.model_dump(mode="json"))
        return Signature.model_validate(kept)


def _parse(content: bytes) -> tuple[Entry, Signature | None]:
    value = json.loads(content)
    signature = value["signature"]
    return Entry.model_validate(value["entry"]), Signature.model_validate(signature) if signature else None
