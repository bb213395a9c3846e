"""The ARM resource type `schedules`: jobs and model monitors that run at given times.

PUT, GET, list, DELETE as long-running operations like other resources; POST `trigger` runs an enabled
schedule once. A disabled schedule keeps its definition and does not run; what it would have run in the
meantime is not caught up when it is enabled again.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from emulator.azure_ml.errors import BadRequest, ValidationError
from emulator.azure_ml.jobs.submission import Submission
from emulator.azure_ml.monitoring import definition, pipeline, triggers
from emulator.azure_ml.monitoring.firing import CREATED, Firing
from emulator.azure_ml.monitoring.runs import Submitter, filled, job_definition
from emulator.azure_ml.provisioning import Provisioned
from emulator.azure_ml.resource import PROVIDER, ArmRequest, ResourceType, json_response
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

_NAME = re.compile(r"^[a-zA-Z0-9][a-zA-Z0-9\-_]{0,254}$")
_VIEWS = {"enabledonly": (True,), "disabledonly": (False,), "all": (True, False)}


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    return {"schedules": Schedules(azure_ml)}


async def start(azure_ml: AzureMl) -> None:
    """After the jobs: what was missed while the platform was down is caught up now."""
    await _schedules(azure_ml).firing.start()


async def stop(azure_ml: AzureMl) -> None:
    await _schedules(azure_ml).firing.stop()
    await azure_ml.collector.stop()


def _schedules(azure_ml: AzureMl) -> Schedules:
    found = azure_ml.types["schedules"]
    assert isinstance(found, Schedules)
    return found


class Schedules(Provisioned):
    """After an operation that failed a schedule stays as it was asked for; one that never succeeded does not run."""

    TYPE = f"{PROVIDER}/workspaces/schedules"
    NOUN = "schedule"
    PUT, DELETE = "schedule.put", "schedule.delete"

    def __init__(self, azure_ml: AzureMl) -> None:
        super().__init__(azure_ml)
        self._clock = azure_ml.context.clock
        self.firing = Firing(azure_ml.store, azure_ml.context.clock, Submitter(azure_ml).submit)

    async def list(self, request: ArmRequest) -> Response:
        """The enabled ones, unless `listViewType` says `DisabledOnly` or `All`."""
        # On Python 3.13 the SDK may send the member's repr: `ScheduleListViewType.ENABLED_ONLY`.
        asked = request.query.get("listViewType", "EnabledOnly").rpartition(".")[2].replace("_", "").lower()
        if asked not in _VIEWS:
            raise BadRequest(f"listViewType must be EnabledOnly, DisabledOnly or All, not {asked!r}.")
        found = [item for item in self._store.children(request.id) if item["properties"]["isEnabled"] in _VIEWS[asked]]
        return json_response({"value": [shown(item) for item in found]})

    async def put(self, request: ArmRequest) -> Response:
        """Begin to create or change a schedule; everything that can be wrong with it is said here."""
        if request.scope.is_registry:
            raise ValidationError("Schedules run in workspaces.")
        if not _NAME.fullmatch(request.name):
            raise ValidationError(
                f"The schedule name {request.name!r} is invalid: letters, digits, '-' and '_', starting with a letter or digit."
            )
        now = self._clock.now()
        with self._store.transaction():
            self._refuse_overlap(request)
            old = self._store.get(request.id)
            resource = self._resource(request, old, now)
            # After an update that failed, the times that are armed are not those that the resource names.
            kept = old is not None and old["properties"]["provisioningState"] == "Succeeded" and _times(old) == _times(resource)
            begun = self._begun(request, resource, old, {"new": old is None, "same_times": kept})
        return self._answer(shown(resource), begun)

    async def post(self, request: ArmRequest) -> Response:
        """`trigger`: run it once, now; answers the name of the run.

        The caller's `scheduleTime` is in real time, so it is moved by as much as the platform's clock is ahead.
        """
        if request.action != "trigger":
            return await super().post(request)
        schedule = self._existing(request)
        if not schedule["properties"]["isEnabled"]:
            raise BadRequest(f"The schedule {schedule['name']} is disabled: enable it before it is triggered.")
        asked = triggers.moment(request.body.get("scheduleTime"), triggers.zone("UTC"), "scheduleTime")
        due = self._clock.now()
        if asked is not None:
            due = min(due, asked + (due - datetime.now(UTC)))
        name = await self.firing.fire_now(schedule, due)
        return json_response({"scheduleActionType": schedule["properties"]["action"]["actionType"], "submissionId": name})

    async def _provision(self, payload: dict[str, Any]) -> Resource:
        with self._store.transaction():
            self._wanted(payload)
            schedule = self._store.change(
                payload["id"], lambda found: found["properties"].update(provisioningState="Succeeded")
            )
            if not schedule["properties"]["isEnabled"]:
                self.firing.disarm(schedule["id"])
            elif not payload["same_times"] or self.firing.next_of(schedule["id"]) is None:
                self.firing.arm(schedule, new=payload["new"])
        return shown(schedule)

    async def _delete(self, payload: dict[str, Any]) -> None:
        with self._store.transaction():
            self.firing.forget(payload["id"])
            self._store.delete(payload["id"])

    def _resource(self, request: ArmRequest, old: Resource | None, now: datetime) -> Resource:
        given = request.properties
        action = given.get("action")
        if not isinstance(action, dict):
            raise ValidationError("properties.action is required.")
        created = old[CREATED] if old is not None else now.isoformat()
        triggers.parse(given.get("trigger"), datetime.fromisoformat(created))
        enabled = given.get("isEnabled")
        if enabled is not None and not isinstance(enabled, bool):
            raise ValidationError(f"properties.isEnabled must be true or false, not {enabled!r}.")
        properties = {
            "description": given.get("description"),
            "displayName": given.get("displayName"),
            "tags": given.get("tags") or {},
            "properties": given.get("properties") or {},
            "isEnabled": enabled is not False,
            "trigger": given["trigger"],
            "action": self._action(action, request),
            "provisioningState": "Creating" if old is None else "Updating",
        }
        if old is not None and old["properties"]["action"]["actionType"] != properties["action"]["actionType"]:
            raise ValidationError("properties.action.actionType of a schedule can't be changed.")
        return {"id": request.id, "name": request.name, "type": self.TYPE, "properties": properties, CREATED: created}

    def _action(self, action: dict[str, Any], request: ArmRequest) -> dict[str, Any]:
        """The action, checked as far as what it names exists now."""
        submission = Submission(request.scope, self._azure_ml.locations)
        match str(action.get("actionType", "")).lower():
            case "createjob":
                wanted = job_definition(self._azure_ml, request.scope, action.get("jobDefinition"))
                submission.job(filled(wanted, request.name, self._clock.now()))
                return {"actionType": "CreateJob", "jobDefinition": wanted}
            case "createmonitor":
                signals = definition.parse(action.get("monitorDefinition"))
                pipeline.specification(signals, submission, self._clock.now())
                return {"actionType": "CreateMonitor", "monitorDefinition": action["monitorDefinition"]}
        raise ValidationError(f"properties.action.actionType must be CreateJob or CreateMonitor, not {action.get('actionType')!r}.")


def _times(schedule: Resource) -> tuple[Any, Any]:
    return schedule["properties"]["trigger"], schedule["properties"]["isEnabled"]
