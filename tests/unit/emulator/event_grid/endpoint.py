"""A webhook that takes what Event Grid sends in all of its forms: a list of events, and a CloudEvent that is alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from tests.support.subscriber import Subscriber, listening


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


def endpoint() -> AbstractAsyncContextManager[Endpoint]:
    """One that listens on loopback while the context lasts."""
    return listening(Endpoint())
