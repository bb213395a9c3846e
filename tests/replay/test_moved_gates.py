"""A gate whose data is over the limit runs as a job: through the orchestration, with the job's own program really run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pilotage.domain.assets import AssetRef
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import Throttled
from pilotage.gates.trial import DATA_LIMIT
from pilotage.ports import StepsSpec
from tests.support.desk import SETTINGS
from tests.support.fakes import Asset
from tests.support.moved import played
from tests.support.scene import DEV, STAGING_ENDPOINT, STG, Scene, everything_replays, policy

METRIC = {"metric": {"metric": "mae", "holdout": "azureml:holdout@latest", "target": "y", "max": 0.5, "min_rows": 10}}
CHAMPION = {"champion": {"metric": "mae", "holdout": "azureml:holdout@latest", "target": "y", "min_rows": 10, "resamples": 200,
                         "min_slice_rows": 10}}
QUALITY = {"data_quality": {"data_asset": "azureml:holdout@latest", "min_rows": 10}}
ENVIRONMENT = "azureml:pilotage-gates@latest"
Predict = Callable[[Mapping[str, Any]], Any]


class Moving(Scene):
    """A scene in which a function reads `limit` bytes."""

    limit, environment = 10, ENVIRONMENT

    def app(self, **parts: Any) -> Any:
        told = {"gates_data_limit": self.limit, "gates_environment": self.environment}
        return super().app(**{"settings": SETTINGS.model_copy(update=told)} | parts)

    def allow(self, limit: int, environment: str | None = ENVIRONMENT) -> None:
        self.limit, self.environment = limit, environment  # type: ignore[assignment]
        self._app = self.app()


def _scene(folder: Path, *gates: dict[str, Any], offline: Predict = lambda row: 2.0 * row["x"], champion: Predict | None = None) -> Moving:
    scene = Moving(policy(**{"stages.0.gates": list(gates)}))
    scene.azure.put("environments", AssetRef(name="pilotage-gates", version="4", workspace=STG), Asset(image="mcr.example/gates:4"))
    scene.register("1")

    def writes(spec: StepsSpec) -> dict[str, bytes]:
        holdout = sorted(scene.azure._asset("data", AssetRef(name="holdout", version="1", workspace=DEV)).files.items())
        data = {name: holdout for name, (_, value) in spec.inputs.items() if "/data/holdout/" in value}
        models = {who: lambda rows, predict=predict: [predict(row) for row in rows]
                  for who, predict in (("candidate", offline), ("champion", champion or offline))}
        at = folder / spec.name
        at.mkdir(exist_ok=True)
        return played(spec, data, models, at)

    scene.azure.job_writes = writes
    return scene


def _results(scene: Scene, promotion: str) -> dict[str, GateResult]:
    return {result["gate"]: GateResult.model_validate(result) for result in scene.last(promotion, "staging.gates")["results"]}


def _specs(scene: Scene) -> list[StepsSpec]:
    return [job.spec for job in scene.azure._jobs.values() if isinstance(job.spec, StepsSpec)]


def test_one_byte_decides_where_a_gate_runs(tmp_path: Path) -> None:
    size = Scene().azure.data(AssetRef(name="holdout", version="1", workspace=DEV)).digest.size
    moved = []
    for limit in (size, size - 1, DATA_LIMIT):
        scene = _scene(tmp_path / str(limit), METRIC)
        (tmp_path / str(limit)).mkdir()
        scene.allow(limit)
        promotion = scene.start("1")
        scene.hub.run(lambda scene=scene, promotion=promotion: any(entry.step == "staging.gates" for entry in scene.entries(promotion)))
        moved.append(len(_specs(scene)))
    assert moved == [0, 1, 0]


def test_a_moved_gate_is_awaited_and_says_where_it_ran(tmp_path: Path) -> None:
    scene = _scene(tmp_path, METRIC, QUALITY)
    scene.azure.pace.job = timedelta(minutes=20)
    scene.azure.fail("begin_steps", Throttled("429"), times=2, after=True)
    promotion = scene.start("1")
    scene.finish(promotion)
    assert scene.phase(promotion) == "succeeded"
    found, specs = _results(scene, promotion), {spec.steps[-1].command.count("--predictions"): spec for spec in _specs(scene)}
    assert len(_specs(scene)) == 2, "a lost answer starts no second job"
    assert {name: result.outcome for name, result in found.items()} == {"metric:mae": "passed", "data_quality": "passed"}
    ran = found["metric:mae"].evidence["ran_as_job"]
    assert ran["job"] == specs[1].name
    assert (ran["workspace"], ran["limit_bytes"], ran["environment"]) == (STG, 10, specs[1].steps[0].environment)
    assert ran["asked_again"] == {"candidate": {"rows": 20, "different": 0, "largest_difference": 0.0}}
    assert [(step.name, step.environment.split("/")[-3]) for step in specs[1].steps] == [
        ("ask", "pilotage-gates"), ("candidate", "air-time-env"), ("judge", "pilotage-gates")]
    assert [step.name for step in specs[0].steps] == ["judge"], "without predictions there is nothing to ask"
    assert specs[1].steps[0].environment.endswith("/pilotage-gates/versions/4"), "the label is pinned"
    assert specs[1].tags["pilotage-promotion"] == promotion
    everything_replays(scene)


def test_evidence_is_carried_over_between_function_and_job(tmp_path: Path) -> None:
    scene = _scene(tmp_path, METRIC)
    for version in ("1", "2", "3"):
        scene.register(version, Asset(files={"model.pkl": b"same bytes"}))
    scene.allow(DATA_LIMIT)
    here = scene.start("1")
    scene.finish(here)
    scene.allow(10)
    for version in ("2", "3"):
        again = scene.start(version)
        scene.hub.run(lambda again=again: any(entry.step == "staging.gates" for entry in scene.entries(again)))
        assert _results(scene, again)["metric:mae"].carried_from == here
    assert _specs(scene) == []


def test_a_gate_that_is_late_ends_its_job(tmp_path: Path) -> None:
    scene = _scene(tmp_path, {"metric": METRIC["metric"] | {"timeout": "PT30M"}})
    scene.azure.pace.job = timedelta(hours=5)
    promotion = scene.start("1")
    scene.hub.run()
    assert scene.phase(promotion) == "errored"
    assert "longer than its timeout of PT30M" in _results(scene, promotion)["metric:mae"].message
    assert [change[0] for change in scene.azure.changes].count("cancel") == 1
    assert {spec.timeout for spec in _specs(scene)} == {1800}, "and Azure ends its steps, should nobody else"
    assert scene.azure.standing(STG, STAGING_ENDPOINT) == []
    everything_replays(scene)


def test_a_job_that_fails_is_errored_with_its_reason(tmp_path: Path) -> None:
    scene = _scene(tmp_path, METRIC)
    scene.azure.job_ends, scene.azure.job_writes = "Failed", lambda spec: {}
    promotion = scene.start("1")
    scene.hub.run()
    found = _results(scene, promotion)["metric:mae"]
    assert found.outcome is GateOutcome.ERRORED
    assert "ended Failed and wrote no verdict: out of memory" in found.message


def test_what_the_gate_refuses_in_the_job_is_told_as_in_the_function(tmp_path: Path) -> None:
    messages = []
    for limit in (10, DATA_LIMIT):
        scene = _scene(tmp_path, {"metric": METRIC["metric"] | {"target": "nobody"}})
        scene.allow(limit)
        promotion = scene.start("1")
        scene.hub.run()
        messages.append(_results(scene, promotion)["metric:mae"].message)
    assert messages[0] == messages[1]
    assert "has no column 'nobody'" in messages[0]


@pytest.mark.parametrize(("gates_environment", "words"), [
    (None, ["35", "a function reads 10", "set PILOTAGE_GATES_ENVIRONMENT", "PILOTAGE_GATES_DATA_LIMIT"]),
    ("azureml:nowhere@latest", ["PILOTAGE_GATES_ENVIRONMENT is azureml:nowhere@latest", "register it as docs/gates/large-data.md"]),
])
def test_without_an_environment_the_setting_is_named(tmp_path: Path, gates_environment: str | None, words: list[str]) -> None:
    scene = _scene(tmp_path, METRIC)
    scene.allow(10, gates_environment)
    promotion = scene.start("1")
    scene.hub.run()
    found = _results(scene, promotion)["metric:mae"]
    assert found.outcome is GateOutcome.ERRORED
    assert not [word for word in words[1:] if word not in found.message], found.message
    assert _specs(scene) == []


def test_a_model_without_a_pinned_environment_cannot_predict_in_a_job(tmp_path: Path) -> None:
    scene = _scene(tmp_path, METRIC)
    promotion = scene.start("1", rules=policy(**{"stages.0.gates": [METRIC], "environment": None}))
    scene.hub.run()
    assert "set `environment` in the policy" in _results(scene, promotion)["metric:mae"].message


def test_a_deployment_that_answers_otherwise_than_its_model_is_not_what_was_measured(tmp_path: Path) -> None:
    scene = _scene(tmp_path, METRIC, offline=lambda row: 2.0 * row["x"] + (1 if row["x"] == 7 else 0))
    promotion = scene.start("1")
    scene.hub.run()
    found = _results(scene, promotion)["metric:mae"]
    assert found.outcome is GateOutcome.FAILED
    assert "the candidate's deployment answers otherwise than its model in its own environment, in 1 of 20 rows" in found.message
    assert found.evidence["value"] == 0.05, "what the job measured is told all the same"


def test_a_champion_predicts_in_the_environment_it_serves_in(tmp_path: Path) -> None:
    scene = _scene(tmp_path, METRIC, CHAMPION, champion=lambda row: 2.5 * row["x"])
    first = scene.start("1")
    scene.finish(first)
    assert "nothing serves production" in _results(scene, first)["champion"].message
    assert len(_specs(scene)) == 1, "what needs no data needs no job"
    served = scene.azure._asset("models", AssetRef(name="air-time", version="1", registry="shared-registry"))
    served.predict = lambda row: 2.5 * row["x"]
    scene.register("2")
    second = scene.start("2")
    scene.hub.run(lambda: any(entry.step == "staging.gates" for entry in scene.entries(second)))
    found = _results(scene, second)["champion"]
    assert found.outcome is GateOutcome.PASSED, found.message
    assert found.evidence["ran_as_job"]["asked_again"]["champion"] == {"rows": 20, "different": 0, "largest_difference": 0.0}
    [spec] = [spec for spec in _specs(scene) if any(step.name == "champion" for step in spec.steps)]
    environments = {step.name: step.environment for step in spec.steps}
    assert environments["champion"].startswith("azureml://registries/shared-registry/environments/air-time-env")
    assert json.loads(spec.documents["trial"])["champion"]["deployment"] == scene.green(first)
    everything_replays(scene)


def test_a_champion_that_answers_otherwise_says_nothing_of_the_candidate(tmp_path: Path) -> None:
    scene = _scene(tmp_path, CHAMPION, champion=lambda row: 2.6 * row["x"])
    scene.finish(scene.start("1"))
    scene.azure._asset("models", AssetRef(name="air-time", version="1", registry="shared-registry")).predict = lambda row: 2.5 * row["x"]
    scene.register("2")
    promotion = scene.start("2")
    scene.hub.run()
    found = _results(scene, promotion)["champion"]
    assert found.outcome is GateOutcome.INCONCLUSIVE
    assert "the champion's deployment answers otherwise" in found.message
    assert "says nothing of the candidate" in found.message
