"""Tracking and registry through an unmodified `mlflow` client."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.emulator.mlflow.conftest import WORKSPACE, Client
from tests.support.platform import LivePlatform

pytestmark = pytest.mark.xdist_group("sdk-mlflow")

TRACKED = """
import json, math, mlflow, pathlib, sys, tempfile
from mlflow import MlflowClient
mlflow.set_experiment("plain-client")
client = MlflowClient()
with mlflow.start_run(run_name="first", tags={"team": "tides"}) as run:
    mlflow.log_params({"depth": 3, "kind": "tree"})
    for step in range(5):
        mlflow.log_metric("rmse", 5.0 - step, step=step)
    mlflow.log_metrics({"loss": math.inf, "none": math.nan})
    mlflow.set_tag("passing", "x")
    client.delete_tag(run.info.run_id, "passing")
    folder = pathlib.Path(tempfile.mkdtemp())
    (folder / "deep").mkdir()
    (folder / "deep" / "a.bin").write_bytes(bytes(range(256)))
    (folder / "b, c.txt").write_text("b")
    mlflow.log_artifacts(str(folder), "files")
    mlflow.log_dict({"a": 1}, "one.json")
    with mlflow.start_run(run_name="inner", nested=True) as inner:
        mlflow.log_metric("rmse", 9)
read = mlflow.get_run(run.info.run_id)
fetched = pathlib.Path(mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="files"))
def search(text, **more):
    return [one.info.run_name for one in mlflow.search_runs(experiment_names=["plain-client"], filter_string=text,
                                                             output_format="list", **more)]
try:
    client.log_param(run.info.run_id, "depth", 4)
    refused = ""
except mlflow.MlflowException as problem:
    refused = f"{problem.error_code}: {problem.message}"
client.delete_run(inner.info.run_id)
production = MlflowClient(mlflow.get_tracking_uri().replace("/mlw-dev", "/mlw-prod"))
assert [one.name for one in production.search_experiments()] == ["Default"]
try:
    production.create_experiment("mine-now")
    denied = ""
except mlflow.MlflowException as problem:
    denied = f"{problem.error_code}: {problem.message}"
print(json.dumps({
    "run": run.info.run_id, "inner": inner.info.run_id, "status": read.info.status, "params": read.data.params,
    "tags": read.data.tags, "rmse": read.data.metrics["rmse"], "infinite": math.isinf(read.data.metrics["loss"]),
    "nan": math.isnan(read.data.metrics["none"]),
    "history": [one.value for one in client.get_metric_history(run.info.run_id, "rmse")],
    "files": sorted(str(one.relative_to(fetched)) for one in fetched.rglob("*") if one.is_file()),
    "bytes": (fetched / "deep" / "a.bin").read_bytes() == bytes(range(256)),
    "root": [(one.path, one.is_dir) for one in client.list_artifacts(run.info.run_id)],
    "json": mlflow.artifacts.load_dict(run.info.artifact_uri + "/one.json"),
    "good": search("metrics.rmse < 2 and params.kind = 'tree' and tags.team ILIKE 'TI%'"),
    "finished": search("attributes.status = 'FINISHED' and run_name IN ('first', 'other')"), "deleted_is_gone": search(""),
    "refused": refused, "denied": denied,
    "experiments": [one.name for one in client.search_experiments(filter_string="name LIKE 'plain%'")],
}))
"""


def test_runs_are_tracked_searched_and_their_artifacts_fetched(client: Client, http: httpx.Client) -> None:
    seen = client(TRACKED)
    assert (seen["status"], seen["rmse"], seen["history"]) == ("FINISHED", 1.0, [5.0, 4.0, 3.0, 2.0, 1.0])
    assert seen["params"] == {"depth": "3", "kind": "tree"}
    assert seen["infinite"]
    assert seen["nan"]
    assert seen["tags"]["team"] == "tides"
    assert "passing" not in seen["tags"]
    assert seen["files"] == ["b, c.txt", "deep/a.bin"]
    assert seen["bytes"]
    assert seen["root"] == [["files", True], ["one.json", False]]
    assert seen["json"] == {"a": 1}
    assert seen["good"] == seen["finished"] == seen["deleted_is_gone"] == ["first"]
    assert seen["refused"].startswith("INVALID_PARAMETER_VALUE: ")
    assert "Changing param values is not allowed" in seen["refused"]
    assert seen["denied"].startswith("PERMISSION_DENIED: ")
    assert "AuthorizationFailed" in seen["denied"]
    assert "Microsoft.MachineLearningServices/workspaces/experiments/write" in seen["denied"]
    assert seen["experiments"] == ["plain-client"]

    history = http.get(f"/history/v1.0{WORKSPACE}/runs/{seen['run']}").json()
    assert (history["status"], history["createdBy"]["userName"]) == ("Completed", "Ada Lovelace")
    children = http.get(f"/history/v1.0{WORKSPACE}/runs/{seen['run']}/children").json()["value"]
    assert [child["runId"] for child in children] == [seen["inner"]]


REGISTERED = """
import json, mlflow, numpy, sys
from mlflow import MlflowClient
from sklearn.linear_model import LinearRegression
mlflow.set_experiment("plain-registry")
client, name = MlflowClient(), "plain-registry-model"
x = numpy.arange(6.0).reshape(-1, 1)
with mlflow.start_run() as run:
    mlflow.sklearn.log_model(LinearRegression().fit(x, 2 * x.ravel() + 1), name="model", serialization_format="cloudpickle",
                             pip_requirements=["mlflow-skinny"])
version = mlflow.register_model(f"runs:/{run.info.run_id}/model", name, tags={"stage-of-life": "young"})
again = mlflow.register_model(f"runs:/{run.info.run_id}/model", name)
client.set_registered_model_alias(name, "champion", version.version)
client.set_model_version_tag(name, version.version, "reviewed", "yes")
client.update_model_version(name, version.version, description="a line")
client.transition_model_version_stage(name, "1", "Production")
client.transition_model_version_stage(name, "2", "Production", archive_existing_versions=True)
found = client.get_model_version(name, "1")
[arm] = client.search_model_versions("name = 'plain-from-arm'")
loaded = mlflow.pyfunc.load_model(f"models:/{name}@champion")
print(json.dumps({
    "run": run.info.run_id, "versions": [version.version, again.version], "source": found.source, "run_id": found.run_id,
    "tags": found.tags, "aliases": list(found.aliases), "stages": [client.get_model_version(name, v).current_stage for v in "12"],
    "champion": client.get_model_version_by_alias(name, "champion").version,
    "prediction": float(loaded.predict(numpy.array([[10.0]]))[0]),
    "search": [one.version for one in client.search_model_versions(f"name = '{name}'")],
    "models": [one.name for one in client.search_registered_models("name LIKE 'plain-registry%'")],
    "arm": [arm.version, arm.tags, arm.current_stage, arm.source,
            [one.version for one in client.get_registered_model("plain-from-arm").latest_versions]],
}))
"""


def test_a_registered_model_is_the_workspaces_model(client: Client, http: httpx.Client, sdk_platform: LivePlatform) -> None:
    """And the other way round: a model that was registered through Azure Resource Manager is MLflow's."""
    uri = "azureml://datastores/workspaceblobstore/paths/mlflow-test/m/"
    body = {"properties": {"modelUri": uri, "modelType": "custom_model", "tags": {"a": "b"}, "stage": "Staging"}}
    http.put(f"{WORKSPACE}/models/plain-from-arm/versions/7", json=body).raise_for_status()
    seen = client(REGISTERED)
    assert seen["arm"] == ["7", {"a": "b"}, "Staging", uri, ["7"]]
    assert seen["versions"] == ["1", "2"]
    assert seen["run_id"] == seen["run"]
    assert seen["tags"] == {"stage-of-life": "young", "reviewed": "yes"}
    assert (seen["aliases"], seen["champion"]) == (["champion"], "1")
    assert seen["stages"] == ["Archived", "Production"]
    assert seen["prediction"] == pytest.approx(21)
    assert sorted(seen["search"]) == ["1", "2"]
    assert seen["models"] == ["plain-registry-model"]

    version = http.get(f"{WORKSPACE}/models/plain-registry-model/versions/1").json()
    properties = version["properties"]
    assert (properties["modelType"], properties["jobName"]) == ("mlflow_model", seen["run"])
    assert properties["description"] == "a line"
    assert "python_function" in properties["flavors"]
    assert not any(key.startswith("_") for key in version)
