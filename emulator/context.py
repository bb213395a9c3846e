"""What the parts of the local platform share: protocols only, no behaviour.

The services (Azure ML, Event Grid, identity) know each other through these types, never through
each other's modules, so each can be read, tested and replaced alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from starlette.routing import BaseRoute

from emulator.config import PlatformConfig
from emulator.errors import EmulatorError, Unauthorized

__all__ = ["MANAGEMENT", "STICK", "Caller", "Clock", "Context", "EmulatorError", "EventSink", "IdentityVerifier", "Service", "Storage",
           "Unauthorized"]

MANAGEMENT = "https://management.azure.com"
"""The audience of tokens for Azure Resource Manager."""


STICK: ContextVar[Callable[[], Awaitable[None]] | None] = ContextVar("stick", default=None)
"""Set while a request is served whose long-running operations a fault shall keep in progress: they wait for this first."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request, as read from a verified token."""

    object_id: str
    name: str
    """Display name: what `systemData.createdBy` shows."""
    client_id: str | None = None
    roles: tuple[str, ...] = ()
    audience: str = MANAGEMENT
    """The service that the token is for."""


class Clock(Protocol):
    """Virtual time in UTC. It moves with real time plus an offset that only grows."""

    def now(self) -> datetime: ...

    async def sleep_until(self, when: datetime) -> None:
        """Return once `now() >= when`; woken at once when the offset grows."""

    def advance(self, seconds: float) -> datetime:
        """Grow the offset (persisted before this returns) and wake every sleeper; returns the new now."""


class IdentityVerifier(Protocol):
    def caller(self, authorization: str | None) -> Caller:
        """The caller behind an `Authorization` header; raises `Unauthorized`."""


class EventSink(Protocol):
    def publish(self, topic: str, events: Sequence[dict[str, Any]]) -> None:
        """Accept events for a topic (a workspace's ARM id, or a custom topic's name).

        Durable when it returns. Events are in Event Grid schema without `topic`, which is set here.
        """


class Storage(Protocol):
    """Azurite's accounts. Calls block: use `asyncio.to_thread` on the event loop."""

    def account_key(self, account: str) -> str: ...

    def blob_url(self, account: str, container: str, blob: str = "") -> str:
        """`https://{account}.blob.core.windows.net/{container}[/{blob}]`."""

    def sas(self, account: str, container: str, permissions: str = "rl", hours: int = 24) -> str:
        """A container SAS query string (no leading `?`), real and verified by Azurite; permissions like `racwdl`."""

    def ensure_container(self, account: str, container: str) -> None: ...

    def read(self, account: str, container: str, blob: str) -> bytes: ...

    def write(self, account: str, container: str, blob: str, data: bytes) -> None: ...

    def download(self, account: str, container: str, prefix: str, target: Path) -> list[Path]:
        """Materialise every blob under `prefix` below `target` (relative to the prefix)."""

    def upload(self, account: str, container: str, prefix: str, source: Path) -> list[str]:
        """Upload a file or a folder's files under `prefix`; returns blob names."""

    # Last: in the class body after it, `list` means this method.
    def list(self, account: str, container: str, prefix: str) -> list[str]:
        """Names of the blobs under a prefix, sorted."""


class Service(Protocol):
    """One part of the platform served on the platform's HTTPS port."""

    def routes(self) -> list[BaseRoute]: ...

    async def start(self) -> None:
        """Take up the work an earlier process left behind."""

    async def stop(self) -> None: ...

    async def reset(self) -> None:
        """Forget what clients have made; what the configuration declares, and keys, stay. `routes()` are asked for again."""


@dataclass(slots=True)
class Context:
    """Everything a service may use."""

    state: Path
    """The platform's state folder (`--state DIR`)."""
    base_url: str
    """`https://localhost:PORT`, no trailing slash."""
    config: PlatformConfig
    clock: Clock
    identity: IdentityVerifier
    events: EventSink
    storage: Storage
    environment: Callable[[], dict[str, str]] = field(default=dict)
    """The variables of `DIR/env`: what a child process needs to reach the platform through the real SDKs."""
