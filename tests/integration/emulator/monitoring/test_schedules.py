"""Job schedules through the unmodified SDK."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import wait_for

if TYPE_CHECKING:
    from azure.ai.ml.entities import JobSchedule, PipelineJob

pytestmark = pytest.mark.xdist_group("monitors")


@pytest.fixture
def pipeline(sdk: Sdk, name: str) -> PipelineJob:
    """A pipeline of one step that says when it was scheduled."""
    from azure.ai.ml import Input, dsl
    from azure.ai.ml.entities import CommandComponent, Environment

    environment = sdk.dev.environments.create_or_update(Environment(name=name, version="1", image="mcr.microsoft.com/azureml/minimal"))
    component = sdk.dev.components.create_or_update(
        CommandComponent(
            name=name,
            version="1",
            command="echo due ${{inputs.when}}",
            environment=str(environment.id),
            inputs={"when": Input(type="string")},
        )
    )

    def made(when: str) -> None:
        component(when=when)

    made.__annotations__ = {"when": str}  # the SDK cannot read the text that annotations are here
    return dsl.pipeline(name=name, default_compute="cpu-cluster")(made)(when="${{creation_context.trigger_time}}")


@pytest.fixture
def nightly(sdk: Sdk, name: str, pipeline: PipelineJob) -> Iterator[JobSchedule]:
    from azure.ai.ml.entities import JobSchedule, RecurrencePattern, RecurrenceTrigger

    trigger = RecurrenceTrigger(
        frequency="day", interval=1, schedule=RecurrencePattern(hours=[2], minutes=[30]), time_zone="W. Europe Standard Time"
    )
    yield sdk.dev.schedules.begin_create_or_update(JobSchedule(name=name, trigger=trigger, create_job=pipeline)).result()
    sdk.dev.schedules.begin_delete(name).result()
    with pytest.raises(ResourceNotFoundError):
        sdk.dev.schedules.get(name)


def jobs(sdk: Sdk, name: str) -> list[Any]:
    return [job for job in sdk.dev.jobs.list() if (job.properties or {}).get("azureml.scheduleName") == name]


def test_the_life_of_a_job_schedule(sdk: Sdk, name: str, nightly: JobSchedule) -> None:
    from azure.ai.ml.entities import CronTrigger

    schedules = sdk.dev.schedules
    assert nightly.provisioning_state == "Succeeded"
    found = schedules.get(name)
    assert (found.is_enabled, found.trigger.time_zone, found.trigger.schedule.hours) == (True, "W. Europe Standard Time", [2])
    assert found.creation_context.created_by == "Ada Lovelace"
    assert name in [schedule.name for schedule in schedules.list()]

    sdk.platform.advance("PT24H")
    (job,) = wait_for("the scheduled job", lambda: jobs(sdk, name) or None)
    assert job.display_name in (f"{name}-{job.properties['azureml.scheduleTime'].translate({45: None, 58: None})}",)
    assert job.properties["azureml.scheduleTime"][11:16] in ("00:30", "01:30"), "half past two in Berlin"

    disabled = schedules.begin_disable(name).result()
    assert disabled.is_enabled is False
    assert name not in [schedule.name for schedule in schedules.list()]
    with pytest.raises(HttpResponseError, match="disabled"):
        schedules.trigger(name)
    assert schedules.begin_enable(name).result().is_enabled is True

    triggered = schedules.trigger(name)
    assert triggered.schedule_action_type == "CreateJob"
    assert sorted(found.name for found in jobs(sdk, name)) == sorted([job.name, triggered.job_name])
    ended = wait_for("its end", lambda: found if (found := sdk.dev.jobs.get(triggered.job_name)).status == "Completed" else None)
    assert ended.inputs["when"]._data == ended.properties["azureml.scheduleTime"]

    changed = schedules.get(name)
    changed.trigger = CronTrigger(expression="0 0 * * 1")
    assert schedules.begin_create_or_update(changed).result().trigger.expression == "0 0 * * 1"


@pytest.mark.exhaustive
def test_a_schedule_of_a_job_that_has_run(sdk: Sdk, name: str, pipeline: PipelineJob) -> None:
    from azure.ai.ml.entities import JobSchedule, RecurrenceTrigger

    pipeline.inputs["when"]._data = "once"
    source = sdk.dev.jobs.create_or_update(pipeline)
    trigger = RecurrenceTrigger(frequency="week", interval=1, start_time="2099-01-01T00:00:00")
    sdk.dev.schedules.begin_create_or_update(JobSchedule(name=name, trigger=trigger, create_job=str(source.id))).result()
    job = sdk.dev.jobs.get(sdk.dev.schedules.trigger(name).job_name)
    assert list(job.jobs) == list(source.jobs)
    assert job.name != source.name
    sdk.dev.schedules.begin_delete(name).result()
