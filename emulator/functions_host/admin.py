"""`/admin/...`: host status, functions, running one by hand, and keys; the master key opens it.

Sources: learn.microsoft.com, functions-manually-run-non-http and function-keys-how-to; the host's key management API.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.functions_host import protos
from emulator.functions_host.durable import DurableBridge
from emulator.functions_host.keys import HOST, SYSTEM, Keys, scope_of
from emulator.functions_host.runtime import AppRuntime, Function, InvocationFailed
from emulator.functions_host.timers import Timers

_SCOPES = {"functionkeys": HOST, "systemkeys": SYSTEM, "keys": HOST}
_BY_HAND = ("timerTrigger", "eventGridTrigger", "queueTrigger", "blobTrigger")
_MISSING: Any = object()


class Admin:
    def __init__(self, runtime: AppRuntime, keys: Keys, bridge: DurableBridge, timers: Timers, base_url: str) -> None:
        self._runtime, self._keys, self._bridge, self._timers, self._base_url = runtime, keys, bridge, timers, base_url
        self._started = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, request: Request) -> Response:
        segments = request.scope["path"].strip("/").split("/")[1:]
        if segments == ["host", "status"] and request.method == "GET":
            return JSONResponse({"id": "local", "state": "Running", "version": "4.0.0", "versionDetails": "local platform",
                                 "processUptime": int((time.monotonic() - self._started) * 1000)})
        if segments == ["host", "ping"]:
            return Response(status_code=200)
        if not self._keys.is_master(request.query_params, request.headers):
            return Response(status_code=401)
        match segments:
            case ["functions"] if request.method == "GET":
                return JSONResponse([self._view(function) for function in self._runtime.functions.values()])
            case ["functions", name] | ["functions", name, "status"]:
                if (function := self._runtime.find(name)) is None:
                    return Response(status_code=404)
                if request.method == "GET":
                    return JSONResponse({} if segments[-1] == "status" else self._view(function))
                return await self._trigger(function, await request.body()) if request.method == "POST" else Response(status_code=405)
            case ["functions", name, "keys", *rest] if len(rest) < 2:
                function = self._runtime.find(name)
                return Response(status_code=404) if function is None else await self._key(request, scope_of(function), rest)
            case ["host", kind, *rest] if kind in _SCOPES and len(rest) < 2:
                return await self._key(request, _SCOPES[kind], rest)
        return Response(status_code=404)

    def _view(self, function: Function) -> dict[str, Any]:
        return {"name": function.name, "href": f"{self._base_url}/admin/functions/{function.name}", "language": "python",
                "isDisabled": self._runtime.is_disabled(function), "config": {"bindings": function.bindings}}

    async def _trigger(self, function: Function, body: bytes) -> Response:
        """Run a function that is not HTTP, as the portal does: 202, and the run goes on by itself."""
        kind = function.trigger["type"]
        if kind not in _BY_HAND:
            return Response(f"a {kind} is not run by hand", status_code=400)
        given = _field(body, "input") if body else None
        if given is _MISSING:
            return Response("the body must be a JSON object with the member 'input'", status_code=400)
        self._spawn(function, given if isinstance(given, str) else json.dumps(given))
        return Response(status_code=202)

    def _spawn(self, function: Function, given: str) -> None:
        async def run() -> None:
            if function.trigger["type"] == "timerTrigger":
                await self._timers.fire(function)
                return
            inputs = {function.trigger["name"]: _datum(function, given), **self._bridge.clients(function)}
            try:
                await self._runtime.invoke(function, inputs)
            except InvocationFailed as failed:
                self._runtime.report(function, failed)

        task = asyncio.get_running_loop().create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _key(self, request: Request, scope: str, rest: list[str]) -> Response:
        known, method = self._keys.of(scope), request.method
        if not rest:
            return JSONResponse({"keys": [{"name": name, "value": value} for name, value in known.items()], "links": []}) \
                if method == "GET" else Response(status_code=405)
        name = rest[0]
        if method == "GET":
            return JSONResponse({"name": name, "value": known[name], "links": []}) if name in known else Response(status_code=404)
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", name):
            return Response("a key's name is of letters, digits, '-', '_' and '.'", status_code=400)
        if method == "DELETE":
            return Response(status_code=204 if self._keys.delete(scope, name) else 404)
        if method not in ("PUT", "POST"):
            return Response(status_code=405)
        value: Any = None
        if method == "PUT":
            value = _field(await request.body(), "value")
            if not isinstance(value, str) or not value.isascii() or not value.isprintable() or not value:
                return Response("the body must be a JSON object whose member 'value' is the key, in printable ASCII", status_code=400)
        value, new = self._keys.put(scope, name, value)
        return JSONResponse({"name": name, "value": value, "links": []}, 201 if new else 200)


def _datum(function: Function, given: str) -> protos.TypedData:
    """A queue's message is text, an event is JSON."""
    return protos.TypedData(string=given) if function.trigger["type"] == "queueTrigger" else protos.TypedData(json=given)


def _field(body: bytes, name: str) -> Any:
    """A member of a JSON object, or _MISSING."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return _MISSING
    return content.get(name, _MISSING) if isinstance(content, dict) else _MISSING
