"""The host: HTTP triggers, the Event Grid webhook, timers, the management API and the admin API on one port."""

from __future__ import annotations

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

from durabletask.client import AsyncTaskHubGrpcClient
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.durable import SqliteBackend
from emulator.durable.virtual_time import OffsetClock
from emulator.functions_host import protos
from emulator.functions_host.durable import DurableBridge
from emulator.functions_host.keys import Keys
from emulator.functions_host.management import Management
from emulator.functions_host.routing import HttpRoute, compile_route, find
from emulator.functions_host.runtime import AppRuntime, Function, InvocationFailed
from emulator.functions_host.timers import Timers

log = logging.getLogger("emulator.host")
DRAIN_SECONDS = 1.0


class FunctionsHost:
    """An ASGI app; `start` before the first request, `stop` after the last."""

    def __init__(self, app: Path, port: int, state: Path, clock_file: Path | None) -> None:
        self._state, self._base_url = state, f"http://127.0.0.1:{port}"
        state.mkdir(parents=True, exist_ok=True)
        self._clock = OffsetClock(clock_file)
        self._keys = Keys(state / "keys.json")
        self._runtime = AppRuntime(app)
        self._routes: list[HttpRoute] = []

    async def start(self) -> list[str]:
        """Load the app and take up its durable work; returns a line a function. Raises AppDoesNotLoad."""
        await self._runtime.load()
        prefix = str(self._runtime.extension("http").get("routePrefix", "api")).strip("/")
        self._routes = sorted((compile_route(f, prefix) for f in self._runtime.of_type("httpTrigger")), key=lambda route: route.rank)
        self._timers = Timers(self._runtime.of_type("timerTrigger"), self._clock, self._state / "timers.json", self._run_timer)
        self._backend = SqliteBackend(self._state / "durable.sqlite", self._clock)
        self._bridge = DurableBridge(self._runtime, self._backend, self._base_url, self._keys["durabletask_extension"])
        self._backend.default_version = self._bridge.default_version
        address = await asyncio.to_thread(self._backend.start)
        self._bridge.start(address)
        self._client = AsyncTaskHubGrpcClient(host_address=address)
        self._management = Management(self._bridge, self._client)
        self._timers.start()
        return [f"{function.name}: {_describe(function, self._base_url, prefix)}" for function in self._runtime.functions.values()]

    async def stop(self) -> None:
        await self._timers.stop()
        await self._bridge.drain(DRAIN_SECONDS)
        await self._client.close()
        await asyncio.to_thread(self._backend.stop, 0)
        self._runtime.stop()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            request = Request(scope, receive)
            try:
                response = await self._answer(request)
            except Exception:
                log.exception("%s %s failed in the host", request.method, request.url.path)
                response = Response(status_code=500)
            await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path, query, headers = request.url.path, request.query_params, request.headers
        if path.startswith("/runtime/webhooks/"):
            _, _, _, extension, *rest = path.split("/", 4)
            extension = extension.lower()
            if extension not in ("eventgrid", "durabletask"):
                return Response(status_code=404)
            if not self._keys.opens(query, headers, f"{extension}_extension"):
                return Response(status_code=401)
            if extension == "eventgrid":
                return await self._event_grid(request)
            return await self._management.handle(request.method, "/" + "".join(rest), query, headers, await request.body())
        if path.startswith(("/admin/", "/_emulator/")):
            return await self._admin(request)
        if found := find(self._routes, request.method, path.strip("/")):
            return await self._http(*found, request)
        return Response(status_code=404)

    # --- triggers -------------------------------------------------------------------------------------------

    async def _http(self, route: HttpRoute, parameters: dict[str, str], request: Request) -> Response:
        level = str(route.function.trigger.get("authLevel") or "FUNCTION").upper()
        names = ("default",) if level == "FUNCTION" else ()
        if level != "ANONYMOUS" and not self._keys.opens(request.query_params, request.headers, *names):
            return Response(status_code=401)
        message = protos.RpcHttp(method=request.method, url=str(request.url), headers=dict(request.headers), params=parameters,
                                 query=dict(request.query_params), body=protos.TypedData(bytes=await request.body()))
        inputs = {route.function.trigger["name"]: protos.TypedData(http=message), **self._bridge.clients(route.function)}
        try:
            answer = await self._runtime.invoke(route.function, inputs, trace_parent=request.headers.get("traceparent", ""))
        except InvocationFailed as failed:
            log.error("%s failed: %s\n%s", route.function.name, failed, failed.stack)
            return Response(status_code=500)
        return _response(answer.return_value)

    async def _event_grid(self, request: Request) -> Response:
        function = self._runtime.functions.get(request.query_params.get("functionName", ""))
        if function is None or function.trigger["type"] != "eventGridTrigger":
            return Response(f"cannot find function: '{request.query_params.get('functionName')}'", status_code=404)
        if request.method == "OPTIONS":  # the CloudEvents handshake
            origin = request.headers.get("webhook-request-origin", "*")
            return Response(status_code=200, headers={"webhook-allowed-origin": origin, "webhook-allowed-rate": "*"})
        kind = request.headers.get("aeg-event-type", "").lower()
        if kind == "unsubscribe":
            return Response(status_code=202)
        try:
            events = await request.json()
        except ValueError:
            return Response("the body is not JSON", status_code=400)
        events = events if isinstance(events, list) else [events]
        if not all(isinstance(event, dict) for event in events):
            return Response("an event is a JSON object", status_code=400)
        if kind == "subscriptionvalidation":
            try:
                return JSONResponse({"validationResponse": events[0]["data"]["validationCode"]})
            except (IndexError, KeyError, TypeError):
                return Response("the validation event carries no validationCode", status_code=400)
        if kind != "notification" and not request.headers.get("content-type", "").startswith("application/cloudevents"):
            return Response("aeg-event-type must be SubscriptionValidation, Notification or Unsubscribe", status_code=400)
        results = await asyncio.gather(*(self._run_event(function, event) for event in events), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                log.error("%s failed: %s\n%s", function.name, result, getattr(result, "stack", ""))
                return Response(str(result), status_code=500)  # Event Grid delivers again
        return Response(status_code=202)

    async def _run_event(self, function: Function, event: dict[str, Any]) -> None:
        inputs = {function.trigger["name"]: protos.TypedData(json=json.dumps(event)), **self._bridge.clients(function)}
        await self._runtime.invoke(function, inputs, {"data": protos.TypedData(json=json.dumps(event.get("data")))})

    async def _run_timer(self, function: Function, info: dict[str, Any]) -> None:
        inputs = {function.trigger["name"]: protos.TypedData(json=json.dumps(info)), **self._bridge.clients(function)}
        await self._runtime.invoke(function, inputs)

    # --- administration ---------------------------------------------------------------------------------------

    async def _admin(self, request: Request) -> Response:
        path = request.url.path
        if path == "/admin/host/status":
            return JSONResponse({"state": "Running", "version": "4.0.0"})
        if not self._keys.opens(request.query_params, request.headers):
            return Response(status_code=401)
        if path == "/_emulator/clock" and request.method == "POST":
            self._backend.set_offset(float((await request.json())["offset_seconds"]))
            self._timers.time_moved()
            return JSONResponse({"now": self._clock.now().isoformat()})
        if path == "/admin/functions" and request.method == "GET":
            return JSONResponse([{"name": f.name, "config": {"bindings": f.bindings}} for f in self._runtime.functions.values()])
        function = self._runtime.functions.get(path.removeprefix("/admin/functions/"))
        if function is None:
            return Response(status_code=404)
        return await self._trigger(function, await request.body())

    async def _trigger(self, function: Function, body: bytes) -> Response:
        """Run a function that is not HTTP by hand, as the portal does."""
        if function.trigger["type"] == "timerTrigger":
            await self._timers.fire(function)
            return Response(status_code=202)
        given = json.loads(body or b"{}").get("input", "null")
        inputs = {function.trigger["name"]: protos.TypedData(json=given), **self._bridge.clients(function)}
        try:
            await self._runtime.invoke(function, inputs)
        except InvocationFailed as failed:
            return Response(str(failed), status_code=500)
        return Response(status_code=202)


def _response(value: Any) -> Response:
    """What an HTTP function returned, as a response."""
    if value is None:
        return Response(status_code=204)
    kind = value.WhichOneof("data")
    if kind != "http":
        content = getattr(value, kind)
        return Response(content if isinstance(content, bytes) else str(content), media_type="text/plain; charset=utf-8")
    answer = value.http
    body: Any = b""
    if answer.body is not None:
        body = getattr(answer.body, answer.body.WhichOneof("data"))
    return Response(body, status_code=int(answer.status_code), headers={str(k): str(v) for k, v in answer.headers.items()})


def _describe(function: Function, base_url: str, prefix: str) -> str:
    trigger = function.trigger
    if trigger["type"] != "httpTrigger":
        return str(trigger["type"])
    methods = ",".join(str(method) for method in trigger.get("methods") or ["any method"])
    route = "/".join(part for part in (prefix, (trigger.get("route") or function.name).strip("/")) if part)
    return f"[{methods}] {base_url}/{route}"
