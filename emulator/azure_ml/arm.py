"""Azure Resource Manager's paths: from an HTTP request to the handler of its resource type.

Workspaces are served at `/subscriptions/...`; registries there and at their data plane's
`/mferp/managementfrontend/subscriptions/...`. Fixed parts of a path match in any case.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from emulator.access import wrong_audience
from emulator.azure_ml.bodies import json_object
from emulator.azure_ml.errors import AzureMlError, BadRequest, MethodNotAllowed, NotFound, envelope, error_response
from emulator.azure_ml.permissions import Permissions, action_of
from emulator.azure_ml.resource import PROVIDER, ArmRequest, ResourceType, json_response
from emulator.azure_ml.scopes import Scopes
from emulator.context import Caller, IdentityVerifier, Unauthorized

logger = logging.getLogger(__name__)

_PATH = re.compile(
    r"^(?P<plane>/mferp/managementfrontend)?/subscriptions/(?P<subscription>[^/]+)(?:/resourceGroups/(?P<group>[^/]+))?"
    rf"/providers/{re.escape(PROVIDER)}/(?P<kind>workspaces|registries)(?:/(?P<name>[^/]+)(?P<rest>/.*)?)?$",
    re.IGNORECASE,
)
METHODS = ["GET", "PUT", "PATCH", "POST", "DELETE"]

_OF_REGISTRIES = ("", "models", "environments", "data", "codes", "components", "tempdatarefs", "datarefs")
DEPTH = 128
"""Levels of nesting that a body may have."""
_TYPES: dict[str, tuple[type, str]] = {
    "properties": (dict, "an object"), "tags": (dict, "an object"), "sku": (dict, "an object"), "identity": (dict, "an object"),
    "description": (str, "a text"), "location": (str, "a text"), "kind": (str, "a text"), "displayName": (str, "a text"),
    "traffic": (dict, "an object"), "mirrorTraffic": (dict, "an object"),
    "isArchived": (bool, "true or false"), "isAnonymous": (bool, "true or false")}


class Arm:
    """Dispatches to `types`, whose keys are lower-case type paths (see `resource.py`).

    As in Azure Resource Manager the order of refusals is: the token (401), the resource type (404), the caller's roles (403), and
    only then whether the workspace and the resource are there (404).
    """

    def __init__(self, scopes: Scopes, types: Mapping[str, ResourceType], identity: IdentityVerifier, permissions: Permissions,
                 base_url: str) -> None:
        self._scopes = scopes
        self._types = types
        self._identity = identity
        self._permissions = permissions
        self._base_url = base_url

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/subscriptions/{rest:path}", self.serve, methods=METHODS),
            Route("/mferp/managementfrontend/subscriptions/{rest:path}", self.serve, methods=METHODS),
        ]

    async def serve(self, request: Request) -> Response:
        try:
            caller = self._identity.caller(request.headers.get("authorization"))
        except Unauthorized as refusal:
            return _unauthenticated("AuthenticationFailed", f"Authentication failed. {refusal}")
        if (wrong := wrong_audience(caller, self._base_url)) is not None:
            return _unauthenticated("InvalidAuthenticationTokenAudience", wrong)
        try:
            return await self._answer(request, caller)
        except AzureMlError as error:
            return error_response(error)
        except Exception as problem:
            logger.exception("%s %s broke", request.method, request.url.path)
            return json_response(envelope("InternalServerError", f"{type(problem).__name__}: {problem}"), 500)

    async def _answer(self, request: Request, caller: Caller) -> Response:
        found = _PATH.match(request.url.path)
        if found is None:
            raise NotFound(f"{request.url.path} is not a path of {PROVIDER}.", code="InvalidResourceType")
        kind, method = found["kind"].lower(), request.method
        if not found["name"]:
            return self._list_scopes(caller, kind, found["subscription"], found["group"])
        segments = tuple(segment for segment in (found["rest"] or "").split("/") if segment)
        action = None
        if method == "POST" and len(segments) % 2:
            *rest, action = segments
            segments = tuple(rest)
        type_ = "/".join(segments[0::2]).lower()
        handler = self._types.get(type_)
        if handler is None or not _is_in(type_, kind):
            raise NotFound(f"There is no resource type {PROVIDER}/{kind}/{type_}.", code="InvalidResourceType")
        needed = action_of(method, kind, segments, action)
        if found["plane"] and kind == "registries":
            # The registries' own service goes by the name alone: azure-ai-ml 1.33 shares with another resource group in the path.
            scope = self._scopes.registry(found["name"])
            self._permissions.require(caller, needed, "/".join((scope.id, *segments)))
        else:
            group = f"/subscriptions/{found['subscription']}/resourceGroups/{found['group'] or ''}"
            self._permissions.require(caller, needed, "/".join((f"{group}/providers/{PROVIDER}/{kind}/{found['name']}", *segments)))
            scope = self._scopes.find(kind, found["subscription"], found["group"] or "", found["name"])
        return await _dispatch(handler, method, ArmRequest(
            scope=scope,
            segments=segments,
            caller=caller,
            action=action.lower() if action else None,
            body=await _body(request),
            query=dict(request.query_params),
            fail=getattr(request.state, "fail_operation", None),
        ))

    def _list_scopes(self, caller: Caller, kind: str, subscription: str, group: str | None) -> Response:
        """Those that the caller may read: for who may read none the list is empty, as in Azure."""
        action = action_of("GET", kind, ())
        values = [self._scopes.resource(scope) for scope in self._scopes.of_group(kind, subscription, group)
                  if self._permissions.allowed(caller, action, scope)]
        return json_response({"value": values})


def _is_in(type_: str, kind: str) -> bool:
    """Registries have assets and the references to their bytes; workspaces have everything but those references."""
    if kind == "registries":
        return type_.partition("/")[0] in _OF_REGISTRIES
    return type_.partition("/")[0] not in ("tempdatarefs", "datarefs")


async def _dispatch(handler: ResourceType, method: str, request: ArmRequest) -> Response:
    if len(request.segments) % 2 and method not in ("GET", "POST"):
        raise MethodNotAllowed(f"{method} needs the name of a resource of type {PROVIDER}/{request.scope.kind}/{request.type}.")
    match method:
        case "GET" if len(request.segments) % 2:
            return await handler.list(request)
        case "GET":
            return await handler.get(request)
        case "PUT":
            return await handler.put(request)
        case "PATCH":
            return await handler.patch(request)
        case "DELETE":
            return await handler.delete(request)
        case _:
            return await handler.post(request)


def _unauthenticated(code: str, message: str) -> Response:
    return json_response({"error": {"code": code, "message": message}}, 401, {"WWW-Authenticate": "Bearer"})


async def _body(request: Request) -> dict[str, Any]:
    body = await json_object(request)
    _check_depth(body)
    _check_types(body, "")
    if isinstance(body.get("properties"), dict):
        _check_types(body["properties"], "properties.")
    return body


def _check_depth(body: dict[str, Any]) -> None:
    level: list[Any] = [body]
    for _ in range(DEPTH):
        level = [item for holder in level for item in (holder.values() if isinstance(holder, dict) else holder)
                 if isinstance(item, dict | list)]
        if not level:
            return
    raise BadRequest(f"The request body is nested deeper than {DEPTH} levels.", code="InvalidRequestContent")


def _check_types(properties: dict[str, Any], place: str) -> None:
    """What every resource of the published description has, has one type everywhere; null is the same as nothing."""
    for name, (kind, word) in _TYPES.items():
        value = properties.get(name)
        if value is not None and not isinstance(value, kind):
            raise BadRequest(f"The field {place}{name} must be {word}.", code="InvalidRequestContent")
    for key, value in (properties.get("tags") or {}).items():
        if isinstance(value, dict | list):
            raise BadRequest(f"The field {place}tags.{key} must be a text.", code="InvalidRequestContent")
