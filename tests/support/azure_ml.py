"""Azure ML of the platform in this process, with doubles for what surrounds it: no Azurite, no sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from emulator.azure_ml import AzureMl
from emulator.config import PlatformConfig, RegistryConfig, WorkspaceConfig
from emulator.context import Caller, Context, Unauthorized

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
WORKSPACE = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces"
)
DEV, PROD = f"{WORKSPACE}/dev", f"{WORKSPACE}/prod"
REGISTRY = (
    f"/mferp/managementfrontend/subscriptions/{SUBSCRIPTION}/resourceGroups/rg"
    "/providers/Microsoft.MachineLearningServices/registries/shared"
)


async def eventually[T](look: Callable[[], T | None]) -> T:
    """What `look` sees, once it sees anything; raises TimeoutError after ten seconds."""
    async with asyncio.timeout(10):
        while (seen := look()) is None:  # noqa: ASYNC110 - what is waited for knows no event
            await asyncio.sleep(0.001)
    return seen


async def end_of(http: httpx.AsyncClient, url: str) -> dict[str, Any]:
    """What a long-running operation answers at last, polled as a client would."""
    async with asyncio.timeout(10):
        while True:
            answer = await http.get(url)
            assert int(answer.headers["retry-after-ms"]) >= 50
            if answer.json()["status"] != "InProgress":
                return dict(answer.json())
            await asyncio.sleep(0.001)


class StillClock:
    """Time that moves only when told."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    async def sleep_until(self, when: datetime) -> None:
        await eventually(lambda: self._now >= when or None)

    def advance(self, seconds: float) -> datetime:
        self._now += timedelta(seconds=seconds)
        return self._now


class People:
    """A token is a name: `Bearer ada` is Ada; anybody else is refused."""

    def caller(self, authorization: str | None) -> Caller:
        match authorization:
            case "Bearer ada":
                return Caller("oid-ada", "Ada Lovelace")
            case "Bearer trainer":
                return Caller("oid-trainer", "Training Jobs", client_id="client-trainer")
        raise Unauthorized("no such person")


class Events:
    """Keeps what is published; `down` makes it refuse."""

    def __init__(self) -> None:
        self.published: list[tuple[str, dict[str, Any]]] = []
        self.down = False

    def publish(self, topic: str, events: Sequence[dict[str, Any]]) -> None:
        if self.down:
            raise ConnectionError("the sink is down")
        self.published.extend((topic, event) for event in events)


class Blobs:
    """Storage in memory: (account, container, name) -> bytes."""

    def __init__(self) -> None:
        self.containers: set[tuple[str, str]] = set()
        self.blobs: dict[tuple[str, str, str], bytes] = {}

    def account_key(self, account: str) -> str:
        return f"key-of-{account}"

    def blob_url(self, account: str, container: str, blob: str = "") -> str:
        return f"https://{account}.blob.core.windows.net/{container}" + (f"/{blob}" if blob else "")

    def sas(self, account: str, container: str, permissions: str = "rl", hours: int = 24) -> str:
        return f"sp={permissions}&sr=c&sig=of-{container}"

    def ensure_container(self, account: str, container: str) -> None:
        self.containers.add((account, container))

    def list(self, account: str, container: str, prefix: str) -> list[str]:
        return sorted(
            name for a, c, name in self.blobs if (a, c) == (account, container) and name.startswith(prefix)
        )

    def read(self, account: str, container: str, blob: str) -> bytes:
        return self.blobs[account, container, blob]

    def write(self, account: str, container: str, blob: str, data: bytes) -> None:
        self.blobs[account, container, blob] = data

    def download(self, account: str, container: str, prefix: str, target: Path) -> list[Path]:
        raise NotImplementedError("transfers.fetch is used instead")

    def upload(self, account: str, container: str, prefix: str, source: Path) -> list[str]:
        raise NotImplementedError("transfers.copy is used instead")


class LocalAzureMl:
    """The service with its doubles, and a client that signs in as Ada."""

    def __init__(self, state: Path, *, event_shape: str = "sample") -> None:
        self.clock, self.events, self.blobs = StillClock(), Events(), Blobs()
        config = PlatformConfig(
            tenant="t",
            subscription=SUBSCRIPTION,
            resource_group="rg",
            location="eastus",
            workspaces=(
                WorkspaceConfig(name="dev", account="stdev"),
                WorkspaceConfig(name="prod", account="stprod"),
            ),
            registries=(
                RegistryConfig(
                    name="shared", account="stshared", subscription=SUBSCRIPTION, resource_group="rg"
                ),
            ),
            ledger_account="stledger",
            identities=(),
            app_identity="app",
            job_identity="trainer",
        )
        context = Context(state, "https://localhost:1", config, self.clock, People(), self.events, self.blobs)
        self.service = AzureMl(context, event_shape=event_shape, image=state / "no-image")
        self.fault: dict[str, str] | None = None
        """What makes the operations fail that requests begin from now on: `{"code", "message"}`."""
        self._app = Starlette(routes=self.service.routes())
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self._serve),
            base_url="https://localhost:1",
            headers={"Authorization": "Bearer ada"},
        )

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As the platform's fault middleware does."""
        scope.setdefault("state", {})["fail_operation"] = self.fault
        await self._app(scope, receive, send)

    async def put(self, path: str, **properties: Any) -> httpx.Response:
        return await self.http.put(path, json={"properties": properties})

    async def finished(self, response: httpx.Response) -> dict[str, Any]:
        """The answer of the operation that a response began, once it has ended."""
        return await end_of(self.http, response.headers["Azure-AsyncOperation"])

    async def relayed(self, count: int) -> list[dict[str, Any]]:
        """The published events, once there are `count` of them."""
        await eventually(lambda: len(self.events.published) >= count or None)
        return [event for _, event in self.events.published]


@asynccontextmanager
async def running(state: Path, *, event_shape: str = "sample") -> AsyncIterator[LocalAzureMl]:
    """Azure ML started on a state folder; stopped when the context ends."""
    local = LocalAzureMl(state, event_shape=event_shape)
    await local.service.start()
    try:
        yield local
    finally:
        await local.http.aclose()
        await local.service.stop()
