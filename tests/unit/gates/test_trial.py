"""The trial over the app's ports: whom it asks, and what says nothing of the model."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.domain.assets import AssetRef
from pilotage.errors import InvalidInput, NotFound, Throttled, TooLarge, Unavailable
from pilotage.gates.trial import DATA_LIMIT, TRAINING_DATA, LiveTrial, Place, asset_ref
from pilotage.ports import DeploymentSpec
from tests.support.fakes import Asset
from tests.support.scene import DEV, ENDPOINT, MODEL, PROD, STAGING_ENDPOINT, STG, Scene

BODY = b'{"input_data": {"columns": ["x"], "data": [[3]]}}'


def _ref(version: str, *, kind: str = "model") -> AssetRef:
    return AssetRef(name=MODEL if kind == "model" else kind, version=version, workspace=DEV)


def _deployment(version: str, name: str, workspace: str = PROD, endpoint: str = ENDPOINT) -> DeploymentSpec:
    return DeploymentSpec(workspace=workspace, endpoint=endpoint, name=name, instance_type="Standard_DS3_v2",
                          model=f"azureml:/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/{DEV}"
                                f"/models/{MODEL}/versions/{version}")


def _trial(scene: Scene, version: str = "2") -> LiveTrial:
    return LiveTrial(registry=scene.azure, deployments=scene.azure, clock=scene.clock, source=_ref(version), artifact_ref=_ref(version),
                     model_digest=scene.azure.model_digest(_ref(version)), environment=None,
                     pinned={"azureml:holdout@latest": scene.azure.data(_ref("1", kind="holdout"))}, home=DEV,
                     candidate=Place(STG, STAGING_ENDPOINT, "c1"), production=(PROD, ENDPOINT))


@pytest.fixture
def scene() -> Scene:
    scene = Scene()
    for version, factor in (("1", 2.0), ("2", 3.0), ("3", 4.0)):
        scene.register(version, Asset(predict=lambda row, factor=factor: factor * row["x"]))
    scene.azure.place(STG, STAGING_ENDPOINT, _spec(scene, "2", "c1", STG, STAGING_ENDPOINT))
    return scene


def _spec(scene: Scene, version: str, name: str, workspace: str = PROD, endpoint: str = ENDPOINT) -> DeploymentSpec:
    return _deployment(version, name, workspace, endpoint).model_copy(update={"model": scene.azure.model(_ref(version)).id})


def test_the_champion_is_what_serves_now_not_the_latest(scene: Scene) -> None:
    scene.azure.place(PROD, ENDPOINT, _spec(scene, "1", "v1"))
    scene.azure.place(PROD, ENDPOINT, _spec(scene, "3", "v3"), {"v1": 90, "v3": 10})
    found = _trial(scene).champion()
    assert found is not None
    assert (found.deployment, found.model.ref.version, found.traffic) == ("v1", "1", 90)
    assert found.model_digest == scene.azure.model_digest(_ref("1")).value
    trial = _trial(scene)
    assert (trial.score(BODY).body, trial.score(BODY, champion=True).body) == ("[9.0]", "[6.0]")


@pytest.mark.parametrize("traffic", [None, {}, {"v1": 0}])
def test_nothing_that_serves_is_no_champion(scene: Scene, traffic: dict[str, int] | None) -> None:
    if traffic is not None:
        scene.azure.place(PROD, ENDPOINT, _spec(scene, "1", "v1"), traffic)
    trial = _trial(scene)
    assert trial.champion() is None
    with pytest.raises(NotFound):
        trial.score(BODY, champion=True)


@pytest.mark.parametrize(("status", "error"), [(429, Throttled), (500, Unavailable), (503, Unavailable)])
def test_what_the_infrastructure_answers_is_no_answer_of_the_model(scene: Scene, status: int, error: type[Exception]) -> None:
    scene.azure.answers["c1"] = status
    with pytest.raises(error):
        _trial(scene).score(BODY)


@pytest.mark.parametrize("status", [400, 408, 424])
def test_what_the_model_answers_is_an_answer(scene: Scene, status: int) -> None:
    scene.azure.answers["c1"] = status
    assert _trial(scene).score(BODY).status == status


def test_training_data_is_what_the_model_says(scene: Scene) -> None:
    scene.register("4", Asset(tags={TRAINING_DATA: "azureml:holdout:1"}))
    trial = _trial(scene, "4")
    told = trial.training()
    assert told is not None
    assert told.ref == AssetRef(name="holdout", version="1", workspace=DEV)
    assert trial.training_files()[0][0] == "holdout.csv"
    assert _trial(scene).training() is None
    with pytest.raises(NotFound, match="the candidate does not tell"):
        _trial(scene).training_files()


def test_a_property_that_names_no_asset_is_told(scene: Scene) -> None:
    scene.register("5", Asset(tags={TRAINING_DATA: "flights.csv"}))
    with pytest.raises(InvalidInput, match=r"pilotage\.training_data .* is not an asset"):
        _trial(scene, "5").training()


def test_data_over_the_limit_belongs_in_a_job(scene: Scene) -> None:
    scene.azure.put("data", _ref("1", kind="holdout"), Asset(files={"a.csv": b"x" * (DATA_LIMIT + 1)}))
    with pytest.raises(TooLarge):
        _trial(scene).files("azureml:holdout@latest")


def test_equal_models_draw_alike(scene: Scene) -> None:
    assert _trial(scene).seed == _trial(scene).seed != _trial(scene, "3").seed


ARM = "/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/mlw-dev/models/air-time/versions/7"


@pytest.mark.parametrize(("text", "about"), [
    ("azureml://registries/shared/models/air-time/versions/7", {"registry": "shared"}), (ARM, {"workspace": "mlw-dev"}),
    ("azureml:" + ARM, {"workspace": "mlw-dev"}), (ARM.replace("workspaces", "Workspaces"), {"workspace": "mlw-dev"}),
])
def test_asset_ids_in_every_form_that_azure_writes(text: str, about: dict[str, Any]) -> None:
    assert asset_ref(text) == AssetRef(name="air-time", version="7", **about)


@pytest.mark.parametrize("text", [
    "", "azureml:air-time:7", "azureml://jobs/x/outputs/model", "https://blob/model", "/subscriptions/s/versions"])
def test_what_is_no_registered_model_is_told(text: str) -> None:
    with pytest.raises(InvalidInput, match="is not a registered version"):
        asset_ref(text)
