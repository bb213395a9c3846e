"""Run history: the data-plane service with every run, who submitted it, its tags, logs and steps.

`/history/v1.0{workspace}/runs/{run}[/details|/children|/cancel|/tags|/metrics]`, also below `experiments/{name}` and
`experimentids/{id}`; logs under addresses that `details` gives.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.bodies import json_object
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
    r"(?:/runs/(?P<run>[^/]+)(?:/(?P<part>details|children|cancel|tags|metrics))?|/(?P<data>rundata))$",
    re.IGNORECASE,
)
_RESOLVE = re.compile(rf"^/data/v1\.0{_WORKSPACE}/dataversion/batchGetResolvedUris$", re.IGNORECASE)
_LOG = re.compile(rf"^/logs{_WORKSPACE}/jobs/(?P<run>[^/]+)/(?P<file>.+)$", re.IGNORECASE)


class History:
    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/history/v1.0/{rest:path}", self.serve, methods=["GET", "PATCH", "POST", "DELETE"]),
            Route("/data/v1.0/{rest:path}", self.resolve, methods=["POST"]),
            Route("/logs/{rest:path}", self.log, methods=["GET"]),
        ]

    async def serve(self, request: Request) -> Response:
        try:
            found = _RUN.match(request.url.path)
            if found is None:
                self._azure_ml.context.identity.caller(request.headers.get("authorization"))
                raise NotFound(f"{request.url.path} is not a path of the run history service.")
            scope = self._azure_ml.scopes.find("workspaces", found["subscription"], found["group"], found["workspace"])
            tokens, part = self._azure_ml.jobs.tokens, (found["part"] or "").lower()
            caller = tokens.caller(request.headers.get("authorization"), scope)
            body = await json_object(request)
            name = (fields.text(body, "runId") or "") if found["data"] else unquote(found["run"])
            tokens.require(caller, _action(request.method, part), scope, self._azure_ml.jobs.runs.find(scope.id, name))
            run = self._azure_ml.jobs.runs.get(scope.id, name)
            return json_response(await self._answer(request.method, part, run, scope, body))
        except Unauthorized as refusal:
            return json_response(envelope("AuthenticationFailed", str(refusal)), 401, {"WWW-Authenticate": "Bearer"})
        except AzureMlError as error:
            return error_response(error)

    async def resolve(self, request: Request) -> Response:
        """Where the data assets lie that a run's `outputs` name; the SDK's `jobs.download` asks for it."""
        try:
            found = _RESOLVE.match(request.url.path)
            if found is None:
                raise NotFound(f"{request.url.path} is not a path of the data service.")
            scope = self._azure_ml.scopes.find("workspaces", found["subscription"], found["group"], found["workspace"])
            tokens = self._azure_ml.jobs.tokens
            caller = tokens.caller(request.headers.get("authorization"), scope)
            tokens.require(caller, f"{PROVIDER}/workspaces/data/versions/read", scope)
            asked = (await json_object(request)).get("values")
            if not isinstance(asked, list):
                raise BadRequest("values must be a list of asset ids.", code="UserError")
            return json_response({"values": {one: self._resolved(one, scope) for one in map(str, asked)}})
        except Unauthorized as refusal:
            return json_response(envelope("AuthenticationFailed", str(refusal)), 401, {"WWW-Authenticate": "Bearer"})
        except AzureMlError as error:
            return error_response(error)

    def _resolved(self, asset_id: str, scope: Scope) -> dict[str, str]:
        named = view.output_of_asset(asset_id)
        written = self._azure_ml.jobs.runs.get(scope.id, named[0]).outputs.get(named[1]) if named else None
        if written is None:
            raise NotFound(f"The asset {asset_id} was not found.", code="UserError")
        location = self._azure_ml.locations.blob(written["uri"], scope)
        return {"uri": self._azure_ml.locations.datastore_uri(location, scope) or location.url, "type": written["type"]}

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
            case "GET", "metrics":
                return {"value": view.metrics(run, jobs.measurements)}
            case "PATCH", "":
                return view.history(jobs.runs.change(run, lambda current: _patch(current, body)), scope, tenant)
            case "PATCH", "tags":
                tags = fields.texts({"tags": body}, "tags")
                return view.history(jobs.runs.change(run, lambda current: current.tags.update(tags)), scope, tenant)
            case "POST", "cancel":
                await jobs.engine.cancel(run if run.parent is None else jobs.runs.get(scope.id, run.root))
                return view.history(jobs.runs.get(scope.id, run.name), scope, tenant)
            case "POST", "":  # rundata
                return {"runMetadata": view.history(run, scope, tenant)}
        raise MethodNotAllowed(f"{method} {part or 'run'} is not supported for runs.")


def _action(method: str, part: str) -> str:
    """The action of Azure's role-based access control that a request needs; `rundata` is a POST that only reads."""
    if part == "cancel":
        return f"{PROVIDER}/workspaces/jobs/cancel/action"
    return f"{PROVIDER}/workspaces/experiments/runs/{'read' if method in ('GET', 'POST') else 'write'}"


def _patch(run: Run, body: dict[str, Any]) -> None:
    """Tags are merged, texts and visibility replaced; properties can be added to, never changed."""
    run.tags.update(fields.texts(body, "tags"))
    for name, value in fields.texts(body, "properties").items():
        if run.properties.setdefault(name, value) != value:
            raise BadRequest(f"The property {name} of a run cannot be changed.", code="UserError")
    run.display_name = fields.text(body, "displayName") or run.display_name
    description, hidden = fields.text(body, "description"), body.get("hidden")
    if description is not None:
        run.description = description
    if hidden is not None:
        if not isinstance(hidden, bool):
            raise BadRequest(f"hidden must be true or false, not {hidden!r:.100}.")
        run.hidden = hidden
