"""`pilotage gates run`: the gates alone; what was made is taken away, whatever happens."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pilotage.errors import InvalidInput, OperationFailed, Throttled, Unavailable
from pilotage.rehearsal import Rehearsal
from tests.support.fakes import Asset
from tests.support.scene import DEV, Scene, policy

METRIC = {"metric": {"metric": "mae", "holdout": "azureml:holdout@latest", "target": "y", "max": 0.5, "min_rows": 10}}
SMOKE = {"smoke": {"samples": "azureml:requests@latest"}}


def _rehearsal(scene: Scene, told: list[str] | None = None, **changes: Any) -> Rehearsal:
    """Waiting moves the scene's clock."""
    usual: dict[str, Any] = {"told": (told if told is not None else []).append,
                             "wait": lambda seconds: scene.clock.advance(timedelta(seconds=seconds))}
    return Rehearsal(policy(**{"stages.0.gates": [SMOKE, METRIC]}), DEV, scene.azure, scene.azure, scene.azure, scene.clock,
                     **usual | changes)


def _outcomes(results: Any) -> dict[str, str]:
    return {result.gate: result.outcome.value for result in results}


def test_the_gates_are_those_of_a_promotion_and_nothing_is_left(scene: Scene) -> None:
    told: list[str] = []
    results = _rehearsal(scene, told).run(scene.register("1"))
    assert _outcomes(results) == {"smoke": "passed", "metric:mae": "passed"}
    assert [change[0] for change in scene.azure.changes] == [
        "begin_create_endpoint", "begin_create_deployment", "begin_delete_deployment", "begin_delete_endpoint"]
    assert scene.records.contents == {}, "a rehearsal is recorded nowhere"
    assert any(line.startswith("metric:mae: passed") for line in told)


def test_a_bad_model_is_told_before_it_is_registered_for_anybody(scene: Scene) -> None:
    results = _rehearsal(scene).run(scene.register("1", Asset(predict=lambda row: 0)))
    assert _outcomes(results) == {"smoke": "passed", "metric:mae": "failed"}


@pytest.mark.parametrize("only", [["smoke"], ["metric"], ["metric:mae"]])
def test_one_gate_alone(scene: Scene, only: list[str]) -> None:
    assert len(_rehearsal(scene).run(scene.register("1"), only)) == 1


def test_a_gate_that_is_not_in_the_policy_is_refused_before_anything_is_made(scene: Scene) -> None:
    with pytest.raises(InvalidInput, match="has no gate champion; it has smoke, metric:mae"):
        _rehearsal(scene).run(scene.register("1"), ["champion"])
    assert scene.azure.changes == []


def test_a_model_that_does_not_come_up_is_told_with_its_log_and_taken_away(scene: Scene) -> None:
    with pytest.raises(OperationFailed, match="No module named 'sklearn'"):
        _rehearsal(scene).run(scene.register("1", Asset(starts=False)))
    assert scene.azure.changes[-1][0] == "begin_delete_endpoint"


def test_an_endpoint_of_the_teams_own_stays(scene: Scene) -> None:
    scene.azure.place(DEV, "shared-try")
    _rehearsal(scene, endpoint="shared-try").run(scene.register("1"))
    assert scene.azure.endpoint(DEV, "shared-try") is not None
    assert scene.azure.standing(DEV, "shared-try") == []


def test_kept_means_kept(scene: Scene) -> None:
    told: list[str] = []
    _rehearsal(scene, told, keep=True).run(scene.register("1"))
    assert not [change for change in scene.azure.changes if change[0].startswith("begin_delete")]
    assert "it costs money" in told[-1]


@pytest.mark.parametrize("method", ["begin_create_endpoint", "begin_create_deployment", "score", "read_data", "begin_delete_deployment"])
def test_what_may_pass_is_waited_out(scene: Scene, method: str) -> None:
    scene.azure.fail(method, Throttled("429"), times=2)
    assert set(_outcomes(_rehearsal(scene).run(scene.register("1"))).values()) == {"passed"}


def test_what_does_not_pass_is_errored_and_hides_no_other_verdict(scene: Scene) -> None:
    scene.azure.fail("read_data", Unavailable("503"), times=100, where=lambda ref, limit: ref.name == "holdout")
    assert _outcomes(_rehearsal(scene).run(scene.register("1"))) == {"smoke": "passed", "metric:mae": "errored"}


def test_what_cannot_be_taken_down_is_told(scene: Scene) -> None:
    told: list[str] = []
    scene.azure.fail("begin_delete_deployment", Unavailable("503"), times=100)
    _rehearsal(scene, told).run(scene.register("1"))
    assert "delete it by hand" in told[-1]
