"""Azure Resource Manager's paths: from an HTTP request to the handler of its resource type.

Workspaces are served at `/subscriptions/...`; registries there and at their data plane's
`/mferp/managementfrontend/subscriptions/...`. Fixed parts of a path match in any case.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from emulator.azure_ml.errors import AzureMlError, BadRequest, NotFound, envelope, error_response
from emulator.azure_ml.resource import PROVIDER, ArmRequest, ResourceType, json_response
from emulator.azure_ml.scopes import Scopes
from emulator.context import IdentityVerifier, Unauthorized

logger = logging.getLogger(__name__)

_PATH = re.compile(
    r"^(?P<plane>/mferp/managementfrontend)?/subscriptions/(?P<subscription>[^/]+)(?:/resourceGroups/(?P<group>[^/]+))?"
    rf"/providers/{re.escape(PROVIDER)}/(?P<kind>workspaces|registries)(?:/(?P<name>[^/]+)(?P<rest>/.*)?)?$",
    re.IGNORECASE,
)
METHODS = ["GET", "PUT", "PATCH", "POST", "DELETE"]


class Arm:
    """Dispatches to `types`, whose keys are lower-case type paths (see `resource.py`)."""

    def __init__(self, scopes: Scopes, types: Mapping[str, ResourceType], identity: IdentityVerifier) -> None:
        self._scopes = scopes
        self._types = types
        self._identity = identity

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/subscriptions/{rest:path}", self.serve, methods=METHODS),
            Route("/mferp/managementfrontend/subscriptions/{rest:path}", self.serve, methods=METHODS),
        ]

    async def serve(self, request: Request) -> Response:
        try:
            caller = self._identity.caller(request.headers.get("authorization"))
        except Unauthorized as refusal:
            return json_response(
                envelope("AuthenticationFailed", f"Authentication failed. {refusal}"),
                401,
                {"WWW-Authenticate": "Bearer"},
            )
        try:
            found = _PATH.match(request.url.path)
            if found is None:
                raise NotFound(f"{request.url.path} is not a path of {PROVIDER}.", code="InvalidResourceType")
            if not found["name"]:
                return self._list_scopes(found["kind"], found["subscription"], found["group"])
            if found["plane"] and found["kind"].lower() == "registries":
                # By name alone: azure-ai-ml 1.33 asks a registry's own data plane in the workspace's resource group.
                scope = self._scopes.registry(found["name"])
            else:
                scope = self._scopes.find(
                    found["kind"], found["subscription"], found["group"] or "", found["name"]
                )
            segments = tuple(segment for segment in (found["rest"] or "").split("/") if segment)
            action = None
            if request.method == "POST" and len(segments) % 2:
                *rest, action = segments
                segments = tuple(rest)
            arm_request = ArmRequest(
                scope=scope,
                segments=segments,
                caller=caller,
                action=action.lower() if action else None,
                body=await _body(request),
                query=dict(request.query_params),
                fail=getattr(request.state, "fail_operation", None),
            )
            return await self._dispatch(request.method, arm_request)
        except AzureMlError as error:
            return error_response(error)
        except Exception as problem:
            logger.exception("%s %s broke", request.method, request.url.path)
            return json_response(envelope("InternalServerError", f"{type(problem).__name__}: {problem}"), 500)

    async def _dispatch(self, method: str, request: ArmRequest) -> Response:
        handler = self._types.get(request.type)
        if handler is None:
            raise NotFound(
                f"There is no resource type {PROVIDER}/{request.scope.kind}/{request.type}.",
                code="InvalidResourceType",
            )
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

    def _list_scopes(self, kind: str, subscription: str, group: str | None) -> Response:
        values = [self._scopes.resource(scope) for scope in self._scopes.of_group(kind, subscription, group)]
        return json_response({"value": values})


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError as problem:
        raise BadRequest(
            f"The request body is not JSON: {problem}", code="InvalidRequestContent"
        ) from problem
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object.", code="InvalidRequestContent")
    return body
