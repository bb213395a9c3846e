"""A webhook that events are delivered to: it remembers what it got, and answers as it is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from emulator.ports import listener

DEADLINE = 20.0


class Subscriber:
    """`answers` are the statuses of the coming notifications, in order; then it is 200. `shakes_hands`: see the methods below."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: list[int] = []
        self.shakes_hands = True
        self.notifications: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.handshakes: list[dict[str, Any]] = []
        self.pause: asyncio.Event | None = None
        """While it is there and not set, notifications wait for it."""
        self.waiting = 0

    @property
    def ids(self) -> list[str]:
        return [event["id"] for event in self.notifications]

    async def _receive(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            self.handshakes.append(dict(request.headers))
            return Response(headers={"WebHook-Allowed-Origin": request.headers["webhook-request-origin"]} if self.shakes_hands else {})
        (event,) = json.loads(await request.body())
        if request.headers["aeg-event-type"] == "SubscriptionValidation":
            self.handshakes.append(event["data"])
            return JSONResponse({"validationResponse": event["data"]["validationCode"]} if self.shakes_hands else {})
        self.waiting += 1
        if self.pause is not None:
            await self.pause.wait()
        self.waiting -= 1
        self.notifications.append(event)
        self.headers.append(dict(request.headers))
        return Response(status_code=self.answers.pop(0) if self.answers else 200)

    def app(self) -> Starlette:
        return Starlette(routes=[Route("/{path:path}", self._receive, methods=["POST", "OPTIONS"])])


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves them to the test runner."""
        yield


@asynccontextmanager
async def listening[Found: Subscriber](found: Found) -> AsyncIterator[Found]:
    """It listens on loopback while the context lasts."""
    socket = listener(0)
    server = _Server(uvicorn.Config(found.app(), log_level="warning", access_log=False, lifespan="off"))
    serving = asyncio.create_task(server.serve(sockets=[socket]))
    found.url = f"http://127.0.0.1:{socket.getsockname()[1]}/events"
    await until(lambda: server.started)
    try:
        yield found
    finally:
        if found.pause is not None:
            found.pause.set()
        server.should_exit = server.force_exit = True
        await serving
        socket.close()


def subscriber() -> AbstractAsyncContextManager[Subscriber]:
    return listening(Subscriber())


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition; raises TimeoutError when it does not come true."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
