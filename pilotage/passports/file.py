"""A passport as one JSON file that proves itself: entries, signatures, the public keys, and a signed statement of where it ends."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pilotage.domain.signatures import head_content
from pilotage.errors import NotFound
from pilotage.ledger import Ledger

FORMAT = "pilotage-passport/1"


def passport_file(ledger: Ledger, passport: str, now: datetime) -> dict[str, Any]:
    """The file of one passport as it stands. Raises NotFound."""
    signed = ledger.passports.signed(passport)
    if not signed:
        raise NotFound(f"there is no passport {passport}")
    at, head = now.isoformat(timespec="seconds"), signed[-1][0].digest
    rollbacks = [{"passport": name, "count": (tail := ledger.passports.tail(name)).sequence, "digest": tail.previous}
                 for name in ledger.passports.rollbacks(passport)]
    statement = ledger.passports.sign(head_content(passport, len(signed), head, at, rollbacks))
    used = {signature.kid for _, signature in signed} | {statement.kid}
    return {
        "format": FORMAT, "passport": passport, "exported_at": at,
        "entries": [entry.model_dump(mode="json") for entry, _ in signed],
        "signatures": [signature.model_dump(mode="json") for _, signature in signed],
        # Each is a passport of its own, to be fetched by its name.
        "rollbacks": rollbacks,
        "head": {"count": len(signed), "digest": head, "signature": statement.model_dump(mode="json")},
        "keys": [{**jwk, "kid": kid} for kid, jwk in sorted(ledger.passports.keys().items()) if kid in used],
    }
