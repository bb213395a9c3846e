"""Faults on demand: statuses, drops, delays and held answers, before or after a request has had its effect.

One ASGI middleware around all services, which keeps the journal too. `after` is the interesting half: the
effect is committed and the caller does not know, which is where duplicates come from.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import parse_qsl

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from emulator.context import STICK
from emulator.errors import EmulatorError
from emulator.journal import Journal, compiled
from emulator.server import Connections

SERVICE_PATHS = (
    ("event_grid", re.compile(r"^/topics/|/providers/Microsoft\.EventGrid(/|$)", re.IGNORECASE)),
    ("identity", re.compile(r"^/(msi/|[^/]+/(v2\.0|discovery|oauth2|\.well-known)/)")),
)
"""What is none of these is Azure ML's. `storage` is Azurite behind the proxy: there the path is the host's name."""


_WITHOUT_BODY = frozenset({204, 304})
_HEADER_NAME, _HEADER_VALUE = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"), re.compile(r"[\x20-\x7e]*")


def is_own(path: str) -> bool:
    """The platform's pages and control API: no service of Azure, so neither faulted, nor journaled, nor held back."""
    return path == "/" or path.startswith("/_emulator")


class InvalidFaults(EmulatorError):
    """The file of faults in the state folder can't be read; the message names the place."""


class FaultRule(BaseModel):
    """What a test asks for. The first rule that matches a request applies, `count` times, after letting `skip` go by."""

    model_config = ConfigDict(extra="forbid")

    service: Literal["", "azure_ml", "event_grid", "identity", "storage"] = ""
    method: str = ""
    path: str
    """A pattern that is searched in the path, in any case."""
    when: Literal["before", "after"] = "before"
    """`before` the request has had its effect (`hold`: it has none when its client goes away meanwhile), or `after`."""
    action: Literal["status", "drop", "hold", "delay", "fail_operation", "stick_operation"]
    """`stick_operation`: what the request begins stays InProgress until the rule is removed, and then goes on."""
    status: int = Field(503, ge=200, le=599)
    headers: dict[str, str] = {}
    body: Any = None
    delay_seconds: float = Field(1.0, ge=0)
    code: str = "InternalServerError"
    message: str = "a fault was asked for"
    skip: int = Field(0, ge=0)
    count: int = Field(1, ge=1)

    @model_validator(mode="after")
    def _only_azure_ml_has_operations(self) -> Self:
        if self.service not in ("", "azure_ml") and self.action in ("fail_operation", "stick_operation"):
            raise ValueError(f"{self.service} has no long-running operations: {self.action} is Azure ML's")
        return self

    @field_validator("headers")
    @classmethod
    def _can_be_sent(cls, headers: dict[str, str]) -> dict[str, str]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
                raise ValueError(f"{name!r}: {value!r} is no header: names are letters, digits and dashes, values are printable ASCII")
        return headers

    @field_validator("path")
    @classmethod
    def _is_a_pattern(cls, path: str) -> str:
        try:
            compiled(path)
        except re.error as error:
            raise ValueError(f"is no regular expression: {error}") from error
        return path


@dataclass
class Fault:
    """A rule and what became of it."""

    number: int
    rule: FaultRule
    seen: int = 0
    hits: int = 0
    holding: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def takes(self, service: str, method: str, path: str) -> bool:
        """True when the fault applies to this request; it is counted."""
        rule = self.rule
        if self.hits >= rule.count or rule.method.upper() not in ("", method) or rule.service not in ("", service):
            return False
        # Storage has to be named: a pattern for a path must not hit a host by chance.
        if (service == "storage") != (rule.service == "storage") or not re.search(rule.path, path, re.IGNORECASE):
            return False
        self.seen += 1
        if self.seen <= rule.skip:
            return False
        self.hits += 1
        return True

    async def stick(self) -> None:
        """Wait for the release; what waits counts as held."""
        self.holding += 1
        try:
            await self.released.wait()
        finally:
            self.holding -= 1

    async def hold(self, gone: asyncio.Future[Any]) -> bool:
        """Wait for the release; False when the client went away before."""
        release = asyncio.ensure_future(self.released.wait())
        self.holding += 1
        try:
            await asyncio.wait([release, gone], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.holding -= 1
            release.cancel()
        return self.released.is_set()


class Faults:
    """The faults in force, oldest first."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._numbers = itertools.count(1)

    def add(self, rule: FaultRule) -> int:
        fault = Fault(next(self._numbers), rule)
        self._faults[fault.number] = fault
        return fault.number

    def load(self, path: Path) -> None:
        """Rules (a JSON list) that are in force from the first request on; does nothing without the file. Raises InvalidFaults."""
        if not path.exists():
            return
        try:
            rules = TypeAdapter(list[FaultRule]).validate_json(path.read_bytes())
        except ValidationError as error:
            raise InvalidFaults(f"{path} is not a list of fault rules: {error}") from error
        for rule in rules:
            self.add(rule)

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

    def take(self, service: str, method: str, path: str) -> Fault | None:
        """The first fault that applies; it is counted."""
        return next((fault for fault in self._faults.values() if fault.takes(service, method, path)), None)


class FaultMiddleware:
    """Applies faults and keeps the journal; the control API itself is exempt."""

    def __init__(self, app: ASGIApp, faults: Faults, journal: Journal, connections: Connections,
                 caller: Callable[[str | None], str | None]) -> None:
        self._app, self._faults, self._journal = app, faults, journal
        self._connections, self._caller = connections, caller

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_own(scope["path"]):
            await self._app(scope, receive, send)
            return
        body = await _whole(receive)
        if body is None:
            return  # the client went away while it was still asking
        exchange = _Exchange(scope, receive, send, body, self._connections)
        service = service_of(scope["path"])
        fault = self._faults.take(service, scope["method"], scope["path"])
        try:
            await exchange.run(self._app, fault)
        finally:
            authorization = dict(scope["headers"]).get(b"authorization", b"").decode("latin-1")
            self._journal.add(
                service=service, method=scope["method"], path=scope["path"], query=parse_qsl(scope["query_string"].decode("latin-1")),
                status=exchange.status, body=body, caller=self._caller(authorization))


class _Exchange:
    """One request, its answer, and the fault that comes between them."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, body: bytes, connections: Connections) -> None:
        self._scope, self._receive, self._send, self._connections = scope, receive, send, connections
        self._body: bytes | None = body
        self._gone: asyncio.Future[Any] | None = None
        self.status = 0

    async def run(self, app: ASGIApp, fault: Fault | None) -> None:
        state = self._scope.setdefault("state", {})
        state["fail_operation"] = None
        if fault is not None and fault.rule.action == "fail_operation":
            state["fail_operation"] = {"code": fault.rule.code, "message": fault.rule.message}
            fault = None
        if fault is not None and fault.rule.action == "stick_operation":
            STICK.set(fault.stick)  # for what is done from here on in this request's task
            fault = None
        if fault is None:
            await app(self._scope, self._replay, self._answer)
        elif fault.rule.when == "before":
            if await self._apply(fault):
                await app(self._scope, self._replay, self._answer)
        else:
            kept: list[Message] = []

            async def keep(message: Message) -> None:
                kept.append(message)

            await app(self._scope, self._replay, keep)
            if await self._apply(fault):
                for message in kept:
                    await self._answer(message)

    async def _apply(self, fault: Fault) -> bool:
        """Do what the fault says; True when the request, or its answer, goes on."""
        rule = fault.rule
        if rule.action == "delay":
            await asyncio.sleep(rule.delay_seconds)
            return True
        if rule.action == "hold":
            return await fault.hold(self._disconnected())
        if rule.action == "drop":
            self._connections.cut(self._scope["client"])
            await asyncio.wait([self._disconnected()])  # the server has noticed, and expects no answer any more
            return False
        content = rule.body if rule.body is not None else {"error": {"code": rule.code, "message": rule.message}}
        payload = b"" if rule.status in _WITHOUT_BODY else json.dumps(content).encode()
        described = {} if rule.status in _WITHOUT_BODY else {"content-type": "application/json", "content-length": str(len(payload))}
        headers = described | {name.lower(): value for name, value in rule.headers.items()}
        await self._answer({"type": "http.response.start", "status": rule.status,
                            "headers": [(name.encode(), value.encode()) for name, value in headers.items()]})
        await self._answer({"type": "http.response.body", "body": payload})
        return False

    def _disconnected(self) -> asyncio.Future[Any]:
        """Done once the client has gone: after its body, that is all there is to receive."""
        if self._gone is None:
            self._gone = asyncio.ensure_future(self._receive())
        return self._gone

    async def _replay(self) -> Message:
        """The body, and then what the server has to say: a streaming answer waits for the client's going."""
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await asyncio.wait([self._disconnected()])  # not awaited itself: who waits for us may give up, and ask again
        return {"type": "http.disconnect"}

    async def _answer(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        await self._send(message)


def service_of(path: str) -> str:
    """The service that answers a path."""
    return next((service for service, pattern in SERVICE_PATHS if pattern.search(path)), "azure_ml")


async def _whole(receive: Receive) -> bytes | None:
    """The request's body; None when the client went away before its end."""
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)
