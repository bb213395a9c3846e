"""What a schedule submits: its job, through the same door as anybody's, or its monitor's pipeline."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from emulator.azure_ml.errors import AzureMlError, ValidationError
from emulator.azure_ml.jobs.runs import Run
from emulator.azure_ml.jobs.submission import Submission
from emulator.azure_ml.monitoring import definition, pipeline
from emulator.azure_ml.monitoring.firing import display_name
from emulator.azure_ml.resource import ArmRequest, Scope
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import OWNER
from emulator.context import Caller

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

logger = logging.getLogger(__name__)

Json = dict[str, Any]

_TRIGGER_TIME = "${{creation_context.trigger_time}}"
_NAME = "${{name}}"


class Submitter:
    """Runs are made in the name of who made the schedule, as in Azure."""

    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml

    async def submit(self, schedule: Resource, name: str, due: datetime) -> None:
        """Submit the run of one occurrence; again with the same name it changes nothing. Raises `AzureMlError`."""
        scope = self._azure_ml.scopes.of_id(schedule["id"])
        owner = schedule[OWNER]
        if schedule["properties"]["action"]["actionType"] == "CreateMonitor":
            await self._monitor(schedule, scope, name, due)
            return
        caller = Caller(owner["objectId"], owner["name"])
        body = {"properties": self._job(schedule, scope, name, due)}
        response = await self._azure_ml.types["jobs"].put(ArmRequest(scope, ("jobs", name), caller, body=body))
        if response.status_code >= 300:
            raise AzureMlError(bytes(response.body).decode(), status=response.status_code)

    def _job(self, schedule: Resource, scope: Scope, name: str, due: datetime) -> Json:
        """The job's properties, with what tells where it comes from."""
        job = filled(job_definition(self._azure_ml, scope, schedule["properties"]["action"]["jobDefinition"]), name, due)
        origin = {**(job.get("properties") or {}), **_origin(schedule, due)}
        return {**job, "displayName": display_name(schedule, due), "properties": origin}

    async def _monitor(self, schedule: Resource, scope: Scope, name: str, due: datetime) -> None:
        jobs = self._azure_ml.jobs
        try:
            await self._azure_ml.collector.flush()
        except Exception:  # what is stored already is looked at; the rest stays for the next run
            logger.exception("collected data could not be stored before %s", name)
        existing = jobs.runs.find(scope.id, name)
        if existing is None:
            signals = definition.parse(schedule["properties"]["action"]["monitorDefinition"])
            spec = pipeline.specification(signals, Submission(scope, self._azure_ml.locations), due)
            owner = schedule[OWNER]
            existing = jobs.runs.add(
                Run(
                    scope_id=scope.id,
                    name=name,
                    kind="pipeline",
                    spec=spec,
                    created_by={"object_id": owner["objectId"], "name": owner["name"]},
                    created=jobs.runs.now(),
                    experiment=schedule["name"],
                    display_name=display_name(schedule, due),
                    root=name,
                    properties={**_origin(schedule, due), "azureml.modelmonitor.name": schedule["name"]},
                    body={"jobType": "Pipeline", "experimentName": schedule["name"], "jobs": {}, "settings": {}},
                ),
                scope,
            )
        if not existing.terminal:
            jobs.engine.begin(existing)


def job_definition(azure_ml: AzureMl, scope: Scope, body: Any) -> Json:
    """A `jobDefinition`; one that names a `sourceJobId` is that job's, with what is given besides over it."""
    if not isinstance(body, dict):
        raise ValidationError("properties.action.jobDefinition is required.")
    source = body.get("sourceJobId")
    if not source or body.get("jobs"):
        return body
    run = azure_ml.jobs.runs.get(scope.id, str(source).rpartition("/")[2].removeprefix("azureml:"))
    given = {key: value for key, value in body.items() if value not in (None, "", {}, [])}
    return {**run.body, "tags": run.tags, "description": run.description, **given}


def filled(job: Json, name: str, due: datetime) -> Json:
    """A job's properties with the expressions filled in that only schedules know: the run's name and its time."""
    text = json.dumps(job).replace(_TRIGGER_TIME, _time(due)).replace(_NAME, name)
    return dict(json.loads(text))


def _origin(schedule: Resource, due: datetime) -> dict[str, str]:
    return {"azureml.scheduleName": schedule["name"], "azureml.scheduleTime": _time(due)}


def _time(due: datetime) -> str:
    return due.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
