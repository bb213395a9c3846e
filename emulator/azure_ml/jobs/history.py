"""Run history: the data-plane service with every run, who submitted it, its tags, logs and steps.

`/history/v1.0{workspace}/runs/{run}[/details|/children|/cancel]`, also below `experiments/{name}` and
`experimentids/{id}`; logs under addresses that `details` gives.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.azure_ml.errors import AzureMlError, BadRequest, MethodNotAllowed, NotFound, envelope, error_response
from emulator.azure_ml.jobs import view
from emulator.azure_ml.jobs.runs import Run
from emulator.azure_ml.resource import PROVIDER, Scope, json_response
from emulator.context import Unauthorized

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

_WORKSPACE = (
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    rf"/providers/{re.escape(PROVIDER)}/workspaces/(?P<workspace>[^/]+)"
)
_RUN = re.compile(
    rf"^/history/v1\.0{_WORKSPACE}(?:/experiment(?:s|ids)/[^/]+)?"
    r"(?:/runs/(?P<run>[^/]+)(?:/(?P<part>details|children|cancel|tags))?|/(?P<data>rundata))$",
    re.IGNORECASE,
)
_LOG = re.compile(rf"^/logs{_WORKSPACE}/jobs/(?P<run>[^/]+)/(?P<file>.+)$", re.IGNORECASE)


class History:
    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/history/v1.0/{rest:path}", self.serve, methods=["GET", "PATCH", "POST", "DELETE"]),
            Route("/logs/{rest:path}", self.log, methods=["GET"]),
        ]

    async def serve(self, request: Request) -> Response:
        try:
            self._azure_ml.context.identity.caller(request.headers.get("authorization"))
        except Unauthorized as refusal:
            return json_response(envelope("AuthenticationFailed", str(refusal)), 401, {"WWW-Authenticate": "Bearer"})
        try:
            found = _RUN.match(request.url.path)
            if found is None:
                raise NotFound(f"{request.url.path} is not a path of the run history service.")
            scope = self._azure_ml.scopes.find("workspaces", found["subscription"], found["group"], found["workspace"])
            body = await _body(request)
            name = str(body.get("runId", "")) if found["data"] else unquote(found["run"])
            run = self._azure_ml.jobs.runs.get(scope.id, name)
            return json_response(await self._answer(request.method, (found["part"] or "").lower(), run, scope, body))
        except AzureMlError as error:
            return error_response(error)

    async def log(self, request: Request) -> Response:
        """A log file; its address is signed, so that no token is needed."""
        found = _LOG.match(request.url.path)
        if found is not None:
            try:
                scope = self._azure_ml.scopes.find("workspaces", found["subscription"], found["group"], found["workspace"])
                run = self._azure_ml.jobs.runs.get(scope.id, found["run"])
            except AzureMlError as error:
                return error_response(error)
            content = self._azure_ml.jobs.logs.read(run, found["file"], request.query_params.get("sig", ""))
            if content is not None:
                return Response(content, media_type="text/plain; charset=utf-8")
        return PlainTextResponse("Not found, or the signature is not valid.", status_code=403)

    async def _answer(self, method: str, part: str, run: Run, scope: Scope, body: dict[str, Any]) -> dict[str, Any]:
        jobs, tenant = self._azure_ml.jobs, self._azure_ml.context.config.tenant
        match method, part:
            case "GET", "":
                return view.history(run, scope, tenant)
            case "GET", "details":
                return view.details(run, scope, tenant, jobs.logs.addresses(run))
            case "GET", "children":
                return {"value": [view.history(child, scope, tenant) for child in jobs.runs.children(run)]}
            case "PATCH", "":
                return view.history(jobs.runs.change(run, lambda current: _patch(current, body)), scope, tenant)
            case "PATCH", "tags":
                return view.history(jobs.runs.change(run, lambda current: current.tags.update(_texts(body))), scope, tenant)
            case "POST", "cancel":
                await jobs.engine.cancel(run if run.parent is None else jobs.runs.get(scope.id, run.root))
                return view.history(jobs.runs.get(scope.id, run.name), scope, tenant)
            case "POST", "":  # rundata
                return {"runMetadata": view.history(run, scope, tenant)}
        raise MethodNotAllowed(f"{method} {part or 'run'} is not supported for runs.")


def _patch(run: Run, body: dict[str, Any]) -> None:
    """Tags are merged, texts and visibility replaced; properties can be added to, never changed."""
    run.tags.update(_texts(body.get("tags")))
    for name, value in _texts(body.get("properties")).items():
        if run.properties.setdefault(name, value) != value:
            raise BadRequest(f"The property {name} of a run cannot be changed.", code="UserError")
    if body.get("displayName"):
        run.display_name = str(body["displayName"])
    if body.get("description") is not None:
        run.description = str(body["description"])
    if body.get("hidden") is not None:
        run.hidden = bool(body["hidden"])


def _texts(values: Any) -> dict[str, str]:
    return {str(key): str(value) for key, value in (values or {}).items() if value is not None}


async def _body(request: Request) -> dict[str, Any]:
    raw = await request.body()
    try:
        body = json.loads(raw) if raw else {}
    except ValueError as problem:
        raise BadRequest(f"The request body is not JSON: {problem}", code="InvalidRequestContent") from problem
    if not isinstance(body, dict):
        raise BadRequest("The request body must be a JSON object.", code="InvalidRequestContent")
    return body
