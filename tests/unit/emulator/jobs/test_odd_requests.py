"""What a client sends run history and the job resource that no client should; what a kill leaves between two steps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from emulator.azure_ml.jobs.outputs import register
from emulator.azure_ml.resource import PROVIDER
from tests.support.workbench import MemoryStorage, RecordedEvents, Workbench

COMMAND = {"jobType": "Command", "command": "true", "environmentId": "azureml:env:1"}


@pytest.mark.parametrize(("part", "body", "field"), [
    ("", {"tags": [1]}, "tags"), ("", {"tags": {"a": {}}}, "tags.a"), ("", {"properties": "x"}, "properties"),
    ("", {"displayName": {}}, "displayName"), ("", {"description": 3}, "description"), ("", {"hidden": "no"}, "hidden"),
    ("/tags", {"a": []}, "a"),
])  # fmt: skip
async def test_a_change_of_a_run_that_is_none_names_the_field(bench: Workbench, part: str, body: Any, field: str) -> None:
    await bench.submit("odd", COMMAND)
    answer = await bench.http.patch(f"/history/v1.0{bench.scope.id}/runs/odd{part}", json=body)
    assert answer.status_code == 400, answer.text
    assert field in answer.json()["error"]["message"]
    await bench.ended("odd")


@pytest.mark.parametrize("content", [b"[" * 100_000, b"\xff", b"[]"])
async def test_a_body_that_is_no_object_is_refused(bench: Workbench, content: bytes) -> None:
    await bench.submit("odd", COMMAND)
    answer = await bench.http.patch(f"/history/v1.0{bench.scope.id}/runs/odd", content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidRequestContent")
    await bench.ended("odd")


@pytest.mark.parametrize(("field", "asset"), [("codeId", "azureml:env:1"), ("environmentId", "{scope}/data/words/versions/1")])
async def test_an_asset_of_another_kind_is_refused(bench: Workbench, field: str, asset: str) -> None:
    await bench.data("words", b"hello")
    text = asset.format(scope=bench.scope.id) if "{" in asset else f"{bench.scope.id}/environments/env/versions/1"
    answer = await bench.put("odd", COMMAND | {field: text})
    assert answer.status_code == 400, answer.text
    assert text in answer.json()["error"]["message"]


async def test_the_address_of_the_next_page_keeps_the_filter(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.azure_ml.jobs.resource._PAGE", 1)
    for name in ("a", "b"):
        await bench.submit(name, COMMAND | {"tags": {"x&y": "1"}})
        await bench.ended(name)
    url = f"{bench.scope.id}/jobs"
    first = (await bench.http.get(url, params={"tag": "x&y"})).json()
    assert parse_qs(urlsplit(first["nextLink"]).query) == {"tag": ["x&y"], "$skip": ["1"]}
    assert [job["name"] for job in (await bench.http.get(first["nextLink"])).json()["value"]] == ["a"]
    for skip in ("9" * 5000, "-1", "x"):
        assert (await bench.http.get(url, params={"$skip": skip})).status_code == 400


async def test_a_cancelling_that_was_cut_off_ends_after_a_restart(
    tmp_path: Path, storage: MemoryStorage, events: RecordedEvents
) -> None:
    """The operation is taken up before the job's task has taken its first step: the job must end all the same."""
    first = Workbench(tmp_path / "state", storage, events)
    await first.start()
    await first.command("held", "sleep 600")
    await first.until(lambda: first.run("held").status == "Running")
    first.azure_ml.operations._loop = None  # killed before the operation has begun its work
    first.azure_ml.operations.begin(first.jobs.CANCEL, first.run("held").id, {"scope": first.scope.id, "name": "held"})
    await first.stop()
    second = Workbench(tmp_path / "state", storage, events)
    await second.start()
    try:
        assert (await second.ended("held")).status == "Canceled"
    finally:
        await second.stop()


async def test_the_log_is_in_the_store_when_the_run_is_seen_to_have_ended(bench: Workbench, storage: MemoryStorage) -> None:
    seen: list[bool] = []
    known = bench.jobs.runs.set_status

    def spied(run: Any, scope: Any, status: str, *rest: Any) -> Any:
        if status in ("Completed", "Failed", "Canceled"):
            seen.append(any(f"dcid.{run.name}/user_logs" in name for _, _, name in storage.blobs))
        return known(run, scope, status, *rest)

    bench.jobs.runs.set_status = spied  # type: ignore[method-assign]
    for name, text in (("good", "echo hi"), ("bad", "echo no; exit 1")):
        await bench.command(name, text)
        await bench.ended(name)
    assert seen == [True, True]


async def test_operations_that_have_ended_are_not_kept_in_memory(bench: Workbench) -> None:
    await bench.command("done", "true")
    await bench.ended("done")
    answer = await bench.http.post(f"{bench.scope.id}/jobs/done/cancel")
    await bench.until(lambda: not bench.azure_ml.operations._tasks)
    assert not bench.azure_ml.operations._begun_at
    assert (await bench.http.get(answer.headers["Location"])).status_code == 204


async def test_jobs_that_register_one_name_at_once_make_a_version_each(bench: Workbench) -> None:
    output = {"jobOutputType": "mlflow_model", "assetName": "together"}
    for number in range(4):
        await bench.command(f"j{number}", "echo flavors: {} > ${{outputs.m}}/MLmodel", outputs={"m": output})
    runs = [await bench.ended(f"j{number}") for number in range(4)]
    assert [run.error for run in runs] == [None] * 4
    versions = bench.azure_ml.store.children(f"{bench.scope.id}/models/together/versions")
    assert {one["name"]: one["properties"]["jobName"] for one in versions}.keys() == {"1", "2", "3", "4"}
    assert {one["properties"]["jobName"] for one in versions} == {"j0", "j1", "j2", "j3"}


async def test_an_output_that_a_killed_platform_had_registered_is_not_registered_again(bench: Workbench) -> None:
    await bench.command("once", "true", outputs={"o": {"jobOutputType": "uri_folder", "assetName": "kept"}})
    run = await bench.ended("once")
    await register(bench.azure_ml, bench.scope, run, {"name": "kept"}, run.outputs["o"])
    assert [one["name"] for one in bench.azure_ml.store.children(f"{bench.scope.id}/data/kept/versions")] == ["1"]


async def test_what_is_said_of_a_cluster_is_kept(bench: Workbench) -> None:
    url = f"{bench.scope.id}/computes/mine"
    sent = {"location": "westus", "tags": {"team": "tides"}, "identity": {"type": "SystemAssigned"},
            "properties": {"computeType": "AmlCompute"}}  # fmt: skip
    assert (await bench.http.put(url, json=sent)).status_code == 201
    found = (await bench.http.get(url)).json()
    assert {key: found[key] for key in ("location", "tags", "identity")} == {key: sent[key] for key in ("location", "tags", "identity")}
    assert (await bench.http.put(url, json={"tags": {}, "properties": {}})).status_code == 400


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "1e999"])
async def test_a_number_that_is_no_json_is_refused_by_every_service(bench: Workbench, text: str) -> None:
    root = f"/mlflow/v2.0{bench.scope.id}/api/2.0/mlflow"
    run = (await bench.http.post(f"{root}/runs/create", json={})).json()["run"]["info"]["run_id"]
    dataset = f'{{"run_id": "{run}", "datasets": [{{"dataset": {{"x": {text}}}}}]}}'
    for method, url, content in (
        ("POST", f"{root}/runs/log-inputs", dataset), ("PUT", f"{bench.scope.id}/models/odd", f'{{"properties": {{"x": {text}}}}}'),
        ("PATCH", f"/history/v1.0{bench.scope.id}/runs/{run}", f'{{"x": {text}}}'),
    ):  # fmt: skip
        assert (await bench.http.request(method, url, content=content)).status_code == 400, url
    assert (await bench.http.get(f"{root}/runs/get", params={"run_id": run})).status_code == 200


@pytest.mark.parametrize(("path", "body"), [
    ("import", {"properties": {"sourceAssetId": "{scope}/environments/env/versions/1", "destinationName": 1}}),
    ("import", {"properties": {"sourceAssetId": "{scope}/environments/env/versions/1", "destinationVersion": ["1"]}}),
    ("tempdatarefs/a/versions/1", {"assetId": "azureml://registries/shared-registry/!!/a/versions/1"}),
    ("tempdatarefs/a!/versions/1", {"assetId": "azureml://registries/shared-registry/models/a!/versions/1"}),
])  # fmt: skip
async def test_a_registry_refuses_names_that_are_none(bench: Workbench, path: str, body: dict[str, Any]) -> None:
    root = f"/mferp/managementfrontend/subscriptions/s/resourceGroups/g/providers/{PROVIDER}/registries/shared-registry"
    text = json.dumps(body).replace("{scope}", bench.scope.id)
    method = "POST" if path == "import" else "PUT"
    answer = await bench.http.request(method, f"{root}/{path}", content=text)
    assert answer.status_code == 400, answer.text


async def test_operations_are_kept_for_a_day_after_their_end(tmp_path: Path, storage: MemoryStorage, events: RecordedEvents) -> None:
    first = Workbench(tmp_path / "state", storage, events)
    await first.start()
    await first.command("done", "true")
    await first.ended("done")
    old, new = [(await first.http.post(f"{first.scope.id}/jobs/done/cancel")).headers["Azure-AsyncOperation"] for _ in range(2)]
    await first.until(lambda: not first.azure_ml.operations._tasks)
    with first.azure_ml.store.transaction() as connection:
        connection.execute("UPDATE operations SET ended = '2025-12-30T00:00:00+00:00' WHERE id = ?", (_operation(old),))
    await first.stop()
    second = Workbench(tmp_path / "state", storage, events)
    await second.start()
    try:
        assert [(await second.http.get(url)).status_code for url in (old, new)] == [404, 200]
    finally:
        await second.stop()


def _operation(url: str) -> str:
    return urlsplit(url).path.rpartition("/")[2]


async def test_the_stores_that_jobs_write_to_stay_and_one_is_the_default(bench: Workbench) -> None:
    root = f"{bench.scope.id}/datastores"
    for name in ("workspaceblobstore", "WorkspaceArtifactStore"):
        assert (await bench.http.delete(f"{root}/{name}")).status_code == 400
    sent = {"datastoreType": "AzureBlob", "accountName": bench.scope.account, "containerName": "mine", "isDefault": True, "tags": None}
    assert (await bench.http.put(f"{root}/mine", json={"properties": sent})).status_code == 201
    own = (await bench.http.get(f"{root}/workspaceblobstore")).json()
    assert (await bench.http.put(f"{root}/workspaceblobstore", json=own)).status_code == 200
    found = (await bench.http.get(root)).json()["value"]
    assert [one["name"] for one in found if one["properties"]["isDefault"]] == ["workspaceblobstore"]
    assert (await bench.http.get(f"{root}/mine")).json()["properties"]["tags"] == {}
    assert (await bench.http.delete(f"{root}/mine")).status_code == 200
