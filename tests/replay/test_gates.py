"""`gate`: in its time, with its job, carried over, waived; gates side by side in `staging`."""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from pilotage.domain.assets import AssetRef
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.domain.waivers import WaiverRecord
from pilotage.errors import Throttled
from pilotage.gates import catalogue
from pilotage.ports import JobSpec, ProgramSpec
from tests.support.fakes import Asset
from tests.support.scene import DEV, STAGING_ENDPOINT, STG, Scene, everything_replays, policy

SMOKE = {"smoke": {"samples": "azureml:requests@latest"}}
METRIC = {"metric": {"metric": "mae", "holdout": "azureml:holdout@latest", "target": "y", "max": 0.5, "min_rows": 10}}
CUSTOM = {"custom": {"name": "energy", "component": "azureml:measure@latest", "metric": "joules", "max": 5,
                     "inputs": {"rows": "azureml:holdout@latest"}}}


def _scene(*gates: dict[str, Any], **stage: Any) -> Scene:
    scene = Scene(policy(**{"stages.0.gates": list(gates), **{f"stages.0.{name}": value for name, value in stage.items()}}))
    scene.azure.put("components", AssetRef(name="measure", version="1", workspace=DEV), Asset())
    scene.register("1")
    return scene


def _results(scene: Scene, promotion: str) -> dict[str, GateResult]:
    return {result["gate"]: GateResult.model_validate(result) for result in scene.last(promotion, "staging.gates")["results"]}


def _writes(**metrics: float) -> Any:
    return lambda spec: {"result.json": json.dumps(metrics).encode()}


def _until_staged(scene: Scene, promotion: str) -> None:
    scene.hub.run(lambda: any(entry.step == "staging.gates" for entry in scene.entries(promotion)))


def test_a_gate_that_needs_a_job_waits_for_it_without_running() -> None:
    scene = _scene(SMOKE, CUSTOM)
    scene.azure.job_writes = _writes(joules=3.5)
    scene.azure.pace.job = timedelta(minutes=50)
    promotion = scene.promote("1")
    found = _results(scene, promotion)
    assert {name: result.outcome for name, result in found.items()} == {"smoke": "passed", "custom:energy": "passed"}
    jobs = [job.spec for job in scene.azure._jobs.values()]
    assert len(jobs) == 1
    assert isinstance(jobs[0], JobSpec)
    assert jobs[0].component == AssetRef(name="measure", version="1", workspace=DEV), "the component is pinned"
    assert jobs[0].inputs["rows"].endswith("/data/holdout/versions/1")
    assert jobs[0].tags["pilotage-promotion"] == promotion
    everything_replays(scene)


def test_a_lost_answer_to_the_submission_starts_no_second_job() -> None:
    scene = _scene(CUSTOM)
    scene.azure.job_writes = _writes(joules=3.5)
    scene.azure.fail("begin", Throttled("429"), times=2, after=True)
    scene.promote("1")
    assert len(scene.azure._jobs) == 1


@pytest.mark.parametrize(("joules", "outcome"), [(5.0, "succeeded"), (5.1, "failed")])
def test_a_jobs_metric_is_judged_by_its_limit(joules: float, outcome: str) -> None:
    scene = _scene(CUSTOM)
    scene.azure.job_writes = _writes(joules=joules)
    promotion = scene.start("1")
    scene.finish(promotion)
    assert scene.phase(promotion) == outcome


def test_a_job_that_takes_longer_than_the_gates_time_is_cancelled() -> None:
    scene = _scene(SMOKE, {"custom": CUSTOM["custom"] | {"timeout": "PT30M"}})
    scene.azure.pace.job = timedelta(hours=5)
    promotion = scene.start("1")
    scene.hub.run()
    assert scene.phase(promotion) == "errored"
    found = _results(scene, promotion)
    assert found["smoke"].outcome is GateOutcome.PASSED
    assert "longer than its timeout of PT30M" in found["custom:energy"].message
    assert [change[0] for change in scene.azure.changes].count("cancel") == 1
    assert scene.azure.standing(STG, STAGING_ENDPOINT) == []
    everything_replays(scene)


def test_an_outage_that_outlasts_the_gates_time_is_not_the_models_fault() -> None:
    scene = _scene({"smoke": SMOKE["smoke"] | {"timeout": "PT10S"}})
    scene.azure.fail("score", Throttled("429"), times=1000)
    promotion = scene.start("1")
    scene.hub.run()
    assert scene.phase(promotion) == "errored"
    assert "longer than its timeout of PT10S" in scene.row(promotion).message


def test_what_only_warns_stops_nothing_and_is_told() -> None:
    scene = _scene(SMOKE, {"metric": METRIC["metric"] | {"max": 0.0001, "severity": "warn"}})
    scene.register("1", Asset(predict=lambda row: 2.1 * row["x"]))
    promotion = scene.start("1")
    scene.finish(promotion)
    assert scene.phase(promotion) == "succeeded"
    found = _results(scene, promotion)["metric:mae"]
    assert (found.outcome, found.severity) == (GateOutcome.FAILED, "warn")


def test_with_fail_fast_the_first_failure_ends_the_wait_and_the_jobs() -> None:
    scene = _scene(CUSTOM, METRIC, fail_fast=True)
    scene.azure.pace.job = timedelta(hours=1)
    scene.register("1", Asset(predict=lambda row: 0))
    promotion = scene.start("1")
    scene.hub.run(lambda: scene.phase(promotion) == "failed")
    found = _results(scene, promotion)
    assert found["metric:mae"].outcome is GateOutcome.FAILED
    assert "stopped, because another gate had failed" in found["custom:energy"].message
    assert "cancel" in [change[0] for change in scene.azure.changes]
    assert scene.azure.standing(STG, STAGING_ENDPOINT) == []


def test_a_load_test_has_the_deployment_to_itself() -> None:
    """Otherwise it would measure the other gates' requests, and they its load."""
    scene = _scene({"performance": {"samples": "azureml:requests@latest", "p95_ms": 100}}, CUSTOM, SMOKE)
    scene.azure.job_writes = _writes(joules=1)
    promotion = scene.start("1")
    scene.hub.run(lambda: scene.phase(promotion) in ("planning", "failed", "errored", "inconclusive"))
    order = [work.input["name"] for work in scene.hub.executed if work.name in ("begin_gate", "finish_gate")]
    assert order.index("performance") > max(place for place, name in enumerate(order) if name != "performance")
    assert list(_results(scene, promotion)) == ["performance", "custom:energy", "smoke"], "told in the policy's order"


def test_without_fail_fast_every_verdict_is_told() -> None:
    scene = _scene(CUSTOM, METRIC)
    scene.azure.job_writes = _writes(joules=9)
    scene.register("1", Asset(predict=lambda row: 0))
    promotion = scene.start("1")
    scene.hub.run()
    assert {name: result.outcome for name, result in _results(scene, promotion).items()} == {
        "custom:energy": "failed", "metric:mae": "failed"}


def test_equal_measurements_are_carried_over_and_marked_so() -> None:
    scene = _scene(SMOKE, METRIC)
    scene.register("1", Asset(files={"model.pkl": b"same bytes"}))
    scene.register("2", Asset(files={"model.pkl": b"same bytes"}))
    first = scene.start("1")
    scene.finish(first)
    asked = Counter(work.name for work in scene.hub.executed)
    second = scene.start("2")
    _until_staged(scene, second)
    found = _results(scene, second)
    assert {result.carried_from for result in found.values()} == {first}
    assert {result.report for result in found.values()} == {result.report for result in _results(scene, first).values()}
    assert Counter(work.name for work in scene.hub.executed)["begin_gate"] == asked["begin_gate"] + 2


@pytest.mark.parametrize("change", ["bytes", "threshold", "holdout"])
def test_anything_that_differs_is_measured_anew(change: str) -> None:
    scene = _scene(METRIC)
    scene.register("1", Asset(files={"model.pkl": b"same bytes"}))
    scene.register("2", Asset(files={"model.pkl": b"other bytes" if change == "bytes" else b"same bytes"}))
    scene.finish(scene.start("1"))
    rules = policy(**{"stages.0.gates": [{"metric": METRIC["metric"] | ({"max": 0.6} if change == "threshold" else {})}]})
    if change == "holdout":
        rows = "\n".join(["x,y", *(f"{n},{2 * n}" for n in range(30))]).encode()
        scene.azure.put("data", AssetRef(name="holdout", version="2", workspace=DEV), Asset(files={"holdout.csv": rows}))
    second = scene.start("2", rules=rules)
    _until_staged(scene, second)
    assert _results(scene, second)["metric:mae"].carried_from == ""


def test_equal_files_with_another_card_are_looked_at_anew() -> None:
    """Version 2 lost its licence: the first one's pass is not its own."""
    scene = _scene({"security": {"require_pins": False, "licences": ["MIT"]}})
    outcomes = []
    for version, tags in (("1", {"license": "MIT"}), ("2", {})):
        scene.register(version, Asset(files={"weights.txt": b"same bytes"}, tags=tags))
        promotion = scene.start(version)
        _until_staged(scene, promotion)
        outcomes.append(_results(scene, promotion)["security"].outcome.value)
    assert outcomes == ["passed", "failed"]


def test_fresh_data_is_not_fresh_for_ever() -> None:
    scene = _scene({"data_quality": {"data_asset": "azureml:dated@latest", "min_rows": 1,
                                     "freshness": {"column": "day", "max_age": "P2D"}}})
    rows = f"day,x\n{scene.clock.now():%Y-%m-%d},1\n".encode()
    scene.azure.put("data", AssetRef(name="dated", version="1", workspace=DEV), Asset(files={"rows.csv": rows}))
    outcomes = []
    for version in ("1", "2"):
        scene.register(version, Asset(files={"model.pkl": b"same bytes"}))
        promotion = scene.start(version)
        _until_staged(scene, promotion)
        outcomes.append(_results(scene, promotion)["data_quality"].outcome.value)
        scene.clock.advance(timedelta(days=5))
    assert outcomes == ["passed", "failed"]


def test_what_was_not_settled_is_measured_again() -> None:
    scene = _scene({"metric": METRIC["metric"] | {"min_rows": 100}})
    for version in ("1", "2"):
        scene.register(version, Asset(files={"model.pkl": b"same bytes"}))
        promotion = scene.start(version)
        scene.hub.run()
        assert scene.phase(promotion) == "inconclusive"
        assert _results(scene, promotion)["metric:mae"].carried_from == ""


def test_evidence_that_was_changed_in_storage_is_measured_anew() -> None:
    scene = _scene(METRIC)
    scene.register("1", Asset(files={"model.pkl": b"same bytes"}))
    scene.register("2", Asset(files={"model.pkl": b"same bytes"}))
    first = scene.start("1")
    scene.finish(first)
    name = f"evidence/gates/{_results(scene, first)['metric:mae'].report.removeprefix('sha256:')}.json"
    scene.records.contents[name] = scene.records.contents[name].replace(b'"value":0.0', b'"value":0.1')
    second = scene.start("2")
    _until_staged(scene, second)
    assert _results(scene, second)["metric:mae"].carried_from == ""


class _Biased:
    """A gate of a kind that can be waived, which always fails."""

    kind, version, compares = "responsible_ai", "1", False

    @property
    def spec(self) -> Any:
        from pilotage.domain.gate_specs import ResponsibleAiGate

        return ResponsibleAiGate

    def begin(self, trial: Any, spec: Any) -> GateResult:
        return GateResult(gate="responsible_ai", outcome=GateOutcome.FAILED, message="mae of JFK is 2 times that of all rows")


RESPONSIBLE = {"responsible_ai": {"sensitive": ["x"], "metric": "mae", "holdout": "azureml:holdout@latest", "target": "y",
                                  "max_ratio": 1.5}}


@pytest.mark.parametrize(("approver", "days", "phase"), [
    ("oid-grace", 10, "succeeded"), ("oid-ada", 10, "failed"), ("oid-grace", -1, "failed")])
def test_a_retry_under_a_waiver_goes_on_with_it_on_record(monkeypatch: pytest.MonkeyPatch, approver: str, days: int, phase: str) -> None:
    monkeypatch.setattr("pilotage.gates.measuring.find", lambda kind, spec: (
        (_Biased(), _Biased().spec.model_validate(spec)) if kind == "responsible_ai" else catalogue.find(kind, spec)))
    scene = _scene(RESPONSIBLE)
    first = scene.start("1")
    scene.hub.run()
    assert scene.phase(first) == "failed"
    now = scene.clock.now()
    scene.ledger.waivers.give(WaiverRecord(
        id="w1", policy="air-time", model="air-time", version="1", gate="responsible_ai", approver=approver, groups=["ml-leads"],
        reason="known and accepted", given_at=now.isoformat(), expires=(now + timedelta(days=days)).isoformat()))
    again = scene.intake.again(scene.row(first), "oid-olive")
    scene.intake.start(again)
    scene.finish(again.id)
    assert scene.phase(again.id) == phase
    found = _results(scene, again.id)["responsible_ai"]
    assert found.carried_from == first
    assert (found.waived is not None) == (phase == "succeeded")


def test_a_program_runs_in_the_candidates_own_environment() -> None:
    scene = _scene({"contract": {"samples": "azureml:requests@latest"}})
    scene.register("1", Asset(files={"model.pkl": b"x", "MLmodel": (
        b"flavors: {}\nsignature:\n  inputs: '[{\"name\": \"x\", \"type\": \"long\", \"required\": true}]'\n"
        b"  outputs: '[{\"type\": \"double\", \"required\": true}]'\n")}))
    promotion = scene.start("1")
    scene.hub.run()
    specs = [job.spec for job in scene.azure._jobs.values()]
    assert len(specs) == 1
    assert isinstance(specs[0], ProgramSpec)
    assert specs[0].environment is not None
    assert specs[0].environment.startswith("azureml://registries/shared-registry/environments/air-time-env")
    assert scene.phase(promotion) == "errored", "a job that writes nothing proves nothing"
