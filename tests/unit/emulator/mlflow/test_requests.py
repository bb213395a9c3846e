"""The MLflow API over ASGI: who may ask, what is refused, what survives."""

from __future__ import annotations

import base64
import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.workbench import MemoryStorage, RecordedEvents, Workbench


class Tracking:
    """Short words for calls."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench
        self.root = f"/mlflow/v2.0{bench.scope.id}/api/2.0"

    async def __call__(self, method: str, path: str, expected: int = 200, /, **fields: Any) -> dict[str, Any]:
        sent = {"params": fields} if method == "GET" else {"json": fields}
        answer = await self._bench.http.request(method, f"{self.root}/mlflow/{path}", **sent)
        assert answer.status_code == expected, answer.text
        body: dict[str, Any] = answer.json()
        return body

    async def run(self, **fields: Any) -> str:
        return str((await self("POST", "runs/create", **fields))["run"]["info"]["run_id"])


@pytest.fixture
def call(bench: Workbench) -> Tracking:
    return Tracking(bench)


async def test_every_call_needs_a_token(bench: Workbench, call: Tracking) -> None:
    del bench.http.headers["authorization"]
    for path in ("runs/search", "nothing"):
        refused = await call("POST", path, 401)
        assert refused["error_code"] == "UNAUTHENTICATED"
    assert (await bench.http.get(f"{call.root}/mlflow-artifacts/artifacts/ExperimentRun/dcid.x/y")).status_code == 401


async def test_a_jobs_token_is_good_in_its_workspace_while_the_job_runs(bench: Workbench) -> None:
    gate, out = bench.azure_ml.context.state / "gate", bench.azure_ml.context.state / "token"
    await bench.command("job", f"printenv MLFLOW_TRACKING_TOKEN > {out}.new; mv {out}.new {out}; until test -e {gate}; do sleep 0.05; done")
    await bench.until(out.exists)
    token = out.read_text().strip()
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["runId"] == "job"

    async def status(workspace: str, sent: str, **headers: str) -> int:
        scope = bench.azure_ml.scopes.workspace(workspace)
        url = f"/mlflow/v2.0{scope.id}/api/2.0/mlflow/runs/get"
        return (await bench.http.get(url, params={"run_id": "job"}, headers={"authorization": f"Bearer {sent}"})).status_code

    assert await status("mlw-dev", token) == 200
    assert await status("mlw-prod", token) == 401
    gate.touch()
    await bench.ended("job")
    assert await status("mlw-dev", token) == 401
    forged = token.rpartition(".")[0] + "." + "A" * 43
    bench.azure_ml.context.identity.caller = refuse  # type: ignore[method-assign]
    assert await status("mlw-dev", forged) == 401


def refuse(authorization: str | None) -> Any:
    from emulator.context import Unauthorized

    raise Unauthorized("not a token of this platform")


async def test_a_clients_run_emits_events_and_can_be_taken_up_again(bench: Workbench, call: Tracking, events: RecordedEvents) -> None:
    run = await call.run(run_name="mine", start_time=1000)
    await call("POST", "runs/update", run_id=run, status="FINISHED", end_time=5000)
    await bench.until(lambda: bool(events.of("RunCompleted", run)))
    info = (await call("GET", "runs/get", run_id=run))["run"]["info"]
    assert (info["status"], info["start_time"], info["end_time"], info["run_name"]) == ("FINISHED", 1000, 5000, "mine")
    again = (await call("POST", "runs/update", run_id=run, status="RUNNING"))["run_info"]
    assert again["status"] == "RUNNING"
    assert "end_time" not in again


async def test_a_job_is_not_ended_by_a_client_in_it(bench: Workbench, call: Tracking) -> None:
    gate = bench.azure_ml.context.state / "gate"
    await bench.command("job", f"until test -e {gate}; do sleep 0.05; done")
    await bench.until(lambda: bench.run("job").status == "Running")
    assert (await call("POST", "runs/update", run_id="job", status="KILLED"))["run_info"]["status"] == "RUNNING"
    gate.touch()
    assert (await bench.ended("job")).status == "Completed"


async def test_a_batch_is_written_whole_or_not_at_all(call: Tracking) -> None:
    run = await call.run()
    await call("POST", "runs/log-parameter", run_id=run, key="p", value="1")
    metrics = [{"key": "m", "value": 1, "timestamp": 1, "step": 0}]
    refused = await call(
        "POST", "runs/log-batch", 400, run_id=run, metrics=metrics, params=[{"key": "p", "value": "2"}], tags=[{"key": "t", "value": "x"}]
    )
    assert refused["error_code"] == "INVALID_PARAMETER_VALUE"
    data = (await call("GET", "runs/get", run_id=run))["run"]["data"]
    assert data["metrics"] == []
    assert data["params"] == [{"key": "p", "value": "1"}]
    assert "t" not in [tag["key"] for tag in data["tags"]]


async def test_the_latest_metric_is_of_the_greatest_step_and_a_repeated_request_changes_nothing(call: Tracking) -> None:
    run = await call.run()
    values = [(3, 5.0), (1, 9.0), (3, 7.0), (2, "NaN"), (3, "-Infinity")]
    metrics = [{"key": "m", "value": value, "timestamp": 10, "step": step} for step, value in values]
    for _ in range(2):
        await call("POST", "runs/log-batch", run_id=run, metrics=metrics)
    [latest] = (await call("GET", "runs/get", run_id=run))["run"]["data"]["metrics"]
    assert (latest["step"], latest["value"]) == (3, 7.0)
    pages, token = [], ""
    while True:
        following = {"page_token": token} if token else {}
        page = await call("GET", "metrics/get-history", run_id=run, metric_key="m", max_results=2, **following)
        pages.append([metric["value"] for metric in page["metrics"]])
        if not (token := page.get("next_page_token", "")):
            break
    assert pages == [[9.0, "NaN"], [5.0, 7.0], ["-Infinity"]]


async def test_what_was_acknowledged_is_there_after_a_restart(tmp_path: Path, storage: MemoryStorage, events: RecordedEvents) -> None:
    first = Workbench(tmp_path / "state", storage, events)
    await first.start()
    call = Tracking(first)
    experiment = (await call("POST", "experiments/create", name="kept", tags=[{"key": "a", "value": "b"}]))["experiment_id"]
    run = await call.run(experiment_id=experiment)
    await call("POST", "runs/log-metric", run_id=run, key="m", value=1.5, timestamp=3)
    await call("POST", "registered-models/create", name="kept")
    await call("POST", "model-versions/create", name="kept", source=f"runs:/{run}/model", run_id=run)
    await call("POST", "registered-models/alias", name="kept", alias="best", version="1")
    await first.stop()
    second = Workbench(tmp_path / "state", storage, events)
    await second.start()
    try:
        call = Tracking(second)
        [found] = (await call("POST", "runs/search", experiment_ids=[experiment], filter="metrics.m > 1"))["runs"]
        assert (found["info"]["run_id"], found["info"]["status"]) == (run, "RUNNING")
        assert (await call("GET", "experiments/get-by-name", experiment_name="kept"))["experiment"]["tags"] == [{"key": "a", "value": "b"}]
        version = (await call("GET", "registered-models/alias", name="kept", alias="best"))["model_version"]
        assert (version["version"], version["run_id"]) == ("1", run)
    finally:
        await second.stop()


async def test_experiments_of_runs_from_before_there_was_a_table_are_found(
    tmp_path: Path, storage: MemoryStorage, events: RecordedEvents
) -> None:
    first = Workbench(tmp_path / "state", storage, events)
    await first.start()
    await first.command("old", "true", experimentName="old-times")
    await first.ended("old")
    with first.azure_ml.store.transaction() as connection:
        connection.execute("DROP TABLE experiments")
    await first.stop()
    second = Workbench(tmp_path / "state", storage, events)
    await second.start()
    try:
        found = await Tracking(second)("GET", "experiments/get-by-name", experiment_name="old-times")
        runs = await Tracking(second)("POST", "runs/search", experiment_ids=[found["experiment"]["experiment_id"]])
        assert [run["info"]["run_id"] for run in runs["runs"]] == ["old"]
    finally:
        await second.stop()


async def test_a_registered_version_is_an_event_and_keeps_its_lineage(bench: Workbench, call: Tracking) -> None:
    run = await call.run()
    await call("POST", "registered-models/create", name="m")
    await call("POST", "model-versions/create", name="m", source=f"mlflow-artifacts:/ExperimentRun/dcid.{run}/model", run_id=run,
               tags=[{"key": "candidate", "value": "true"}])  # fmt: skip
    await bench.until(lambda: any(event["eventType"].endswith("ModelRegistered") for event in bench.events.published))
    [event] = [event for event in bench.events.published if event["eventType"].endswith("ModelRegistered")]
    assert event["data"]["ModelTags"] == {"candidate": "true"}
    arm = (await bench.http.get(f"{bench.scope.id}/models/m/versions/1")).json()
    assert (arm["properties"]["jobName"], arm["properties"]["modelType"]) == (run, "mlflow_model")
    assert arm["properties"]["modelUri"].endswith(f"ExperimentRun/dcid.{run}/model")
    arm["properties"]["tags"]["later"] = "yes"
    assert (await bench.http.put(f"{bench.scope.id}/models/m/versions/1", json=arm)).status_code == 200
    found = (await call("GET", "model-versions/get", name="m", version="1"))["model_version"]
    assert {tag["key"] for tag in found["tags"]} == {"candidate", "later"}
    assert found["run_id"] == run


NOWHERE = ["file:///etc/passwd", "dbfs:/x", "mlflow-artifacts:/Models/none/1", "models:/none/1", "models:/m-1", "runs:/gone/m", ""]


@pytest.mark.parametrize("source", NOWHERE)
async def test_a_source_that_is_nowhere_is_refused(call: Tracking, source: str) -> None:
    await call("POST", "registered-models/create", name="m")
    answer = await call("POST", "model-versions/create", 404 if source.startswith(("models", "mlflow")) else 400, name="m", source=source)
    assert answer["error_code"] in ("INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST")


@pytest.mark.parametrize("path", [
    "ExperimentRun/dcid.none/a", "ExperimentRun/../log.key", "other/a", "Models/m/1/a", "ExperimentRun/dcid.{run}/../../x",
    "ExperimentRun/dcid.{run}", "LoggedModels/m-1/a",
])  # fmt: skip
async def test_artifacts_are_written_where_they_belong_only(bench: Workbench, call: Tracking, path: str) -> None:
    run = await call.run()
    path = path.format(run=run).replace("..", "%2e%2e")
    answer = await bench.http.put(f"{call.root}/mlflow-artifacts/artifacts/{path}", content=b"x")
    assert answer.status_code in (400, 404), answer.text
    assert answer.json()["error_code"]
    assert not bench.storage.blobs


BAD = [None, "", 0, -1, 1.5, True, "x" * 9000, [], [1], [{}], [{"key": 1}], {}, {"a": []}, "\0", "../..", "NaN", 2**70,
       "2147483648000000000000", [[]], "ÿ", [{"key": "k", "value": {}}]]  # fmt: skip


async def test_bad_requests_are_refused_by_name_and_never_break(bench: Workbench, call: Tracking) -> None:
    from emulator.azure_ml.mlflow.api import Api

    chance = random.Random(11)
    run = await call.run()
    await call("POST", "registered-models/create", name="m")
    await call("POST", "model-versions/create", name="m", source=f"runs:/{run}/model")
    model = (await call("POST", "logged-models", name="l", source_run_id=run))["model"]["info"]["model_id"]
    good = {"run_id": run, "name": "m", "version": "1", "experiment_id": "0", "experiment_ids": ["0"], "key": "k", "value": 1}
    names = [*good, "filter", "order_by", "max_results", "page_token", "metrics", "params", "tags", "status", "stage", "source", "alias",
             "path", "timestamp", "metric_key", "run_view_type", "view_type", "models", "datasets", "model_json",
             "start_time", "end_time", "step", "new_name",
             "archive_existing_versions", "experiment_name", "stages", "description"]  # fmt: skip
    table = sorted(Api(bench.azure_ml)._table)
    tried = 0
    for operation in table:
        method, _, path = operation.partition(" ")
        for _ in range(8):
            fields = {**good, **{name: chance.choice(BAD) for name in chance.sample(names, chance.randint(1, 4))}}
            url = f"{call.root}/mlflow/{path.replace('*', model, 1).replace('*', 'k')}"
            if method == "GET":
                query = {name: value for name, value in fields.items() if isinstance(value, str | int | float)}
                answer = await bench.http.get(url, params=query)
            else:
                answer = await bench.http.request(method, url, json=fields)
            tried += 1
            assert answer.status_code in (200, 400, 404), (operation, fields, answer.text)
            if answer.status_code != 200:
                body = answer.json()
                assert set(body) == {"error_code", "message"}, (operation, fields)
                assert body["message"]
            if "delete" in path or method == "DELETE" or "restore" in path:  # so that later requests find something
                await bench.http.post(f"{call.root}/mlflow/registered-models/create", json={"name": "m"})
    assert tried > 300
    for raw in (b"{", b"[]", b'"a"', b"\xff", b"[" * 100_000):
        answer = await bench.http.post(f"{call.root}/mlflow/runs/create", content=raw)
        assert answer.json()["error_code"] == "INVALID_PARAMETER_VALUE"
