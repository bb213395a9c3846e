"""The host: HTTP triggers, webhooks of the extensions, timers and administration on one port."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
from email.utils import formatdate
from pathlib import Path
from typing import Any

from durabletask.client import AsyncTaskHubGrpcClient
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from emulator.durable import SqliteBackend
from emulator.durable.virtual_time import OffsetClock
from emulator.functions_host import protos
from emulator.functions_host.admin import Admin
from emulator.functions_host.durable import DurableBridge
from emulator.functions_host.easy_auth import PREFIX, EasyAuth, Registration
from emulator.functions_host.event_grid import EventGridWebhook
from emulator.functions_host.http_trigger import HttpTriggers
from emulator.functions_host.in_process import Hub
from emulator.functions_host.keys import Keys
from emulator.functions_host.management import Management
from emulator.functions_host.queues import QueueTriggers
from emulator.functions_host.runtime import AppRuntime, Function
from emulator.functions_host.store import HostStore
from emulator.functions_host.timers import Timers

log = logging.getLogger("emulator.host")
DRAIN_SECONDS = 1.0
RESET_DRAIN_SECONDS = 5.0


class FunctionsHost:
    """An ASGI app; `start` before the first request, `stop` after the last."""

    def __init__(self, app: Path, port: int, state: Path, clock_file: Path | None) -> None:
        self._state, self._base_url = state, f"http://127.0.0.1:{port}"
        state.mkdir(parents=True, exist_ok=True)
        self._clock = OffsetClock(clock_file)
        self._store = HostStore(state / "host.sqlite")
        self._keys = Keys(state / "keys.json", self._store)
        self._runtime = AppRuntime(app)
        registration = Registration.from_environment(os.environ)
        self._easy_auth = EasyAuth(registration, self._base_url) if registration else None
        self._resetting = asyncio.Lock()

    async def start(self) -> list[str]:
        """Load the app and take up its durable work; returns a line a function. Raises AppDoesNotLoad."""
        await self._runtime.load()
        await self._take_up()
        return [f"{function.name}: {self._describe(function)}" for function in self._runtime.functions.values()]

    async def _take_up(self) -> None:
        # All that can be wrong with the app's settings is found before anything runs.
        self._timers = Timers(self._runtime.of_type("timerTrigger"), self._clock, self._store, self._run_timer)
        self._backend = SqliteBackend(self._state / "durable.sqlite", self._clock)
        self._bridge = DurableBridge(self._runtime, self._backend, self._base_url, self._keys["durabletask_extension"])
        self._http = HttpTriggers(self._runtime, self._keys, self._bridge)
        self._event_grid = EventGridWebhook(self._runtime, self._bridge)
        self._queues = QueueTriggers(self._runtime, self._bridge)
        self._admin = Admin(self._runtime, self._keys, self._bridge, self._timers, self._base_url)
        self._backend.default_version = self._bridge.versions.default
        address = await asyncio.to_thread(self._backend.start)
        self._bridge.start(address)
        self._client = AsyncTaskHubGrpcClient(host_address=address, logger=logging.getLogger("durabletask"))
        self._management = Management(self._bridge, Hub(self._backend), self._client)
        self._timers.start()
        self._queues.start()

    async def reset(self) -> None:
        """Forget all durable work, as on a new state folder; keys and the timers' schedules stay.

        What the app is doing gets a moment to end: nobody can end it, and what it answers afterwards belongs to nothing.
        """
        await self._timers.stop()
        await self._queues.stop()
        self._backend.reset()  # nothing new begins
        await self._bridge.drain(RESET_DRAIN_SECONDS)
        await self._client.close()
        await asyncio.to_thread(self._backend.stop, 0)
        for file in self._state.glob("durable.sqlite*"):
            file.unlink()
        await self._take_up()

    async def stop(self) -> None:
        await self._timers.stop()
        await self._queues.stop()
        await self._bridge.drain(DRAIN_SECONDS)
        await self._client.close()
        await asyncio.to_thread(self._backend.stop, 0)
        self._store.close()
        self._runtime.stop()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            request = Request(scope, receive)
            try:
                response = await self._answer(request)
            except ClientDisconnect:
                return
            except Exception:
                log.exception("%s %s failed in the host", request.method, request.url.path)
                response = Response(status_code=500)
            response.headers.setdefault("date", formatdate(usegmt=True))
            await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path, query, headers = request.scope["path"], request.query_params, request.headers
        if path.startswith("/runtime/webhooks/"):
            extension = path.split("/", 4)[3].lower()
            if extension not in ("eventgrid", "durabletask"):
                return Response(status_code=404)
            if not self._keys.opens_extension(extension, query, headers):
                return Response(status_code=401)
            return await (self._event_grid.answer(request) if extension == "eventgrid" else self._management.handle(request))
        if path == "/_emulator/clock":
            return await self._set_clock(request)
        if path == "/_emulator/reset":
            return await self._reset(request)
        if path == "/admin" or path.startswith("/admin/"):
            return await self._admin.answer(request)
        if self._easy_auth is not None:
            if path.startswith(PREFIX):
                return await self._easy_auth.answer(request)
            request = self._easy_auth.admitted(request)
        return await self._http.answer(request)

    async def _set_clock(self, request: Request) -> Response:
        """The platform moves time: `{"offset_seconds": n}`. It only moves forward."""
        if not self._keys.is_master(request.query_params, request.headers):
            return Response(status_code=401)
        if request.method != "POST":
            return Response(status_code=405)
        try:
            offset = json.loads(await request.body())["offset_seconds"]
        except (ValueError, RecursionError, KeyError, TypeError):
            offset = None
        if isinstance(offset, bool) or not isinstance(offset, int | float) or not math.isfinite(offset) or not 0 <= offset < 1e10:
            return Response("'offset_seconds' must be a number of seconds", status_code=400)
        self._backend.set_offset(float(offset))
        self._timers.time_moved()
        return JSONResponse({"now": self._clock.now().isoformat()})

    async def _reset(self, request: Request) -> Response:
        if not self._keys.is_master(request.query_params, request.headers):
            return Response(status_code=401)
        if request.method != "POST":
            return Response(status_code=405)
        async with self._resetting:
            await self.reset()
        return Response(status_code=204)

    async def _run_timer(self, function: Function, info: dict[str, Any]) -> None:
        inputs = {function.trigger["name"]: protos.TypedData(json=json.dumps(info)), **self._bridge.clients(function)}
        await self._runtime.invoke(function, inputs)

    def _describe(self, function: Function) -> str:
        if self._runtime.is_disabled(function):
            return f"{function.trigger['type']} (disabled)"
        if function.trigger["type"] != "httpTrigger":
            return str(function.trigger["type"])
        methods = ",".join(str(getattr(method, "value", method)) for method in function.trigger.get("methods") or ["any method"])
        return f"[{methods}] {self._base_url}/{self._http.paths[function.name]}"
