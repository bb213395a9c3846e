"""Events and alerts that could not be understood, kept with the reason."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

from pilotage.domain.assets import Frozen
from pilotage.domain.canonical import short_hash
from pilotage.ledger.documents import create_first, read_json
from pilotage.ports import Records

PAYLOAD_LIMIT = 64 * 1024
"""Bytes of a payload that are kept; its digest is of all of it."""


class Rejection(Frozen):
    """What was refused, and why."""

    id: str
    kind: str
    reason: str
    received_at: str
    payload: str
    """Its text; bytes that are no UTF-8 are replaced, what is over the limit is cut."""
    payload_digest: str
    payload_bytes: int


class Rejected:
    def __init__(self, records: Records) -> None:
        self._records = records

    def add(self, kind: str, reason: str, payload: bytes, at: datetime) -> None:
        """Keep a payload; the same payload for the same reason is kept once a day."""
        checksum = sha256(payload).hexdigest()
        name = f"{at.astimezone(UTC):%Y-%m-%d}/{short_hash(kind, reason, checksum, length=32)}"
        create_first(self._records, f"rejected/{name}.json", Rejection(
            id=name, kind=kind, reason=reason, received_at=at.astimezone(UTC).isoformat(timespec="milliseconds"),
            payload=payload[:PAYLOAD_LIMIT].decode("utf-8", errors="replace"),
            payload_digest=f"sha256:{checksum}", payload_bytes=len(payload)).model_dump(mode="json"))

    def list(self, limit: int = 100) -> list[Rejection]:
        """The newest rejections, newest first."""
        names = sorted(self._records.names("rejected/"), reverse=True)
        # Names are ordered by day only: read every record of the oldest day that is still within the limit.
        last_day = names[min(limit, len(names)) - 1].split("/")[1] if names and limit > 0 else ""
        wanted = [name for name in names if last_day and name.split("/")[1] >= last_day]
        found = [read_json(self._records, name) for name in wanted]
        rejections = [Rejection.model_validate(value) for value in found if value is not None]
        return sorted(rejections, key=lambda rejection: rejection.received_at, reverse=True)[:limit]
