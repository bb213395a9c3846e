"""An audit of a period as one zip: every passport that was written to in it, whole, and what was refused; signed as a whole.

    manifest.json            what is in it, each member by its digest; signed by the key that signs passports
    keys.json                the public keys, as `pilotage passport keys` prints them
    passports/<id>.json      passport files, of promotions, their rollbacks and drift incidents
    refusals/<id>.json       attempts that were refused, of the promotions here, and of others in the period
    said/<id>.json           comments, and the review after a broken glass

A passport that is missing, changed or added shows: the manifest names them all. What the manifest can't prove is that the
export left nothing out; the count of the ledger's passports at that time is in it, and the anchors on the registry's models.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from pilotage.domain.signatures import manifest_content
from pilotage.errors import TooLarge
from pilotage.ledger import Ledger
from pilotage.passports.file import passport_file

FORMAT = "pilotage-audit/1"
MANIFEST = "manifest.json"
LIMIT = 64 * 1024 * 1024
"""Bytes of the zip: an HTTP answer of a function stands in memory as a whole."""


def audit_zip(ledger: Ledger, begin: datetime, end: datetime, now: datetime, limit: int = LIMIT) -> bytes:
    """The zip of [begin, end), times with zones. Raises TooLarge when it holds more than `limit` bytes."""
    target = io.BytesIO()
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        files: list[dict[str, Any]] = []

        def add(name: str, value: Any) -> None:
            content = json.dumps(value, indent=1, ensure_ascii=False, sort_keys=True).encode()
            files.append({"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()})
            _write(archive, name, content, now)
            if target.tell() > limit:
                raise TooLarge(f"the evidence of this period is over {limit // 2**20} MiB as a zip: export a shorter one, "
                               "such as month by month")

        known = ledger.passports.ids()
        touched = [passport for passport in known if _was_written(ledger, passport, begin, end)]
        for passport in touched:
            add(f"passports/{_safe(passport)}.json", passport_file(ledger, passport, now))
        for promotion in ledger.voices.refused():
            refusals = [refusal for refusal in ledger.voices.refusals(promotion)
                        if promotion in touched or begin <= datetime.fromisoformat(refusal.at) < end]
            if refusals:
                add(f"refusals/{_safe(promotion)}.json", [refusal.model_dump(mode="json") for refusal in refusals])
        for passport in touched:
            comments, review = ledger.voices.comments(passport), ledger.voices.review_of(passport)
            if comments or review:
                add(f"said/{_safe(passport)}.json", {"comments": [comment.model_dump(mode="json") for comment in comments],
                                                     "review": review.model_dump(mode="json") if review else None})
        add("keys.json", key_set(ledger))
        statement = {"format": FORMAT, "from": _iso(begin), "to": _iso(end), "exported_at": _iso(now), "passports": len(touched),
                     "passports_in_ledger": len(known), "files": files}
        signature = ledger.passports.sign(manifest_content(statement))
        content = json.dumps({**statement, "signature": signature.model_dump(mode="json")}, indent=1).encode()
        _write(archive, MANIFEST, content, now)
    return target.getvalue()


def key_set(ledger: Ledger) -> dict[str, Any]:
    """The public keys that ever signed, as a JWK Set."""
    return {"keys": [{**jwk, "kid": kid, "alg": "ES256", "use": "sig"} for kid, jwk in sorted(ledger.passports.keys().items())]}


def _was_written(ledger: Ledger, passport: str, begin: datetime, end: datetime) -> bool:
    """True when an entry is of the period. The first and the last tell most; the others are read only when they lie on both sides."""
    first, last = (datetime.fromisoformat(at) for at in ledger.passports.span(passport))
    if last < begin or first >= end:
        return False
    if begin <= first or last < end:
        return True
    return any(begin <= at < end for at in _times(ledger, passport))


def _times(ledger: Ledger, passport: str) -> Iterable[datetime]:
    return (datetime.fromisoformat(entry.at) for entry in ledger.passports.entries(passport))


def _write(archive: ZipFile, name: str, content: bytes, now: datetime) -> None:
    info = ZipInfo(name, now.astimezone(UTC).timetuple()[:6])
    info.compress_type = ZIP_DEFLATED
    archive.writestr(info, content)


def _safe(passport: str) -> str:
    """A file name on every system: ids of child orchestrations have colons."""
    return passport.replace(":", "~")


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
