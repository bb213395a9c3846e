"""In-memory doubles of the ports: real semantics, no network. `Crashing` dies at a chosen write."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from pilotage.domain.access import Actor
from pilotage.domain.canonical import canonical_json
from pilotage.domain.policy import Guardrails, PromotionPolicy
from pilotage.domain.signatures import Jwk, Signature, es256_jwk, thumbprint
from pilotage.errors import Conflict, Forbidden, Gone, Unauthenticated
from pilotage.ports import FormClaims, LinkClaims, Notification

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


class FixedClock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._now += by


class MemoryRecords:
    """`Records` in a dict."""

    def __init__(self) -> None:
        self.contents: dict[str, bytes] = {}
        self._lock = Lock()

    def create(self, name: str, content: bytes) -> bool:
        with self._lock:
            if name not in self.contents:
                self.contents[name] = content
                return True
        if self.contents[name] == content:
            return False
        raise Conflict(f"record {name} exists with another content")

    def read(self, name: str) -> bytes | None:
        return self.contents.get(name)

    def names(self, prefix: str, limit: int | None = None) -> list[str]:
        return sorted(name for name in list(self.contents) if name.startswith(prefix))[:limit]

    def delete(self, name: str) -> None:
        with self._lock:
            self.contents.pop(name, None)


class MemoryRows:
    """`Rows` in a dict, with etags; values are kept as JSON, so nobody shares an object with the store."""

    def __init__(self) -> None:
        self.contents: dict[tuple[str, str], tuple[bytes, str, dict[str, str]]] = {}
        self._written = 0
        self._lock = Lock()

    def get(self, table: str, key: str) -> tuple[dict[str, Any], str] | None:
        found = self.contents.get((table, key))
        return (_read(found[0]), found[1]) if found else None

    def put(self, table: str, key: str, value: dict[str, Any], etag: str | None, columns: dict[str, str] | None = None) -> None:
        with self._lock:
            found = self.contents.get((table, key))
            if (found[1] if found else None) != etag:
                raise Conflict(f"row {table}/{key} was written by somebody else meanwhile")
            self._written += 1
            self.contents[table, key] = (canonical_json(value), f"etag-{self._written}", dict(columns or {}))

    def scan(self, table: str, where: dict[str, str] | None = None, limit: int = 1000, after: str = "") -> list[dict[str, Any]]:
        found = [(key, value, columns) for (kind, key), (value, _, columns) in sorted(self.contents.items())
                 if kind == table and key > after]
        wanted = [value for _, value, columns in found
                  if all(columns.get(name) == text for name, text in (where or {}).items())]
        return [_read(value) for value in wanted[:limit]]


class Crash(BaseException):
    """The process dies here. Not an Exception: no handler of the code under test may survive it."""


class Crashing:
    """A store whose process dies at its n-th change: before it takes effect, or after it and before it is answered."""

    CHANGES = ("create", "put", "delete")

    def __init__(self, store: Any, countdown: Countdown) -> None:
        self._store, self._countdown = store, countdown

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name not in self.CHANGES:
            return method

        def change(*args: Any, **named: Any) -> Any:
            dies = self._countdown.next()
            if dies and self._countdown.before:
                raise Crash
            result = method(*args, **named)
            if dies:
                raise Crash
            return result

        return change


@dataclass
class Countdown:
    """Which change, counted over all stores that share it, is the last one."""

    at: int
    before: bool
    done: int = 0

    def next(self) -> bool:
        self.done += 1
        return self.done == self.at


@dataclass
class RecordingNotifier:
    """Keeps what was sent; raises `error` instead while it is set."""

    sent: list[Notification] = field(default_factory=list)
    error: Exception | None = None

    def known(self) -> dict[str, list[str]]:
        return {"webhook": ["webhook"]}

    def names(self, wanted: list[str]) -> list[str]:
        return wanted or ["webhook"]

    def send(self, notification: Notification, channel: str) -> None:
        if self.error is not None:
            raise self.error
        self.sent.append(notification)


@dataclass
class StaticIdentity:
    """Knows actors by their token."""

    actors: dict[str, Actor] = field(default_factory=dict)

    def verify(self, authorization: str | None) -> Actor:
        token = (authorization or "").removeprefix("Bearer ")
        if token not in self.actors:
            raise Unauthenticated
        return self.actors[token]


@dataclass
class MemoryTickets:
    """Tickets as numbered keys of a dict."""

    clock: FixedClock
    issued: dict[str, tuple[LinkClaims, datetime]] = field(default_factory=dict)

    def issue(self, claims: LinkClaims, expires_at: datetime) -> str:
        token = f"ticket-{len(self.issued) + 1}"
        self.issued[token] = (claims, expires_at)
        return token

    def redeem(self, token: str) -> LinkClaims:
        if token not in self.issued:
            raise Forbidden
        claims, expires_at = self.issued[token]
        if expires_at <= self.clock.now():
            raise Gone
        return claims.model_copy(update={"nonce": token})

    def issue_form(self, claims: LinkClaims, object_id: str, purpose: str, expires_at: datetime) -> str:
        about = FormClaims(**claims.model_dump(exclude={"nonce"}), object_id=object_id, purpose=purpose)
        return self.issue(about, expires_at)

    def redeem_form(self, token: str, object_id: str, purpose: str) -> FormClaims:
        claims = self.redeem(token)
        if not isinstance(claims, FormClaims) or (claims.object_id, claims.purpose) != (object_id, purpose):
            raise Forbidden
        return claims


@dataclass
class MemoryPolicies:
    """Policies as given."""

    known: Sequence[PromotionPolicy] = ()
    floors: Guardrails = field(default_factory=lambda: Guardrails(apiVersion="pilotage/v1"))
    broken: Sequence[str] = ()

    def policies(self) -> Sequence[PromotionPolicy]:
        return self.known

    def guardrails(self) -> Guardrails:
        return self.floors

    def problems(self) -> Sequence[str]:
        return self.broken


@dataclass
class MemoryOrchestrator:
    """The durable client: keeps what was started and raised; instances are RUNNING until told otherwise."""

    instances: dict[str, tuple[str, dict[str, Any]]] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=dict)
    raised: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    starts: int = 0
    on_start: Callable[[str], None] | None = None

    def state(self, instance_id: str) -> str | None:
        return self.states.get(instance_id)

    def start(self, orchestration: str, instance_id: str, message: dict[str, Any]) -> None:
        if self.on_start is not None:
            self.on_start(instance_id)
        if instance_id not in self.instances:
            self.starts += 1
            self.instances[instance_id] = (orchestration, message)
            self.states[instance_id] = "RUNNING"

    def raise_event(self, instance_id: str, event: str, data: dict[str, Any]) -> None:
        self.raised.append((instance_id, event, data))


def _read(content: bytes) -> dict[str, Any]:
    return json.loads(content)


class MemoryKey:
    """A signing key that lives as long as the process."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        numbers = self._key.public_key().public_numbers()
        self._jwk = es256_jwk(numbers.x, numbers.y)

    def public_key(self) -> Jwk:
        return self._jwk

    def sign(self, content: bytes) -> Signature:
        r, s = decode_dss_signature(self._key.sign(content, ec.ECDSA(SHA256(), deterministic_signing=True)))
        return Signature.of(thumbprint(self._jwk), r.to_bytes(32) + s.to_bytes(32))


SIGNER = MemoryKey()
