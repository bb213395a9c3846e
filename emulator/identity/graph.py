"""Microsoft Graph's word on groups: `checkMemberGroups`, for who is in more groups than a token holds.

Source: learn.microsoft.com, graph/api/directoryobject-checkmembergroups.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.config import PlatformConfig
from emulator.context import Caller
from emulator.errors import Unauthorized

AT_ONCE = 20
"""Groups that one request may name."""
PERMISSIONS = frozenset({"GroupMember.Read.All", "Group.Read.All", "Directory.Read.All"})
PUBLIC = "https://graph.microsoft.com"


class Graph:
    """`caller` verifies a bearer token; raises Unauthorized."""

    def __init__(self, config: PlatformConfig, base_url: str, caller: Callable[[str | None], Caller]) -> None:
        self._config, self._audiences, self._caller = config, (base_url, PUBLIC), caller

    def routes(self) -> list[BaseRoute]:
        return [Route("/v1.0/users/{person}/checkMemberGroups", self._check, methods=["POST"])]

    async def _check(self, request: Request) -> Response:
        """Those of the groups that the person is in."""
        try:
            caller = self._caller(request.headers.get("authorization"))
            if caller.audience not in self._audiences:
                raise Unauthorized(f"the token is for {caller.audience}, not for Microsoft Graph")
        except Unauthorized as error:
            return _refusal(401, "InvalidAuthenticationToken", str(error))
        asking = next((one for one in self._config.identities if one.object_id == caller.object_id), None)
        if asking is None or not PERMISSIONS & set(asking.graph_permissions):
            return _refusal(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
        try:
            asked = json.loads(await request.body())["groupIds"]
        except (ValueError, RecursionError, KeyError, TypeError):
            asked = None
        if not isinstance(asked, list) or not all(isinstance(group, str) for group in asked):
            return _refusal(400, "Request_BadRequest", "groupIds must be a list of ids.")
        if not 1 <= len(asked) <= AT_ONCE:
            return _refusal(400, "Request_BadRequest", f"groupIds must hold 1 to {AT_ONCE} ids.")
        person = next((one for one in self._config.identities if one.object_id == request.path_params["person"]), None)
        if person is None:
            return _refusal(404, "Request_ResourceNotFound", f"Resource '{request.path_params['person']}' does not exist.")
        mine = {group.casefold() for group in person.groups}
        return JSONResponse({"value": [group for group in asked if group.casefold() in mine]})


def _refusal(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
