"""What moves a gate into a job, by the size of all its data, and what keeps it from going there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from pilotage.domain.assets import AssetRef, ModelVersion
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput, OperationFailed, TooLarge
from pilotage.gates.interface import JobOutcome
from pilotage.gates.measuring import Measurement
from pilotage.gates.moving import JobRules, Moved
from pilotage.gates.trial import DATA_LIMIT, TRAINING_DATA
from pilotage.messages import GateRequest
from pilotage.ports import DeploymentSpec
from tests.support.fakes import Asset
from tests.support.scene import DEV, ENDPOINT, MODEL, PROD, STAGING_ENDPOINT, STG, Scene

HOLDOUT, OTHER = "azureml:holdout@latest", "azureml:other@latest"
METRIC = {"metric": "mae", "holdout": HOLDOUT, "target": "y", "max": 9, "min_rows": 1}
CHAMPION = {"metric": "mae", "holdout": HOLDOUT, "target": "y", "min_rows": 10, "resamples": 200}
RULES = JobRules(limit=1000, environment="azureml:gates:1")


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    scene.azure.put("environments", AssetRef(name="gates", version="1", workspace=STG), Asset(image="mcr.example/gates:1"))
    for name in ("holdout", "other", "training"):
        scene.azure.put("data", AssetRef(name=name, version="1", workspace=DEV), Asset(files={"rows.csv": b"x,y\n" + b"1,2\n" * 100}))
    scene.register("1")
    scene.register("2")
    scene.azure.place(STG, STAGING_ENDPOINT, _deployment(scene, "2", STG, STAGING_ENDPOINT, "c1"))
    return scene


def _deployment(scene: Scene, version: str, workspace: str, endpoint: str, name: str, environment: str | None = None) -> DeploymentSpec:
    return DeploymentSpec(workspace=workspace, endpoint=endpoint, name=name, instance_type="Standard_DS3_v2", environment=environment,
                          model=scene.azure.model(AssetRef(name=MODEL, version=version, workspace=DEV)).id)


def _measurement(scene: Scene, kind: str, spec: Mapping[str, Any], rules: JobRules = RULES, workspace: str = STG) -> Measurement:
    source = AssetRef(name=MODEL, version="2", workspace=DEV)
    data = {f"azureml:{name}@latest": scene.azure.data(AssetRef(name=name, version="1", workspace=DEV)).model_dump(mode="json")
            for name in ("holdout", "other", "training", "requests")}
    measurement = Measurement.of(GateRequest(
        promotion="p1", name=kind, kind=kind, spec=dict(spec), home=DEV, source=source, model=scene.azure.model(source).id,
        model_digest=scene.azure.model_digest(source).model_dump(), environment="azureml://registries/r/environments/e/versions/1",
        data=data, target={"workspace": workspace, "endpoint": STAGING_ENDPOINT, "name": "c1"},
        production={"workspace": PROD, "endpoint": ENDPOINT}), scene.azure, scene.azure, scene.clock, rules)
    # The candidate is a registry's, as in a promotion: every workspace can read it.
    told = measurement.trial.model.model_copy(update={"ref": AssetRef(name=MODEL, version="2", registry="r")})
    measurement.trial.__dict__["model"] = told
    return measurement


@pytest.mark.parametrize(("kind", "spec", "size"), [
    ("metric", METRIC, 404),
    ("data_quality", {"data_asset": HOLDOUT, "min_rows": 1}, 404),
    ("data_quality", {"data_asset": HOLDOUT, "training": OTHER, "min_rows": 1}, 808),
    ("data_quality", {"data_asset": HOLDOUT, "training": HOLDOUT, "min_rows": 1}, 404),
    ("responsible_ai", METRIC | {"sensitive": ["x"], "max_ratio": 2, "max": None, "min_rows": None}, 404),
])
def test_all_inputs_count_each_once_before_any_is_read(scene: Scene, kind: str, spec: dict[str, Any], size: int) -> None:
    spec = {name: value for name, value in spec.items() if value is not None}
    assert isinstance(_measurement(scene, kind, spec, replace(RULES, limit=size)).begin(), GateResult)
    scene.azure.fail("read_data", AssertionError("read"))
    moved = _measurement(scene, kind, spec, replace(RULES, limit=size - 1)).begin()
    assert isinstance(moved, Moved)
    assert moved.record.about == {"environment": moved.environment, "data_bytes": size, "limit_bytes": size - 1}


def test_what_both_versions_were_trained_on_counts_for_the_champion_gate(scene: Scene) -> None:
    for version, name in (("1", "other"), ("2", "training")):
        scene.azure._asset("models", AssetRef(name=MODEL, version=version, workspace=DEV)).tags[TRAINING_DATA] = f"azureml:{name}:1"
    scene.azure.place(PROD, ENDPOINT, _deployment(scene, "1", PROD, ENDPOINT, "v1", "azureml://registries/r/environments/e/versions/1"),
                      {"v1": 100})
    measurement = _measurement(scene, "champion", CHAMPION)
    measurement.trial.model.tags[TRAINING_DATA] = "azureml:training:1"
    assert measurement.trial.size == 3 * 404
    assert sorted(measurement.trial.inputs) == ["candidate_training", "champion_training", "holdout"]
    with pytest.raises(InvalidInput, match=f"can't read the champion workspaces/{DEV}/{MODEL}:1: it lies in workspace {DEV}; deploy it"):
        measurement.begin()


@pytest.mark.parametrize("environment", [None, "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/"
                                         f"{PROD}/environments/e/versions/1"])
def test_a_champion_that_a_job_could_not_predict_is_told(scene: Scene, environment: str | None) -> None:
    scene.azure.place(PROD, ENDPOINT, _deployment(scene, "1", PROD, ENDPOINT, "v1", environment), {"v1": 100})
    measurement = _measurement(scene, "champion", CHAMPION, replace(RULES, limit=1))
    champion = measurement.trial.champion()
    assert champion is not None
    model = champion.model.model_copy(update={"ref": AssetRef(name=MODEL, version="1", registry="r")})
    measurement.trial.__dict__["_champion"] = champion.model_copy(update={"model": model})
    with pytest.raises(InvalidInput, match="its environment lies in workspace" if environment else "set `environment` in the policy it is"):
        measurement.begin()


def test_only_what_mlflow_saved_predicts_in_a_job(scene: Scene) -> None:
    measurement = _measurement(scene, "metric", METRIC, replace(RULES, limit=1))
    told: ModelVersion = measurement.trial.model
    measurement.trial.__dict__["model"] = told.model_copy(update={"type": "custom_model"})
    with pytest.raises(InvalidInput, match="only MLflow models can predict: the candidate registries/r/air-time:2 is a custom_model"):
        measurement.begin()


def test_what_can_not_move_is_read_up_to_the_usual_limit_and_refused_over_it(scene: Scene) -> None:
    spec = {"samples": "azureml:requests@latest"}
    assert isinstance(_measurement(scene, "smoke", spec, replace(RULES, limit=1)).begin(), GateResult)
    scene.azure.put("data", AssetRef(name="requests", version="1", workspace=DEV), Asset(files={"a.jsonl": b" " * (DATA_LIMIT + 1)}))
    with pytest.raises(TooLarge, match=rf"the gate's data holds {DATA_LIMIT + 1} bytes \(samples {DATA_LIMIT + 1}\)"):
        _measurement(scene, "smoke", spec).begin()


@pytest.mark.parametrize(("status", "files"), [
    ("Failed", []), ("Canceled", []), ("Completed", []), ("Completed", [("job.json", b"{}")])])
def test_a_job_without_a_verdict_is_nobodys_fault_but_ours(scene: Scene, status: str, files: list[tuple[str, bytes]]) -> None:
    outcome = JobOutcome(name="gate-1", status=status, message="disk full", link="https://ml.example/runs/gate-1", files=files)
    with pytest.raises(OperationFailed, match=rf"job gate-1 ended {status} .*: disk full \(https://ml.example/runs/gate-1\)"):
        _measurement(scene, "metric", METRIC).finish(outcome)


def test_a_deployment_that_is_down_when_it_is_asked_again_has_failed(scene: Scene) -> None:
    scene.azure._asset("models", AssetRef(name=MODEL, version="2", workspace=DEV)).status = 424
    result = GateResult(gate="metric:mae", outcome=GateOutcome.PASSED, message="within").model_dump_json().encode()
    check = b'{"candidate": [{"request": {"input_data": {"columns": ["x"], "data": [[1]]}}, "predictions": [2.0]}]}'
    found = _measurement(scene, "metric", METRIC).finish(JobOutcome(
        name="gate-1", status="Completed", files=[("result.json", result), ("job.json", b"{}"), ("check.json", check)]))
    assert found.outcome is GateOutcome.FAILED
    assert 'the endpoint "status 424", the model 2' in found.message
