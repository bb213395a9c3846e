"""Faults on demand: statuses, drops, delays and held answers, before or after a request has had its effect.

One ASGI middleware around all services. `after` is the interesting half: the effect is committed and the
caller does not know, which is where duplicates come from.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.journal import Journal


class FaultRule(BaseModel):
    """What a test asks for; `path` is a pattern that is searched in the path, in any case."""

    model_config = ConfigDict(extra="forbid")

    method: str = ""
    path: str
    when: Literal["before", "after"] = "before"
    action: Literal["status", "drop", "hold", "delay", "fail_operation"]
    status: int = 503
    headers: dict[str, str] = {}
    body: Any = None
    delay_seconds: float = 1.0
    code: str = "InternalServerError"
    message: str = "a fault was asked for"
    count: int = Field(1, ge=1)


@dataclass
class _Fault:
    number: int
    rule: FaultRule
    hits: int = 0
    holding: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def matches(self, method: str, path: str) -> bool:
        rule = self.rule
        return (self.hits < rule.count and rule.method.upper() in ("", method)
                and re.search(rule.path, path, re.IGNORECASE) is not None)


class Faults:
    def __init__(self) -> None:
        self._faults: dict[int, _Fault] = {}
        self._numbers = itertools.count(1)

    def add(self, rule: FaultRule) -> int:
        fault = _Fault(next(self._numbers), rule)
        self._faults[fault.number] = fault
        return fault.number

    def remove(self, number: int) -> bool:
        """Forget a fault; requests that it holds go on."""
        fault = self._faults.pop(number, None)
        if fault is not None:
            fault.released.set()
        return fault is not None

    def clear(self) -> None:
        for number in list(self._faults):
            self.remove(number)

    def list(self) -> list[dict[str, Any]]:
        return [{"id": f.number, "hits": f.hits, "holding": f.holding, **f.rule.model_dump()} for f in self._faults.values()]

    def take(self, method: str, path: str) -> _Fault | None:
        """The first fault that matches; it is counted."""
        for fault in self._faults.values():
            if fault.matches(method, path):
                fault.hits += 1
                return fault
        return None


class FaultMiddleware:
    """Applies faults and keeps the journal; the control API itself is exempt."""

    def __init__(self, app: ASGIApp, faults: Faults, journal: Journal) -> None:
        self._app, self._faults, self._journal = app, faults, journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/_emulator"):
            await self._app(scope, receive, send)
            return
        body = await _whole(receive)
        fault = self._faults.take(scope["method"], scope["path"])
        started: list[int] = []
        scope.setdefault("state", {})["fail_operation"] = None
        if fault is not None and fault.rule.action == "fail_operation":
            scope["state"]["fail_operation"] = {"code": fault.rule.code, "message": fault.rule.message}
            fault = None

        async def replay() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        async def noting(message: Message) -> None:
            if message["type"] == "http.response.start":
                started.append(message["status"])
            await send(message)

        try:
            if fault is None:
                await self._app(scope, replay, noting)
            elif fault.rule.when == "before":
                if not await _apply(fault, noting):
                    await self._app(scope, replay, noting)
            else:
                await self._after(fault, scope, replay, noting)
        finally:
            self._journal.add(method=scope["method"], path=scope["path"], query=_query(scope), status=started[0] if started else 0,
                              body=body, caller=scope.get("state", {}).get("caller"))

    async def _after(self, fault: _Fault, scope: Scope, replay: Receive, send: Send) -> None:
        kept: list[Message] = []

        async def keep(message: Message) -> None:
            kept.append(message)

        await self._app(scope, replay, keep)
        if not await _apply(fault, send):
            for message in kept:
                await send(message)


async def _apply(fault: _Fault, send: Send) -> bool:
    """Do what the fault says; True when it has answered in the service's stead."""
    rule = fault.rule
    if rule.action == "drop":
        # An answer that ends before the length it announced: the server closes the connection, the client sees it break.
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1")]})
        return True
    if rule.action == "delay":
        await asyncio.sleep(rule.delay_seconds)
        return False
    if rule.action == "hold":
        fault.holding += 1
        try:
            await fault.released.wait()
        finally:
            fault.holding -= 1
        return False
    payload = json.dumps(rule.body if rule.body is not None else {"error": {"code": rule.code, "message": rule.message}}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(payload)), **rule.headers}
    await send({"type": "http.response.start", "status": rule.status,
                "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()]})
    await send({"type": "http.response.body", "body": payload})
    return True


async def _whole(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(parts)
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _query(scope: Scope) -> dict[str, str]:
    return dict(parse_qsl(scope["query_string"].decode("latin-1")))
