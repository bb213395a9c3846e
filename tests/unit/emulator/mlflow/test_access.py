"""Whose roles allow what of the MLflow API and of run history. Ada may write in mlw-dev, and read everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.azure_ml.mlflow.api import Api
from emulator.azure_ml.resource import PROVIDER
from emulator.context import Caller
from tests.support.workbench import Workbench

READS = {
    "GET artifacts/list", "GET experiments/get", "GET experiments/get-by-name", "POST experiments/search", "GET experiments/search",
    "GET experiments/list", "GET runs/get", "POST runs/search", "GET metrics/get-history", "GET logged-models/*",
    "POST logged-models/search", "GET logged-models/*/artifacts/directories", "GET registered-models/get", "GET registered-models/search",
    "GET registered-models/list",
    "POST registered-models/get-latest-versions", "GET registered-models/get-latest-versions", "GET registered-models/alias",
    "GET model-versions/get", "GET model-versions/search", "GET model-versions/get-download-uri",
}  # fmt: skip
NOBODY = Caller("oid-nobody", "Nobody")


def root(bench: Workbench, workspace: str) -> str:
    return f"/mlflow/v2.0{bench.azure_ml.scopes.workspace(workspace).id}/api/2.0"


async def statuses(bench: Workbench, workspace: str) -> dict[str, int]:
    """What each operation of the API answers to an empty request."""
    found = {}
    for operation in Api(bench.azure_ml)._table:
        method, _, path = operation.partition(" ")
        url = f"{root(bench, workspace)}/mlflow/{path.replace('*', 'x')}"
        found[operation] = (await bench.http.request(method, url, json=None if method == "GET" else {})).status_code
    return found


async def test_who_may_read_only_is_refused_every_write(bench: Workbench) -> None:
    found = await statuses(bench, "mlw-prod")
    assert {operation for operation, status in found.items() if status != 403} == READS


async def test_who_has_no_role_is_refused_everything(bench: Workbench) -> None:
    bench.azure_ml.context.identity.caller = lambda authorization: NOBODY  # type: ignore[method-assign]
    assert set((await statuses(bench, "mlw-dev")).values()) == {403}


@pytest.mark.parametrize(("method", "path", "action"), [
    ("POST", "mlflow/runs/log-metric", "experiments/runs/write"), ("POST", "mlflow/experiments/create", "experiments/write"),
    ("POST", "mlflow/experiments/delete", "experiments/delete"), ("POST", "mlflow/registered-models/create", "models/write"),
    ("DELETE", "mlflow/model-versions/delete", "models/versions/delete"),
    ("PUT", "mlflow-artifacts/artifacts/ExperimentRun/dcid.x/a", "metadata/artifacts/write"),
])  # fmt: skip
async def test_a_refusal_names_the_action(bench: Workbench, method: str, path: str, action: str) -> None:
    answer = await bench.http.request(method, f"{root(bench, 'mlw-prod')}/{path}", content=b"{}")
    assert (answer.status_code, answer.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert answer.json()["message"].startswith("AuthorizationFailed: The client 'ada-client'")
    assert f"'{PROVIDER}/workspaces/{action}'" in answer.json()["message"]


async def test_what_is_unknown_is_not_found_whoever_asks(bench: Workbench) -> None:
    assert (await bench.http.post(f"{root(bench, 'mlw-prod')}/mlflow/nothing", json={})).status_code == 404


@pytest.mark.parametrize(("method", "part", "action"), [
    ("GET", "", "experiments/runs/read"), ("GET", "/details", "experiments/runs/read"), ("GET", "/metrics", "experiments/runs/read"),
    ("PATCH", "", "experiments/runs/write"), ("PATCH", "/tags", "experiments/runs/write"), ("POST", "/cancel", "jobs/cancel/action"),
])  # fmt: skip
async def test_run_history_asks_for_the_same_roles(bench: Workbench, method: str, part: str, action: str) -> None:
    url = f"/history/v1.0{bench.azure_ml.scopes.workspace('mlw-prod').id}/runs/none{part}"
    expected = 404 if method == "GET" else 403
    assert (await bench.http.request(method, url, json={})).status_code == expected
    bench.azure_ml.context.identity.caller = lambda authorization: NOBODY  # type: ignore[method-assign]
    error = (await bench.http.request(method, url, json={})).json()["error"]
    assert error["code"] == "AuthorizationFailed"
    assert f"'{PROVIDER}/workspaces/{action}'" in error["message"]


async def test_data_is_resolved_for_its_readers_only(bench: Workbench) -> None:
    url = f"/data/v1.0{bench.scope.id}/dataversion/batchGetResolvedUris"
    assert (await bench.http.post(url, json={"values": []})).status_code == 200
    bench.azure_ml.context.identity.caller = lambda authorization: NOBODY  # type: ignore[method-assign]
    assert (await bench.http.post(url, json={"values": []})).status_code == 403


async def test_a_token_for_another_service_is_refused(bench: Workbench) -> None:
    storage = Caller("0b6d5f6e-8c1a-4a57-9d39-5d1e8f6a0003", "Ada Lovelace", audience="https://storage.azure.com")
    bench.azure_ml.context.identity.caller = lambda authorization: storage  # type: ignore[method-assign]
    assert (await bench.http.post(f"{root(bench, 'mlw-dev')}/mlflow/runs/search", json={})).status_code == 401
    assert (await bench.http.get(f"/history/v1.0{bench.scope.id}/runs/x")).status_code == 401


async def test_a_job_writes_to_its_runs_where_its_identity_has_no_role(bench: Workbench) -> None:
    """As in Azure the token of a run is made for tracking; anything else its identity's roles decide."""
    bench.scope = bench.azure_ml.scopes.workspace("mlw-prod")
    bench.azure_ml.context.identity.caller = lambda authorization: olive  # type: ignore[method-assign]
    config = bench.azure_ml.context.config
    olive = Caller(config.identity("olive").object_id, "Olive Operator")
    environment = {"properties": {"image": "mcr.microsoft.com/azureml/minimal"}}
    assert (await bench.http.put(f"{bench.scope.id}/environments/env/versions/1", json=environment)).status_code == 201
    gate = bench.azure_ml.context.state / "gate"
    await bench.command("held", f"until test -e {gate}; do sleep 0.05; done")
    await bench.until(lambda: bench.run("held").status == "Running")
    token = bench.jobs.tokens.issue(bench.run("held"))

    async def logged(sent: str, **body: Any) -> int:
        url, headers = f"{root(bench, 'mlw-prod')}/mlflow/{sent}", {"authorization": f"Bearer {token}"}
        return (await bench.http.post(url, json=body, headers=headers)).status_code

    assert await logged("runs/log-metric", run_id="held", key="m", value=1) == 200
    assert await logged("registered-models/create", name="m") == 403
    trainer = Caller(config.identity("trainer").object_id, "Training Jobs")
    bench.azure_ml.context.identity.caller = lambda authorization: trainer  # type: ignore[method-assign]
    history = f"/history/v1.0{bench.scope.id}/runs/held"
    assert (await bench.http.patch(f"{history}/tags", json={"a": "1"})).status_code == 200
    assert (await bench.http.post(f"{history}/cancel")).status_code == 403
    gate.touch()
    await bench.ended("held")
    assert (await bench.http.patch(f"{history}/tags", json={"a": "2"})).status_code == 403
