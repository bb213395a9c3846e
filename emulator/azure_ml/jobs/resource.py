"""The ARM resource type `jobs`: submit, read, list, change what may change, cancel."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import Response

from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.errors import BadRequest, ValidationError
from emulator.azure_ml.jobs import view
from emulator.azure_ml.jobs.definitions import InvalidJob
from emulator.azure_ml.jobs.runs import TRACKED, Run
from emulator.azure_ml.jobs.shapes import check_job
from emulator.azure_ml.jobs.submission import Submission
from emulator.azure_ml.listing import selected
from emulator.azure_ml.resource import ArmRequest, Unsupported, json_response

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{0,254}$")
_MUTABLE = frozenset({"tags", "description", "displayName", "isArchived"})
_IGNORED = frozenset({"status", "services", "properties", "experimentName", "outputs", "inputs", "settings"})
"""Not compared when a job is sent again as it was read: the service filled these in."""
_PAGE = 100
_SKIP = re.compile(r"[0-9]{1,9}")


class Jobs(Unsupported):
    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml

    async def put(self, request: ArmRequest) -> Response:
        """Submit a job. The same request again answers the job there is; only its tags and texts can change."""
        if request.scope.is_registry:
            raise ValidationError("Jobs run in workspaces.")
        if not _NAME.match(request.name):
            raise ValidationError(f"The job name {request.name!r} is invalid: it may have letters, digits, '-' and '_'.")
        jobs = self._azure_ml.jobs
        body = request.properties
        check_job(body)
        existing = jobs.runs.find(request.scope.id, request.name)
        if existing is not None:
            return json_response(self._shown(self._changed(existing, body), request))
        spec, values = Submission(request.scope, self._azure_ml.locations).job(body)
        run = Run(
            scope_id=request.scope.id,
            name=request.name,
            kind=spec["kind"],
            spec={**spec, "values": values},
            created_by={"object_id": request.caller.object_id, "name": request.caller.name},
            created=jobs.runs.now(),
            experiment=str(body.get("experimentName") or "Default"),
            display_name=str(body.get("displayName") or request.name),
            root=request.name,
            tags=fields.texts(body, "tags"),
            properties=fields.texts(body, "properties"),
            description=body.get("description"),
            hidden=bool(body.get("isArchived")),
            body={key: value for key, value in body.items() if key not in ("tags", "properties", "description")},
        )
        with self._azure_ml.store.transaction():
            run = jobs.runs.add(run, request.scope)
            if request.fail is not None:  # a fault: the job is accepted, and fails
                error = {"code": str(request.fail.get("code") or "ServiceError"), "message": str(request.fail.get("message") or "")}
                run = jobs.runs.set_status(run, request.scope, "Failed", error)
        if not run.terminal:
            jobs.engine.begin(run)
        return json_response(self._shown(run, request), status=201)

    async def get(self, request: ArmRequest) -> Response:
        return json_response(self._shown(self._azure_ml.jobs.runs.get(request.scope.id, request.name), request))

    async def list(self, request: ArmRequest) -> Response:
        """Root jobs, newest first; `$skip` pages, `jobType`, `tag`, `listViewType` filter."""
        query = dict(request.query)
        kind, tag = query.get("jobType", "").lower(), query.get("tag")
        found = [
            run
            for run in self._azure_ml.jobs.runs.roots(request.scope.id)
            if run.kind != TRACKED
            and (not kind or run.kind == kind)
            and (not tag or tag in run.tags)
            and selected({"isArchived": run.hidden}, {"listViewType": query.get("listViewType", "ActiveOnly")})
        ]
        if not _SKIP.fullmatch(asked := query.get("$skip") or "0"):
            raise BadRequest(f"$skip must be a whole number of nine digits at most, not {asked:.100}.")
        skip = int(asked)
        body: dict[str, Any] = {"value": [self._shown(run, request) for run in found[skip : skip + _PAGE]]}
        if len(found) > skip + _PAGE:
            following = urlencode({**query, "$skip": skip + _PAGE}, safe="$")
            body["nextLink"] = f"{self._azure_ml.context.base_url}{request.id}?{following}"
        return json_response(body)

    async def post(self, request: ArmRequest) -> Response:
        if request.action != "cancel":
            return await super().post(request)
        jobs = self._azure_ml.jobs
        run = jobs.runs.get(request.scope.id, request.name)
        if run.parent is not None:
            raise InvalidJob(f"{run.name} is a step of {run.root}: cancel that.")
        operation = self._azure_ml.operations.begin(
            jobs.CANCEL, run.id, {"scope": run.scope_id, "name": run.name}, request.fail
        )
        return Response(status_code=202, headers=self._azure_ml.operations.response_headers(operation))

    def _changed(self, run: Run, body: dict[str, Any]) -> Run:
        """A job sent again: its texts and tags are taken over, anything else must be as it was."""
        if run.parent is not None:
            raise InvalidJob(f"{run.name} is a step of {run.root} and can't be changed.")
        for key, value in body.items():
            if key in _MUTABLE or value == run.body.get(key):
                continue
            if key in _IGNORED and (not value or _same_again(key, value, run)):
                continue
            raise InvalidJob(
                "A job with this name already exists. If you are trying to submit a new job, use a different name."
                f" If you are trying to update an existing job, the existing job's {key} cannot be changed."
                " Only description, tags, displayName, properties, and isArchived can be updated."
            )

        def change(current: Run) -> None:
            if "tags" in body:
                current.tags = fields.texts(body, "tags")
            if "description" in body:
                current.description = body["description"]
            if body.get("displayName"):
                current.display_name = body["displayName"]
            if "isArchived" in body:
                current.hidden = bool(body["isArchived"])
            current.properties.update(fields.texts(body, "properties"))

        return self._azure_ml.jobs.runs.change(run, change)

    def _shown(self, run: Run, request: ArmRequest) -> dict[str, Any]:
        return view.arm(run, request.scope, self._azure_ml.context.base_url)


def _same_again(key: str, value: Any, run: Run) -> bool:
    """Whether a property is what a client reads back, rather than what was first sent."""
    match key:
        case "inputs":
            return bool(value == view.inputs(run))
        case "outputs":
            return bool(value == view.outputs(run))
        case "properties":  # they can be added to, never changed
            return all(run.properties.get(name, text) == text for name, text in fields.texts({key: value}, key).items())
        case "experimentName":
            return bool(value == run.experiment)
        case _:
            return key in ("status", "services")
