"""Azure ML without HTTP, Azurite or Event Grid: the real service on a storage that is a dictionary."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette

from emulator.azure_ml import AzureMl, assets
from emulator.azure_ml.asset_kinds import DATA, ENVIRONMENTS
from emulator.azure_ml.components import COMPONENTS
from emulator.azure_ml.jobs.runs import Run
from emulator.config import load
from emulator.context import Caller, Context, Unauthorized

ROOT = Path(__file__).resolve().parents[2]
ADA = Caller("0b6d5f6e-8c1a-4a57-9d39-5d1e8f6a0003", "Ada Lovelace", "ada-client")
DEADLINE = 60.0
"""Seconds that a job of a test may take; it takes far less unless something hangs."""


@dataclass
class MemoryStorage:
    """`Storage` of context.py in a dictionary."""

    blobs: dict[tuple[str, str, str], bytes] = field(default_factory=dict)

    def account_key(self, account: str) -> str:
        return "a2V5"

    def blob_url(self, account: str, container: str, blob: str = "") -> str:
        return f"https://{account}.blob.core.windows.net/{container}" + (f"/{blob}" if blob else "")

    def sas(self, account: str, container: str, permissions: str = "rl", hours: int = 24) -> str:
        return "sig=none"

    def ensure_container(self, account: str, container: str) -> None:
        pass

    def list(self, account: str, container: str, prefix: str) -> list[str]:
        return sorted(name for a, c, name in self.blobs if (a, c) == (account, container) and name.startswith(prefix))

    def read(self, account: str, container: str, blob: str) -> bytes:
        return self.blobs[account, container, blob]

    def write(self, account: str, container: str, blob: str, data: bytes) -> None:
        self.blobs[account, container, blob] = data

    def download(self, account: str, container: str, prefix: str, target: Path) -> list[Path]:
        written = []
        for name in self.list(account, container, prefix):
            path = target / name[len(prefix) :].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.read(account, container, name))
            written.append(path)
        return written

    def upload(self, account: str, container: str, prefix: str, source: Path) -> list[str]:
        files = [path for path in sorted(source.rglob("*")) if path.is_file()]
        names = [f"{prefix.rstrip('/')}/{path.relative_to(source).as_posix()}" for path in files]
        for name, path in zip(names, files, strict=True):
            self.write(account, container, name, path.read_bytes())
        return names


@dataclass
class RecordedEvents:
    """`EventSink`: what would have been published."""

    published: list[dict[str, Any]] = field(default_factory=list)

    def publish(self, topic: str, events: Sequence[dict[str, Any]]) -> None:
        self.published.extend(events)

    def of(self, event_type: str, run: str) -> list[dict[str, Any]]:
        return [
            event["data"]
            for event in self.published
            if event["eventType"].endswith("." + event_type) and event["data"].get("runId") == run
        ]


class TickingClock:
    """Each look is a millisecond later."""

    def __init__(self) -> None:
        self._now = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        self._now += timedelta(milliseconds=1)
        return self._now

    async def sleep_until(self, when: datetime) -> None:
        raise NotImplementedError

    def advance(self, seconds: float) -> datetime:
        raise NotImplementedError


class OneCaller:
    """`IdentityVerifier`: every bearer is Ada."""

    def caller(self, authorization: str | None) -> Caller:
        if authorization is None:
            raise Unauthorized("no token")
        return ADA


class Workbench:
    """The service on a folder, and short words for what tests do with it."""

    def __init__(self, state: Path, storage: MemoryStorage, events: RecordedEvents) -> None:
        config = load(ROOT / "platform.yaml")
        self.storage, self.events = storage, events
        self.azure_ml = AzureMl(
            Context(state, "https://localhost:1", config, TickingClock(), OneCaller(), events, storage, dict)
        )
        self.jobs = self.azure_ml.jobs
        self.scope = self.azure_ml.scopes.workspace("mlw-dev")
        transport = httpx.ASGITransport(app=Starlette(routes=self.azure_ml.routes()))
        self.http = httpx.AsyncClient(transport=transport, base_url="https://localhost:1", headers={"authorization": "Bearer a"})

    async def start(self) -> None:
        await self.azure_ml.start()
        if self.azure_ml.store.get(f"{self.scope.id}/environments/env/versions/1") is None:
            image = {"image": "mcr.microsoft.com/azureml/minimal"}
            await assets.register(self.azure_ml, ENVIRONMENTS, self.scope, "env", "1", image, ADA)

    async def stop(self) -> None:
        await self.http.aclose()
        await self.azure_ml.stop()

    async def component(self, name: str, spec: dict[str, Any], version: str = "1") -> None:
        body = {"name": name, "version": version, "environment": "azureml:env:1", **spec}
        await assets.register(self.azure_ml, COMPONENTS, self.scope, name, version, {"componentSpec": body}, ADA)

    async def command_component(self, name: str, command: str, inputs: Any = None, outputs: Any = None) -> None:
        await self.component(name, {"type": "command", "command": command, "inputs": inputs or {}, "outputs": outputs or {}})

    async def data(self, name: str, content: bytes, version: str = "1") -> None:
        account, container = self.scope.account, f"azureml-blobstore-{self.scope.guid}"
        self.storage.write(account, container, f"data/{name}/{version}.txt", content)
        uri = f"azureml://datastores/workspaceblobstore/paths/data/{name}/{version}.txt"
        await assets.register(self.azure_ml, DATA, self.scope, name, version, {"dataUri": uri, "dataType": "uri_file"}, ADA)

    async def put(self, name: str, properties: dict[str, Any]) -> httpx.Response:
        return await self.http.put(f"{self.scope.id}/jobs/{name}", json={"properties": properties})

    async def submit(self, name: str, properties: dict[str, Any]) -> None:
        response = await self.put(name, properties)
        assert response.status_code == 201, response.text

    async def command(self, name: str, command: str, **properties: Any) -> None:
        body = {"jobType": "Command", "command": command, "environmentId": "azureml:env:1", "computeId": "cpu-cluster"}
        await self.submit(name, body | properties)

    async def pipeline(self, name: str, jobs: dict[str, Any], **properties: Any) -> None:
        await self.submit(name, {"jobType": "Pipeline", "jobs": jobs} | properties)

    def run(self, name: str) -> Run:
        return self.jobs.runs.get(self.scope.id, name)

    def step(self, name: str, step: str) -> Run:
        return next(child for child in self.jobs.runs.children(self.run(name)) if child.step == step)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():  # noqa: ASYNC110 - what is waited for is in a database or the file system
                await asyncio.sleep(0.01)

    async def ended(self, name: str) -> Run:
        await self.until(lambda: self.run(name).terminal)
        return self.run(name)

    def output(self, name: str, output: str, path: str = "") -> bytes:
        location = self.azure_ml.locations.blob(self.run(name).outputs[output]["uri"] + path, self.scope)
        return self.storage.read(location.account, location.container, location.path)
