"""HTTP triggers: a request as the worker's RpcHttp, what the function returned as a response, limits of host.json."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from emulator.functions_host import protos
from emulator.functions_host.durable import DurableBridge
from emulator.functions_host.keys import Keys
from emulator.functions_host.routing import HttpRoute, compile_route, find
from emulator.functions_host.runtime import AppRuntime, InvocationFailed
from emulator.functions_host.settings import InvalidSettings, number
from emulator.functions_host.urls import raw_path, raw_url

log = logging.getLogger("emulator.http")
_SAME_SITE = {1: "Lax", 2: "Strict", 3: "None"}


class HttpTriggers:
    """Raises InvalidRoute or InvalidSettings when the app's routes or host.json's `http` section can't be used."""

    def __init__(self, runtime: AppRuntime, keys: Keys, bridge: DurableBridge) -> None:
        settings = runtime.extension("http")
        self._runtime, self._keys, self._bridge = runtime, keys, bridge
        self.prefix = str(settings.get("routePrefix", "api")).strip("/")
        functions = runtime.of_type("httpTrigger")
        keys.prepare(functions)
        self._routes = sorted((compile_route(function, self.prefix) for function in functions), key=lambda route: route.rank)
        self.paths = {route.function.name: route.path for route in self._routes}
        self._extra_headers = settings.get("customHeaders") or {}
        if not isinstance(self._extra_headers, dict) or not all(isinstance(value, str) for value in self._extra_headers.values()):
            raise InvalidSettings("host.json: 'extensions:http:customHeaders' must be an object of strings")
        # -1 is no limit, as in the documentation; it is also what a host outside of the Consumption plan does by default.
        self._at_once = _limit(number(settings, "maxConcurrentRequests", -1, -1))
        self._outstanding, self._most = 0, number(settings, "maxOutstandingRequests", -1, -1)

    async def answer(self, request: Request) -> Response:
        """404 where no route matches, 401 without the right key, 429 beyond maxOutstandingRequests."""
        found = find(self._routes, request.method, raw_path(request).strip("/"))
        if found is None:
            return Response(status_code=404)
        if not self._keys.opens(found[0].function, request.query_params, request.headers):
            return Response(status_code=401)
        if 0 < self._most <= self._outstanding:
            return Response(status_code=429, headers={"retry-after": "1"})
        self._outstanding += 1
        try:
            async with self._at_once:
                response = await self._call(*found, request)
        finally:
            self._outstanding -= 1
        for name, value in self._extra_headers.items():
            response.headers.setdefault(name, value)
        return response

    async def _call(self, route: HttpRoute, parameters: dict[str, str], request: Request) -> Response:
        function = route.function
        message = protos.RpcHttp(method=request.method, url=raw_url(request), headers=_joined(request.headers.items()), params=parameters,
                                 query=_joined(request.query_params.multi_items()), body=protos.TypedData(bytes=await request.body()))
        inputs = {function.trigger["name"]: protos.TypedData(http=message), **self._bridge.clients(function)}
        try:
            answer = await self._runtime.invoke(function, inputs, trace_parent=request.headers.get("traceparent", ""))
        except InvocationFailed as failed:
            log.error("%s failed: %s\n%s", function.name, failed, failed.stack)
            return Response(status_code=500)
        return response_of(answer.return_value)


def _limit(count: int) -> asyncio.Semaphore:
    return asyncio.Semaphore(count if count > 0 else 2**31)


def _joined(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Repeated names become one with commas, as the host hands them to a worker."""
    found: dict[str, str] = {}
    for name, value in items:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def response_of(value: Any) -> Response:
    """What an HTTP function returned, as a response."""
    if value is None:
        return Response(status_code=204)
    kind = value.WhichOneof("data")
    if kind != "http":
        content = getattr(value, kind)
        media = "application/json; charset=utf-8" if kind == "json" else "text/plain; charset=utf-8"
        return Response(content if isinstance(content, bytes) else str(content), media_type=media)
    answer = value.http
    body: Any = b""
    if answer.body is not None:
        body = getattr(answer.body, answer.body.WhichOneof("data"))
    response = Response(body if isinstance(body, bytes) else str(body), int(answer.status_code),
                        {str(name): str(text) for name, text in answer.headers.items()})
    for cookie in answer.cookies or ():
        response.headers.append("set-cookie", _set_cookie(cookie))
    return response


def _set_cookie(cookie: Any) -> str:
    """A Set-Cookie header from the worker's RpcHttpCookie, whose absent parts are None."""
    text = f"{cookie.name}={cookie.value}"
    for name, part in (("Domain", cookie.domain), ("Path", cookie.path)):
        if part is not None and part.value:
            text += f"; {name}={part.value}"
    if cookie.expires is not None and cookie.expires.value is not None:
        text += f"; Expires={cookie.expires.value.ToDatetime().replace(tzinfo=UTC):%a, %d %b %Y %H:%M:%S GMT}"
    if cookie.max_age is not None and cookie.max_age.value is not None:
        text += f"; Max-Age={int(cookie.max_age.value)}"
    text += "; Secure" if cookie.secure is not None and cookie.secure.value else ""
    text += "; HttpOnly" if cookie.http_only is not None and cookie.http_only.value else ""
    return text + (f"; SameSite={_SAME_SITE[cookie.same_site]}" if cookie.same_site in _SAME_SITE else "")
