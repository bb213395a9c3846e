"""Role assignments over HTTP: Azure's own `Microsoft.Authorization`, and `/_emulator/access` for tests and people.

The shapes are those of api-version 2022-04-01 (learn.microsoft.com/rest/api/authorization). With Azure's API who changes
roles needs the right to (`Microsoft.Authorization/roleAssignments/write`, an owner's); the control API is the platform's.
"""

from __future__ import annotations

import json
import logging
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope as AsgiScope

from emulator.access import Access, Assignment, AssignmentExists, ChangedAssignment, Role, UnknownRole, new_name, wrong_audience
from emulator.answers import PlainJson
from emulator.config import ConfigError, PlatformConfig
from emulator.context import Caller, IdentityVerifier, Unauthorized

logger = logging.getLogger(__name__)

_PATH = re.compile(
    r"^(?P<scope>/subscriptions/.+?)?/providers/Microsoft\.Authorization/(?P<kind>roleAssignments|roleDefinitions)(?:/(?P<name>[^/]+))?/?$",
    re.IGNORECASE)
_GUID = re.compile(r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", re.IGNORECASE)
_FILTER = re.compile(r"^\s*(?:atScope\(\)|(?P<field>principalId|assignedTo)\s*(?:eq\s*'(?P<value>[^']*)'|\(\s*'(?P<called>[^']*)'\s*\))"
                     r"|roleName\s+eq\s+'(?P<role>[^']*)')\s*$", re.IGNORECASE)


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


class _OwnPaths(Route):
    """Leaves the paths of other providers alone."""

    def matches(self, scope: AsgiScope) -> tuple[Match, AsgiScope]:
        if scope["type"] == "http" and not _PATH.match(scope["path"]):
            return Match.NONE, {}
        return super().matches(scope)


class Authorization:
    def __init__(self, config: PlatformConfig, access: Access, identity: IdentityVerifier, base_url: str) -> None:
        self._config, self._access, self._identity, self._base_url = config, access, identity, base_url

    def routes(self) -> list[BaseRoute]:
        return [
            _OwnPaths("/{rest:path}", self.serve, methods=["GET", "PUT", "DELETE"]),
            Route("/_emulator/access", self._overview, methods=["GET"]),
            Route("/_emulator/access", self._change, methods=["PUT", "DELETE"]),
        ]

    # --- Microsoft.Authorization ----------------------------------------------------------------------

    async def serve(self, request: Request) -> Response:
        try:
            caller = self._identity.caller(request.headers.get("authorization"))
        except Unauthorized as problem:
            return _error(401, "AuthenticationFailed", f"Authentication failed. {problem}")
        if (wrong := wrong_audience(caller, self._base_url)) is not None:
            return _error(401, "InvalidAuthenticationTokenAudience", wrong)
        found = _PATH.match(request.url.path)
        assert found is not None  # the route matched
        try:
            if found["kind"].lower() == "roledefinitions":
                return self._definitions(request, caller, found["scope"] or "/", found["name"])
            return await self._assignments(request, caller, found["scope"] or "/", found["name"])
        except _Refused as refusal:
            return _error(refusal.status, refusal.code, refusal.message)
        except Exception as problem:
            logger.exception("%s %s broke", request.method, request.url.path)
            return _error(500, "InternalServerError", f"{type(problem).__name__}: {problem}")

    def _definitions(self, request: Request, caller: Caller, scope: str, name: str | None) -> Response:
        if request.method != "GET":
            raise _Refused(405, "MethodNotAllowed", "Roles are declared in platform.yaml.")
        self._require(caller, "roleDefinitions/read", scope)
        access = self._access
        if name:
            try:
                return PlainJson(_definition(access.role(name)))
            except UnknownRole:
                raise _no_role(name) from None
        wanted = _clause(request)["role"] if request.query_params.get("$filter") else None
        return PlainJson({"value": [_definition(role) for role in access.roles if wanted in (None, role.name)]})

    async def _assignments(self, request: Request, caller: Caller, scope: str, name: str | None) -> Response:
        access = self._access
        if not name:
            if request.method != "GET":
                raise _Refused(405, "MethodNotAllowed", "A role assignment is made under its own name.")
            self._require(caller, "roleAssignments/read", scope)
            clause = _clause(request) if request.query_params.get("$filter") else None
            wanted = (clause["value"] or clause["called"]) if clause else None
            return PlainJson({"value": [self._shown(one) for one in access.assignments()
                                           if (one.covers(scope) or _below(one, scope)) and wanted in (None, one.principal)]})
        match request.method:
            case "GET":
                self._require(caller, "roleAssignments/read", scope)
                assignment = access.find(name)
                if assignment is None:
                    raise _Refused(404, "RoleAssignmentNotFound", f"The role assignment '{name}' is not found.")
                return PlainJson(self._shown(assignment))
            case "PUT":
                self._require(caller, "roleAssignments/write", scope)
                assignment, made = self._make(name, scope, await _properties(request))
                return PlainJson(self._shown(assignment), 201 if made else 200)
            case _:
                self._require(caller, "roleAssignments/delete", scope)
                gone = access.remove(name)
                return PlainJson(self._shown(gone)) if gone else Response(status_code=204)

    def _make(self, name: str, scope: str, properties: dict[str, Any]) -> tuple[Assignment, bool]:
        role, principal = properties.get("roleDefinitionId"), properties.get("principalId")
        if not _GUID.match(name):
            raise _Refused(400, "InvalidRoleAssignmentId",
                           f"The role assignment ID '{name}' is not valid. The role assignment ID must be a GUID.")
        if not isinstance(role, str) or not isinstance(principal, str) or not role or not principal:
            raise _Refused(400, "BadRequestFormat", "properties.roleDefinitionId and properties.principalId are required texts.")
        if all(identity.object_id != principal for identity in self._config.identities):
            raise _Refused(400, "PrincipalNotFound",
                           f"Principal {principal} does not exist in the directory {self._config.tenant}.")
        return _made(self._access, name, scope, role, principal)

    def _require(self, caller: Caller, action: str, scope: str) -> None:
        refusal = self._access.refusal(caller, f"Microsoft.Authorization/{action}", scope)
        if refusal is not None:
            raise _Refused(403, "AuthorizationFailed", refusal)

    def _shown(self, assignment: Assignment) -> dict[str, Any]:
        person = next((one for one in self._config.identities if one.object_id == assignment.principal), None)
        return {
            "id": f"{assignment.scope.rstrip('/')}/providers/Microsoft.Authorization/roleAssignments/{assignment.name}",
            "name": assignment.name, "type": "Microsoft.Authorization/roleAssignments",
            "properties": {
                "roleDefinitionId": _definition_id(assignment.role), "principalId": assignment.principal,
                "principalType": "ServicePrincipal" if person and person.client_id and not person.username else "User",
                "scope": assignment.scope}}

    # --- the control API ----------------------------------------------------------------------------

    async def _overview(self, request: Request) -> Response:
        """Who has which role where, by the names of platform.yaml."""
        people = {identity.object_id: identity.id for identity in self._config.identities}
        return PlainJson({"items": [
            {"identity": people.get(one.principal, one.principal), "role": one.role.name, "scope": one.scope, "name": one.name}
            for one in self._access.assignments()]})

    async def _change(self, request: Request) -> Response:
        """`{"identity", "role", "scope"}` as in platform.yaml: PUT gives the role, DELETE takes it."""
        try:
            given = json.loads(await request.body())
            identity, role, scope = (given[name] for name in ("identity", "role", "scope"))
            principal, scope_id = self._config.identity(identity).object_id, self._config.scope_id(scope)
            access = self._access
            wanted = access.role(role)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
            return PlainJson({"error": f"give identity, role and scope (texts): {problem!r}"}, 400)
        except (ConfigError, UnknownRole) as problem:
            return PlainJson({"error": str(problem)}, 400)
        held = [one for one in access.assignments()
                if (one.scope.lower(), one.role.id, one.principal) == (scope_id.lower(), wanted.id, principal)]
        if request.method == "DELETE":
            for one in held:
                access.remove(one.name)
            return Response(status_code=204 if held else 404)
        if not held:
            access.assign(new_name(scope_id, wanted.id, principal), scope_id, wanted.id, principal)
        return Response(status_code=200 if held else 201)


def _no_role(name: str) -> _Refused:
    return _Refused(404, "RoleDefinitionDoesNotExist", f"The specified role definition with ID '{name}' does not exist.")


def _made(access: Access, name: str, scope: str, role: str, principal: str) -> tuple[Assignment, bool]:
    try:
        return access.assign(name, scope, role, principal)
    except UnknownRole:
        raise _no_role(role) from None
    except AssignmentExists as problem:
        raise _Refused(409, "RoleAssignmentExists", str(problem)) from None
    except ChangedAssignment as problem:
        raise _Refused(400, "RoleAssignmentUpdateNotPermitted", str(problem)) from None


def _below(assignment: Assignment, scope: str) -> bool:
    return assignment.scope.lower().startswith(scope.rstrip("/").lower() + "/")


def _clause(request: Request) -> re.Match[str]:
    found = _FILTER.match(request.query_params["$filter"])
    if found is None:
        raise _Refused(400, "InvalidFilter", "The $filter is one of atScope(), principalId eq '...', assignedTo('...'), roleName eq '...'.")
    return found


async def _properties(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError) as problem:
        raise _Refused(400, "InvalidRequestContent", f"The request body is not JSON: {problem}") from None
    properties = body.get("properties") if isinstance(body, dict) else None
    if not isinstance(properties, dict):
        raise _Refused(400, "InvalidRequestContent", "The request body must be an object with properties.")
    return properties


def _definition_id(role: Role) -> str:
    return f"/providers/Microsoft.Authorization/roleDefinitions/{role.id}"


def _definition(role: Role) -> dict[str, Any]:
    permission = {"actions": list(role.actions), "notActions": list(role.not_actions), "dataActions": [], "notDataActions": []}
    return {
        "id": _definition_id(role), "name": role.id, "type": "Microsoft.Authorization/roleDefinitions",
        "properties": {
            "roleName": role.name, "type": "CustomRole" if role.custom else "BuiltInRole", "description": role.description,
            "assignableScopes": ["/"],
            "permissions": [permission]}}


def _error(status: int, code: str, message: str) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return PlainJson({"error": {"code": code, "message": message}}, status, headers)
