"""Schedules over HTTP in this process: what is accepted, when runs are made, and that a crash makes none twice."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from emulator.azure_ml.monitoring.runs import Submitter
from tests.support.azure_ml import DEV, PROD, LocalAzureMl, end_of, eventually, running

JOB = {"jobType": "Command", "command": "true", "environmentId": "azureml:env:1", "computeId": "cpu-cluster"}
DAILY = {"triggerType": "Recurrence", "frequency": "Day", "interval": 1, "schedule": {"hours": [6], "minutes": [0]}}
DAY = 86400.0


def action(**job: Any) -> dict[str, Any]:
    return {"actionType": "CreateJob", "jobDefinition": JOB | job}


async def environment(local: LocalAzureMl) -> None:
    await local.put(f"{DEV}/environments/env/versions/1", image="mcr.microsoft.com/azureml/minimal")


@pytest.fixture
async def dev(local: LocalAzureMl) -> LocalAzureMl:
    await environment(local)
    return local


async def schedule(local: LocalAzureMl, name: str = "nightly", **properties: Any) -> dict[str, Any]:
    """Create or change a schedule and wait for its operation; the schedule as it then is."""
    given = {"trigger": DAILY, "action": action(), **properties}
    response = await local.put(f"{DEV}/schedules/{name}", **given)
    assert response.status_code in (200, 201), response.text
    assert (await local.finished(response))["status"] == "Succeeded"
    return dict((await local.http.get(f"{DEV}/schedules/{name}")).json()["properties"])


async def runs(local: LocalAzureMl) -> list[dict[str, Any]]:
    """Oldest first."""
    return list(reversed((await local.http.get(f"{DEV}/jobs")).json()["value"]))


async def run_times(local: LocalAzureMl, count: int) -> list[str]:
    """The times of the scheduled runs, once there are as many and nothing more is due."""
    store, now = local.service.store, local.clock.now().timestamp()

    def settled() -> bool | None:
        waiting = store.query("SELECT 1 FROM schedule_runs WHERE state = 'pending'")
        due = store.query("SELECT 1 FROM schedule_times WHERE next <= ?", (now,))
        return True if not waiting and not due and len(local.service.jobs.runs.roots(DEV)) >= count else None

    await eventually(settled)
    return [run["properties"]["properties"]["azureml.scheduleTime"] for run in await runs(local)]


async def test_it_runs_its_job_at_its_times_and_no_other(dev: LocalAzureMl) -> None:
    made = await schedule(dev, tags={"team": "a"})
    assert made["provisioningState"] == "Succeeded"
    assert (made["isEnabled"], made["trigger"], made["tags"]) == (True, DAILY, {"team": "a"})
    assert await runs(dev) == []
    dev.clock.advance(DAY / 2)
    assert await run_times(dev, 1) == ["2026-01-01T06:00:00Z"]
    dev.clock.advance(DAY)
    assert await run_times(dev, 2) == ["2026-01-01T06:00:00Z", "2026-01-02T06:00:00Z"]
    (first, _) = await runs(dev)
    assert first["properties"]["displayName"] == "nightly-20260101T060000Z"
    assert first["name"].startswith("nightly-20260101T060000Z-")
    assert first["properties"]["properties"]["azureml.scheduleName"] == "nightly"
    assert first["systemData"]["createdBy"] == "Ada Lovelace", "in the name of who made the schedule"


async def test_of_those_missed_only_the_last_runs(dev: LocalAzureMl) -> None:
    await schedule(dev)
    dev.clock.advance(30 * DAY)
    assert await run_times(dev, 1) == ["2026-01-30T06:00:00Z"]
    dev.clock.advance(DAY)
    assert (await run_times(dev, 2))[1] == "2026-01-31T06:00:00Z"


async def test_a_recurrence_without_start_runs_at_once_and_after_its_end_no_more(dev: LocalAzureMl) -> None:
    hourly = {"triggerType": "Recurrence", "frequency": "Hour", "interval": 1, "endTime": "2026-01-01T01:30:00"}
    await schedule(dev, trigger=hourly)
    assert await run_times(dev, 1) == ["2026-01-01T00:00:00Z"]
    dev.clock.advance(3600)
    await run_times(dev, 2)
    dev.clock.advance(DAY)
    await schedule(dev, "other", trigger=hourly | {"endTime": None})
    assert [time[:16] for time in await run_times(dev, 3)] == ["2026-01-01T00:00", "2026-01-01T01:00", "2026-01-02T01:00"]


async def test_a_disabled_schedule_does_not_run_and_is_not_made_up_for(dev: LocalAzureMl) -> None:
    await schedule(dev, isEnabled=False)
    dev.clock.advance(2 * DAY)
    refused = await dev.http.post(f"{DEV}/schedules/nightly/trigger", json={})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "BadRequest")
    await schedule(dev)
    dev.clock.advance(DAY)
    assert await run_times(dev, 1) == ["2026-01-03T06:00:00Z"]
    await schedule(dev, isEnabled=False)
    dev.clock.advance(2 * DAY)
    await schedule(dev, "witness", trigger={"triggerType": "Cron", "expression": "0 * * * *"})
    dev.clock.advance(3600)
    assert len(await run_times(dev, 2)) == 2


async def test_lists_show_the_enabled_unless_asked_otherwise(dev: LocalAzureMl) -> None:
    await schedule(dev, "on")
    await schedule(dev, "off", isEnabled=False)

    async def listed(view: str) -> list[str]:
        return [item["name"] for item in (await dev.http.get(f"{DEV}/schedules{view}")).json()["value"]]

    assert await listed("") == ["on"]
    assert await listed("?listViewType=ScheduleListViewType.ENABLED_ONLY") == ["on"]
    assert await listed("?listViewType=DisabledOnly") == ["off"]
    assert await listed("?listViewType=All") == ["on", "off"]
    assert (await dev.http.get(f"{DEV}/schedules?listViewType=Some")).status_code == 400


async def test_trigger_runs_once_and_leaves_the_times_alone(dev: LocalAzureMl) -> None:
    await schedule(dev)
    answers = [await dev.http.post(f"{DEV}/schedules/nightly/trigger", json={}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    names = [answer.json()["submissionId"] for answer in answers]
    assert answers[0].json()["scheduleActionType"] == "CreateJob"
    assert sorted(run["name"] for run in await runs(dev)) == sorted(names)
    dev.clock.advance(DAY / 2)
    assert (await run_times(dev, 3))[2] == "2026-01-01T06:00:00Z"


async def test_expressions_of_schedules_are_filled_in(dev: LocalAzureMl) -> None:
    inputs = {"when": {"jobInputType": "literal", "value": "${{creation_context.trigger_time}}"},
              "who": {"jobInputType": "literal", "value": "${{name}}"}}  # fmt: skip
    await schedule(dev, action=action(inputs=inputs, command="echo ${{inputs.when}} ${{inputs.who}}"))
    dev.clock.advance(DAY / 2)
    await run_times(dev, 1)
    (run,) = await runs(dev)
    shown = {name: value["value"] for name, value in run["properties"]["inputs"].items()}
    assert shown == {"when": "2026-01-01T06:00:00Z", "who": run["name"]}


async def test_a_job_that_exists_can_be_scheduled(dev: LocalAzureMl) -> None:
    await dev.http.put(f"{DEV}/jobs/once", json={"properties": JOB | {"command": "echo again", "experimentName": "mine"}})
    source = {"jobType": "Pipeline", "sourceJobId": f"{DEV}/jobs/once", "experimentName": ""}
    given = await dev.put(f"{DEV}/schedules/nightly", trigger=DAILY, action={"actionType": "CreateJob", "jobDefinition": source})
    assert given.status_code == 400, "the source is a command, and the definition says pipeline"
    del source["jobType"]
    await schedule(dev, action={"actionType": "CreateJob", "jobDefinition": source})
    dev.clock.advance(DAY / 2)
    await eventually(lambda: dev.service.jobs.runs.roots(DEV)[:-1] or None)
    run = dev.service.jobs.runs.roots(DEV)[0]
    assert (run.spec["command"], run.experiment) == ("echo again", "mine")


async def test_a_job_that_can_no_longer_be_submitted_does_not_stop_its_schedule(dev: LocalAzureMl) -> None:
    await schedule(dev)
    await dev.http.delete(f"{DEV}/environments/env/versions/1")
    dev.clock.advance(DAY / 2)
    await eventually(lambda: dev.service.store.query("SELECT error FROM schedule_runs WHERE state = 'failed'") or None)
    assert await runs(dev) == []
    failed = await dev.http.post(f"{DEV}/schedules/nightly/trigger", json={})
    assert (failed.status_code, failed.json()["error"]["code"]) == (404, "UserError")
    await environment(dev)
    dev.clock.advance(DAY)
    assert await run_times(dev, 1) == ["2026-01-02T06:00:00Z"]


async def test_changing_a_schedule_changes_its_times(dev: LocalAzureMl) -> None:
    await schedule(dev)
    await schedule(dev, trigger=DAILY | {"schedule": {"hours": [4], "minutes": [0]}}, description="earlier")
    dev.clock.advance(DAY / 2)
    assert await run_times(dev, 1) == ["2026-01-01T04:00:00Z"]
    other = await dev.put(f"{DEV}/schedules/nightly", trigger=DAILY, action={"actionType": "CreateMonitor", "monitorDefinition": {}})
    assert other.status_code == 400


async def test_a_deleted_schedule_is_gone_and_its_name_free(dev: LocalAzureMl) -> None:
    await schedule(dev)
    gone = await dev.http.delete(f"{DEV}/schedules/nightly")
    assert gone.status_code == 202
    assert (await dev.finished(gone))["status"] == "Succeeded"
    assert (await dev.http.get(f"{DEV}/schedules/nightly")).status_code == 404
    assert (await dev.http.delete(f"{DEV}/schedules/nightly")).status_code == 204
    await schedule(dev)
    dev.clock.advance(DAY / 2)
    assert len(await run_times(dev, 1)) == 1


async def test_a_schedule_whose_operation_fails_does_not_run(dev: LocalAzureMl) -> None:
    dev.fault = {"code": "QuotaExceeded", "message": "no"}
    response = await dev.put(f"{DEV}/schedules/nightly", trigger=DAILY, action=action())
    assert (await end_of(dev.http, response.headers["Azure-AsyncOperation"]))["status"] == "Failed"
    dev.fault = None
    assert (await dev.http.get(f"{DEV}/schedules/nightly")).json()["properties"]["provisioningState"] == "Failed"
    await schedule(dev, "witness")
    dev.clock.advance(DAY / 2)
    await run_times(dev, 1)
    assert [run["properties"]["properties"]["azureml.scheduleName"] for run in await runs(dev)] == ["witness"]


async def test_an_update_that_failed_and_is_made_again_sets_its_times(dev: LocalAzureMl) -> None:
    await schedule(dev, trigger=DAILY | {"schedule": {"hours": [9], "minutes": [0]}})
    dev.fault = {"code": "QuotaExceeded", "message": "no"}
    response = await dev.put(f"{DEV}/schedules/nightly", trigger=DAILY, action=action())
    assert (await end_of(dev.http, response.headers["Azure-AsyncOperation"]))["status"] == "Failed"
    dev.fault = None
    await schedule(dev)
    dev.clock.advance(7 * 3600)
    assert await run_times(dev, 1) == ["2026-01-01T06:00:00Z"]


async def test_runs_of_long_ago_are_forgotten(dev: LocalAzureMl) -> None:
    await schedule(dev)
    with dev.service.store.transaction() as connection:
        rows = [(f"run{number}",) for number in range(1500)]
        connection.executemany("INSERT INTO schedule_runs (schedule, due, name, state) VALUES ('s', 0, ?, 'submitted')", rows)
    assert (await dev.http.post(f"{DEV}/schedules/nightly/trigger", json={})).status_code == 200
    assert dev.service.store.query("SELECT COUNT(*) FROM schedule_runs") == [(1000,)]


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    (f"{DEV}/schedules/-x", {"trigger": DAILY, "action": action()}, "name"),
    (f"{DEV}/schedules/s", {"action": action()}, "properties.trigger"),
    (f"{DEV}/schedules/s", {"trigger": DAILY}, "properties.action"),
    (f"{DEV}/schedules/s", {"trigger": DAILY, "action": {"actionType": "Dance"}}, "actionType"),
    (f"{DEV}/schedules/s", {"trigger": DAILY, "action": {"actionType": "CreateJob"}}, "jobDefinition"),
    (f"{DEV}/schedules/s", {"trigger": DAILY, "action": action(command="")}, "command"),
    (f"{DEV}/schedules/s", {"trigger": DAILY, "action": action(), "isEnabled": "yes"}, "isEnabled"),
    (f"{DEV}/schedules/s", {"trigger": DAILY | {"interval": []}, "action": action()}, "interval"),
    (f"{DEV}/schedules/s", {"trigger": DAILY, "action": {"actionType": "CreateMonitor", "monitorDefinition": {}}}, "Configuration"),
]


@pytest.mark.parametrize(("path", "properties", "word"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
async def test_what_is_wrong_is_refused_and_named(dev: LocalAzureMl, path: str, properties: dict[str, Any], word: str) -> None:
    response: httpx.Response = await dev.put(path, **properties)
    assert response.status_code == 400
    assert word in response.json()["error"]["message"]


async def test_missed_while_it_was_down(tmp_path: Path) -> None:
    async with running(tmp_path) as local:
        await environment(local)
        await schedule(local)
    later = LocalAzureMl(tmp_path)
    later.clock.advance(10 * DAY)
    await later.service.start()
    try:
        assert await run_times(later, 1) == ["2026-01-10T06:00:00Z"], "the last one that was missed, and only that"
        later.clock.advance(DAY)
        assert len(await run_times(later, 2)) == 2
    finally:
        await later.http.aclose()
        await later.service.stop()


async def test_killed_between_the_decision_and_the_submission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = asyncio.Event()

    async def never(self: Submitter, schedule: Any, name: str, due: datetime) -> None:
        reached.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(Submitter, "submit", never)
        async with running(tmp_path) as local:
            await environment(local)
            await schedule(local)
            local.clock.advance(DAY / 2)
            await asyncio.wait_for(reached.wait(), 10)
    again = LocalAzureMl(tmp_path)
    again.clock.advance(DAY / 2 + 60)
    await again.service.start()
    try:
        assert await run_times(again, 1) == ["2026-01-01T06:00:00Z"]
        again.clock.advance(timedelta(days=1).total_seconds())
        assert await run_times(again, 2) == ["2026-01-01T06:00:00Z", "2026-01-02T06:00:00Z"]
    finally:
        await again.http.aclose()
        await again.service.stop()


async def test_killed_between_the_submission_and_the_note_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached = asyncio.Event()
    submit = Submitter.submit

    async def and_never_more(self: Submitter, schedule: Any, name: str, due: datetime) -> None:
        await submit(self, schedule, name, due)
        reached.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(Submitter, "submit", and_never_more)
        async with running(tmp_path) as local:
            await environment(local)
            await schedule(local)
            local.clock.advance(DAY / 2)
            await asyncio.wait_for(reached.wait(), 10)
            assert len(await runs(local)) == 1
    async with running(tmp_path) as again:
        await eventually(lambda: again.service.store.query("SELECT 1 FROM schedule_runs WHERE state = 'submitted'") or None)
        assert len(await runs(again)) == 1, "the same run, not a second one"


async def test_another_workspace_has_its_own(dev: LocalAzureMl) -> None:
    await schedule(dev)
    assert (await dev.http.get(f"{PROD}/schedules/nightly")).status_code == 404
