"""A webhook that takes what Event Grid sends in all of its forms: a list of events, and a CloudEvent that is alone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from emulator.ports import listener
from tests.support.subscriber import Subscriber, _Server, until


class Endpoint(Subscriber):
    """`requests` are the ids of each notification's events; `answer`, when given, chooses its status by them."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[list[str]] = []
        self.bodies: list[Any] = []
        self.answer: Callable[[list[str]], int] | None = None

    async def _receive(self, request: Request) -> Response:
        if request.method == "OPTIONS":
            return await super()._receive(request)
        body = json.loads(await request.body())
        events = body if isinstance(body, list) else [body]
        if request.headers["aeg-event-type"] == "SubscriptionValidation":
            self.handshakes.append(events[0]["data"])
            return JSONResponse({"validationResponse": events[0]["data"]["validationCode"]} if self.shakes_hands else {})
        self.waiting += 1
        if self.pause is not None:
            await self.pause.wait()
        self.waiting -= 1
        ids = [event["id"] for event in events]
        self.requests.append(ids)
        self.bodies.append(body)
        self.notifications += events
        self.headers.append(dict(request.headers))
        if self.answer is not None:
            return Response(status_code=self.answer(ids))
        return Response(status_code=self.answers.pop(0) if self.answers else 200)


@asynccontextmanager
async def endpoint() -> AsyncIterator[Endpoint]:
    """One that listens on loopback while the context lasts."""
    found, socket = Endpoint(), listener(0)
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
