"""The job resource and run history over HTTP."""

from __future__ import annotations

import httpx
import pytest

from emulator.azure_ml.resource import ArmRequest
from tests.support.workbench import ADA, Workbench

COMMAND = {"jobType": "Command", "command": "echo hi", "environmentId": "azureml:env:1", "tags": {"a": "1"}}


@pytest.fixture
async def hello(bench: Workbench) -> str:
    """The history path of a job that has ended."""
    await bench.submit("hello", COMMAND)
    await bench.ended("hello")
    return f"/history/v1.0{bench.scope.id}/runs/hello"


async def test_the_same_job_again_is_the_same_job(bench: Workbench, hello: str) -> None:
    again = await bench.put("hello", COMMAND)
    assert again.status_code == 200
    assert again.json()["properties"]["status"] == "Completed"
    assert len(bench.jobs.runs.roots(bench.scope.id)) == 1
    assert bench.run("hello").attempts == 1


async def test_another_job_of_the_same_name_is_refused(bench: Workbench, hello: str) -> None:
    other = await bench.put("HELLO", COMMAND | {"command": "echo other"})
    assert other.status_code == 400
    assert "existing job's command cannot be changed" in other.json()["error"]["message"]


async def test_a_job_can_be_made_to_fail(bench: Workbench) -> None:
    """What the fault `fail_operation` does to the request that submits a job."""
    request = ArmRequest(
        bench.scope, ("jobs", "doomed"), ADA, body={"properties": COMMAND}, fail={"code": "OutOfCapacity", "message": "No nodes."}
    )
    assert (await bench.azure_ml.types["jobs"].put(request)).status_code == 201
    run = bench.run("doomed")
    assert (run.status, run.attempts) == ("Failed", 0)
    assert run.error == {"code": "OutOfCapacity", "message": "No nodes."}


async def test_tags_and_texts_of_a_job_can_change(bench: Workbench, hello: str) -> None:
    read = (await bench.http.get(f"{bench.scope.id}/jobs/hello")).json()["properties"]
    changed = await bench.put("hello", read | {"tags": {"b": "2"}, "displayName": "Hello"})
    assert changed.status_code == 200, changed.text
    assert changed.json()["properties"]["tags"] == {"b": "2"}
    assert changed.json()["properties"]["displayName"] == "Hello"


async def test_an_unknown_job_is_not_found(bench: Workbench) -> None:
    assert (await bench.http.get(f"{bench.scope.id}/jobs/none")).status_code == 404
    assert (await bench.http.get(f"/history/v1.0{bench.scope.id}/runs/none")).status_code == 404
    assert (await bench.http.post(f"{bench.scope.id}/jobs/none/cancel")).status_code == 404


@pytest.mark.parametrize("name", ["a b", "-a", "a" * 256])
async def test_a_bad_name_is_refused(bench: Workbench, name: str) -> None:
    assert (await bench.put(name, COMMAND)).status_code == 400


async def test_jobs_are_listed_newest_first_in_pages(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.azure_ml.jobs.resource._PAGE", 2)
    for name in ("a", "b", "c"):
        await bench.submit(name, COMMAND)
    for name in ("a", "b", "c"):
        await bench.ended(name)
    first = (await bench.http.get(f"{bench.scope.id}/jobs", params={"listViewType": "ActiveOnly"})).json()
    assert [job["name"] for job in first["value"]] == ["c", "b"]
    rest = (await bench.http.get(first["nextLink"])).json()
    assert [job["name"] for job in rest["value"]] == ["a"]
    assert "nextLink" not in rest


async def test_history_names_the_submitter_by_object_id(bench: Workbench, hello: str) -> None:
    run = (await bench.http.get(hello)).json()
    assert run["createdBy"]["userObjectId"] == ADA.object_id
    assert run["createdBy"]["userName"] == "Ada Lovelace"
    shown = (await bench.http.get(f"{bench.scope.id}/jobs/hello")).json()
    assert shown["systemData"]["createdBy"] == "Ada Lovelace", "ARM has the display name only"


async def test_tags_are_merged_and_properties_stay(bench: Workbench, hello: str) -> None:
    patched = await bench.http.patch(hello, json={"tags": {"b": "2"}, "properties": {"p": "1"}})
    assert patched.json()["tags"] == {"a": "1", "b": "2"}
    refused = await bench.http.patch(hello, json={"properties": {"p": "2"}})
    assert refused.status_code == 400
    by_experiment = hello.replace("/runs/", "/experiments/Default/runs/")
    assert (await bench.http.get(by_experiment)).json()["properties"]["p"] == "1"


async def test_a_breach_tag_set_by_a_running_job_is_in_its_last_event(bench: Workbench) -> None:
    """How a model monitor tells of drift: its evaluator run carries the tag when it ends."""
    gate = bench.azure_ml.context.state / "gate"
    await bench.submit("monitor", COMMAND | {"command": f"until test -e {gate}; do sleep 0.05; done"})
    tags = {"azureml_modelmonitor_threshold_breached": "The signal 'd' has failed due to one or more features violating metric thresholds."}
    await bench.http.patch(f"/history/v1.0{bench.scope.id}/runs/monitor", json={"tags": tags})
    gate.touch()
    await bench.ended("monitor")
    await bench.until(lambda: bool(bench.events.of("RunCompleted", "monitor")))
    last = bench.events.of("RunStatusChanged", "monitor")[-1]
    assert last["runStatus"] == "completed"
    assert last["runTags"]["azureml_modelmonitor_threshold_breached"] == tags["azureml_modelmonitor_threshold_breached"]


async def test_a_log_is_read_with_its_signature_only(bench: Workbench, hello: str) -> None:
    files = (await bench.http.get(f"{hello}/details")).json()["logFiles"]
    address = httpx.URL(files["user_logs/std_log.txt"])
    anonymous = {"authorization": ""}
    assert (await bench.http.get(address, headers=anonymous)).text == "hi\n"
    forged = address.copy_set_param("sig", "0" * 64)
    assert (await bench.http.get(forged, headers=anonymous)).status_code == 403
    elsewhere = str(address).replace("user_logs/std_log.txt", "../../log.key")
    assert (await bench.http.get(elsewhere, headers=anonymous)).status_code == 403


async def test_history_needs_a_token(bench: Workbench, hello: str) -> None:
    del bench.http.headers["authorization"]
    assert (await bench.http.get(hello)).status_code == 401


async def test_steps_are_read_from_history_not_from_arm(bench: Workbench) -> None:
    await bench.command_component("hi", "echo hi")
    await bench.pipeline("p", {"a": {"componentId": "hi:1"}})
    await bench.ended("p")
    children = (await bench.http.get(f"/history/v1.0{bench.scope.id}/runs/p/children")).json()["value"]
    assert [(child["displayName"], child["parentRunId"], child["status"]) for child in children] == [("a", "p", "Completed")]
    step = (await bench.http.get(f"{bench.scope.id}/jobs/{children[0]['runId']}")).json()
    assert step["properties"] is None
    assert [job["name"] for job in (await bench.http.get(f"{bench.scope.id}/jobs")).json()["value"]] == ["p"]


async def test_a_component_is_checked_when_it_is_registered(bench: Workbench) -> None:
    async def put(name: str, spec: dict[str, object]) -> httpx.Response:
        body = {"properties": {"componentSpec": {"type": "command", "environment": "azureml:env:1", **spec}}}
        return await bench.http.put(f"{bench.scope.id}/components/{name}/versions/1", json=body)

    assert (await put("good", {"command": "echo"})).status_code == 201
    assert (await put("good", {"command": "echo"})).status_code == 200
    assert (await put("good", {"command": "echo other"})).status_code == 409
    for name, spec, message in (
        ("with-hyphen", {"command": "echo"}, "should only contain"),
        ("unknown", {"command": "echo ${{inputs.x}}"}, "refers to x"),
        ("homeless", {"command": "echo", "environment": "azureml:none:1"}, "none:1"),
        ("sweep", {"type": "sweep"}, "sweep"),
    ):
        refused = await put(name, spec)
        assert refused.status_code in (400, 404), refused.text
        assert message in refused.json()["error"]["message"]
