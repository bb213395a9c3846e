"""Calls a function as the worker does: the registered function, a real request, a double of the durable client."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import azure.functions as func
import grpc

import function_app
from functions.event_grid import ReceivedEvent
from tests.support.memory import MemoryOrchestrator

FUNCTIONS: dict[str, func.Function] = {found.get_function_name(): found for found in function_app.app.get_functions()}


class RpcFailure(grpc.RpcError, grpc.Call):
    """What a gRPC stub raises."""

    def __init__(self, status: grpc.StatusCode) -> None:
        self._status = status

    def code(self) -> grpc.StatusCode:
        return self._status


@dataclass
class _State:
    runtime_status: Any


class DurableClient:
    """The three calls of the synchronous durable client that triggers make, over a memory orchestrator."""

    def __init__(self, orchestrator: MemoryOrchestrator) -> None:
        self._orchestrator = orchestrator
        self.failure: grpc.StatusCode | None = None

    def get_orchestration_state(self, instance_id: str, *, fetch_payloads: bool = True) -> _State | None:
        self._fail()
        name = self._orchestrator.state(instance_id)
        return _State(_Named(name)) if name else None

    def schedule_new_orchestration(self, orchestrator: str, *, input: dict[str, Any], instance_id: str) -> str:
        self._fail()
        if self._orchestrator.state(instance_id) is not None:
            raise RpcFailure(grpc.StatusCode.ALREADY_EXISTS)
        self._orchestrator.start(orchestrator, instance_id, json.loads(json.dumps(input)))
        return instance_id

    def raise_orchestration_event(self, instance_id: str, event_name: str, *, data: Any | None = None) -> None:
        self._fail()
        if self._orchestrator.state(instance_id) is None:
            raise RpcFailure(grpc.StatusCode.NOT_FOUND)
        self._orchestrator.raise_event(instance_id, event_name, data)

    def _fail(self) -> None:
        if self.failure is not None:
            raise RpcFailure(self.failure)


@dataclass
class _Named:
    name: str


@dataclass(frozen=True)
class Answer:
    status: int
    value: Any
    headers: dict[str, str]

    @property
    def code(self) -> str:
        return self.value["error"]["code"]

    @property
    def message(self) -> str:
        return self.value["error"]["message"]


def user_function(name: str) -> Any:
    """The function as written; the binding that would build its durable client is left out."""
    registered = FUNCTIONS[name].get_user_function()
    return getattr(registered, "client_function", registered)


def ask(
    name: str, client: DurableClient | None = None, *, method: str = "GET", token: str | None = None, body: Any = None,
    query: dict[str, str] | None = None, **route: str,
) -> Answer:
    """Send a request to an HTTP function. `body` is JSON unless it is bytes; `token` is the Authorization header."""
    payload = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    request = func.HttpRequest(
        method=method, url="https://pilotage.example/api/x?token=secret", headers={"Authorization": token} if token else {},
        params=query or {}, route_params=route, body=payload)
    function = user_function(name)
    response = function(request, client) if client is not None else function(request)
    content = response.get_body()
    if response.mimetype == "application/zip":
        return Answer(response.status_code, content, dict(response.headers))
    text = content.decode()
    return Answer(response.status_code, json.loads(text) if response.mimetype == "application/json" else text, dict(response.headers))


def deliver(name: str, client: DurableClient, body: Any) -> None:
    """Hand an event to an Event Grid function, as its converter decodes it."""
    payload = body if isinstance(body, bytes) else json.dumps(body).encode()
    user_function(name)(ReceivedEvent(payload), client)


