"""What a resource type is: the handlers behind one kind of ARM path.

`arm.py` parses a request into an `ArmRequest` and calls the handler of its type. A type's key is its
path below the workspace or registry without names, in lower case: `models/versions`,
`onlineendpoints/deployments`; the scope itself (the workspace or registry) has the key ``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from starlette.responses import JSONResponse, Response

from emulator.azure_ml.errors import MethodNotAllowed
from emulator.context import Caller

PROVIDER = "Microsoft.MachineLearningServices"


@dataclass(frozen=True, slots=True)
class Scope:
    """A workspace or a registry as its configuration names it."""

    kind: str
    """`workspaces` or `registries`."""
    name: str
    subscription: str
    resource_group: str
    location: str
    account: str
    """Its storage account."""
    guid: str
    """A workspace's `workspaceId`; stable for a name."""

    @property
    def id(self) -> str:
        return (
            f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
            f"/providers/{PROVIDER}/{self.kind}/{self.name}"
        )

    @property
    def is_registry(self) -> bool:
        return self.kind == "registries"


@dataclass(frozen=True, slots=True)
class ArmRequest:
    """One request to a resource, a collection or an action of a resource."""

    scope: Scope
    segments: tuple[str, ...]
    """The path below the scope, without an action: `("models", "m", "versions", "1")`; odd: a collection."""
    caller: Caller
    action: str | None = None
    """Lower case: `listkeys`, `cancel`."""
    body: dict[str, Any] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    fail: dict[str, Any] | None = None
    """`{"code", "message"}` when the operation that this request begins shall fail."""

    @property
    def id(self) -> str:
        """The ARM id of the resource or collection asked for."""
        return "/".join((self.scope.id, *self.segments))

    @property
    def type(self) -> str:
        """`models/versions`, as the caller wrote it but in lower case."""
        return "/".join(self.segments[0::2]).lower()

    @property
    def name(self) -> str:
        """The last name in the path; the scope's own when there is none."""
        return self.names[-1] if self.names else self.scope.name

    @property
    def names(self) -> tuple[str, ...]:
        """Every name in the path, outermost first: `("m", "1")`."""
        return self.segments[1::2]

    @property
    def collection_id(self) -> str:
        """The id of the collection that the resource is in."""
        return self.id.rpartition("/")[0] if len(self.segments) % 2 == 0 else self.id

    @property
    def properties(self) -> dict[str, Any]:
        """The body's `properties` object, empty when there is none."""
        found = self.body.get("properties")
        return found if isinstance(found, dict) else {}


class ResourceType(Protocol):
    """Handlers may raise `AzureMlError`; what they return is sent as it is."""

    async def get(self, request: ArmRequest) -> Response: ...

    async def list(self, request: ArmRequest) -> Response: ...

    async def put(self, request: ArmRequest) -> Response: ...

    async def patch(self, request: ArmRequest) -> Response: ...

    async def delete(self, request: ArmRequest) -> Response: ...

    async def post(self, request: ArmRequest) -> Response:
        """An action: `request.action`."""


class Unsupported:
    """A base for resource types: every operation answers 405 until it is defined."""

    async def get(self, request: ArmRequest) -> Response:
        raise _refusal("GET", request)

    async def list(self, request: ArmRequest) -> Response:
        raise _refusal("LIST", request)

    async def put(self, request: ArmRequest) -> Response:
        raise _refusal("PUT", request)

    async def patch(self, request: ArmRequest) -> Response:
        raise _refusal("PATCH", request)

    async def delete(self, request: ArmRequest) -> Response:
        raise _refusal("DELETE", request)

    async def post(self, request: ArmRequest) -> Response:
        raise _refusal(f"POST {request.action}", request)


def _refusal(method: str, request: ArmRequest) -> MethodNotAllowed:
    return MethodNotAllowed(f"{method} is not supported for {PROVIDER}/{request.scope.kind}/{request.type}")


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse(body, status_code=status, headers=dict(headers or {}))
