"""`drift`, `retraining` and `sweep`: the loop back, and what takes away what is left."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from pilotage.domain.drift import DriftAlert, PastRun
from pilotage.domain.names import endpoint_key, incident_id
from pilotage.domain.passport import verify_chain
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.rollout import normal
from pilotage.messages import DriftRequest, Retained, SweepRequest
from pilotage.ports import JobSpec
from tests.support.stage import Stage, policy

KEY = endpoint_key("prod", "line")


def _incident(stage: Stage, number: str = "a") -> str:
    """An incident as intake opens it."""
    alert = DriftAlert(source="custom", key=number, endpoint="line", signal="data_drift", raised_at=stage.now())
    incident, opened = stage.ledger.incidents.alert("line", KEY, alert)
    assert opened
    wire = stage.rules.wire()
    return stage.start("drift", incident, DriftRequest(
        id=incident, policy=wire, policy_hash="sha256:0", alert=alert, opened_at=stage.now(), endpoint_key=KEY).wire())


def _promotes(stage: Stage) -> None:
    """The training job registers a version whose event starts its promotion."""

    def registered(spec: JobSpec) -> None:
        stage.world.register(version="2", **{"pilotage.case": spec.inputs["case"]})
        stage.promote("2")

    stage.world.on_job = registered


def test_an_incident_retrains_and_sees_the_new_version_promoted(stage: Stage) -> None:
    _promotes(stage)
    incident = _incident(stage)
    result = stage.ended(incident)
    assert result["outcome"] == "retrained", result
    assert [effect for effect in stage.world.effects if effect.startswith("job")] == [f"job retrain-{incident}-1"]
    entries = stage.ledger.passports.entries(incident)
    assert verify_chain(entries) == []
    steps = [f"{entry.kind} {entry.step}" for entry in entries]
    assert steps.index("intent retraining.job") < steps.index("outcome retraining.job")
    alert = DriftAlert(source="custom", key="later", endpoint="line")
    assert stage.ledger.incidents.alert("line", KEY, alert) == (incident_id("line", KEY, 2), True), "the incident is closed"


@pytest.mark.parametrize("lost", ["begin_job", "record_run", "pin_retraining", "close_incident", "record_entry"])
def test_lost_answers_start_no_second_job(stage: Stage, lost: str) -> None:
    _promotes(stage)
    stage.lost_answers = {lost}
    incident = _incident(stage)
    assert stage.ended(incident)["outcome"] == "retrained"
    assert sum(effect.startswith("job") for effect in stage.world.effects) == 1
    assert len(stage.ledger.incidents.runs("line", KEY)) == 1


def test_cooling_down_suppresses(stage: Stage) -> None:
    stage.ledger.incidents.record_run("line", KEY, PastRun(incident="earlier", started_at=stage.now()))
    result = stage.ended(_incident(stage))
    assert result["outcome"] == "suppressed"
    assert "cooling down" in result["message"]
    assert stage.world.effects == []


def test_a_policy_that_wants_people_tells_them(stage: Stage) -> None:
    stage.rules = policy(on_drift={"action": "notify"})
    incident = _incident(stage)
    assert stage.ended(incident)["outcome"] == "notified"
    assert stage.world.effects == []
    assert [message.promotion for message in stage.notifier.sent] == [incident]


def test_a_job_that_fails_is_said_plainly(stage: Stage) -> None:
    stage.world.job_ends = "Failed"
    result = stage.ended(_incident(stage))
    assert result["outcome"] == "errored"
    assert "ended Failed" in result["message"]
    assert stage.notifier.sent[-1].kind == "drift_errored"


def test_a_job_that_never_ends_is_canceled(stage: Stage) -> None:
    stage.rules = policy(on_drift={"action": "retrain", "job": "azureml:train@latest", "timeout": "PT30M"})
    stage.world.job_ends = "Running"
    result = stage.ended(_incident(stage))
    assert result["outcome"] == "errored"
    assert any(effect.startswith("cancel") for effect in stage.world.effects)


def test_a_loop_that_breaks_after_the_training_is_seen(stage: Stage) -> None:
    result = stage.ended(_incident(stage))
    assert result["outcome"] == "errored"
    assert "no promotion of its model started" in result["message"]


def _sweep(stage: Stage, *terminated: str) -> dict[str, Any]:
    name = f"sweep-{uuid.uuid4()}"
    return stage.ended(stage.start("sweep", name, SweepRequest(id=name, at=stage.now(), terminated=list(terminated)).wire()))


def test_a_promotion_terminated_in_its_rollout_is_rolled_back_and_swept(stage: Stage) -> None:
    stage.live("1")
    before = normal(stage.world.endpoints_["prod", "line"])
    stage.world.register(version="2")
    promotion = stage.promote("2")
    stage.vote(promotion)
    stage.until(lambda: True if len(normal(stage.world.endpoints_["prod", "line"])) == 2 else None, time_passes=False)
    stage.client.terminate_orchestration(promotion, recursive=True)
    stage.until(lambda: True if stage.client.get_orchestration_state(promotion).runtime_status.name == "TERMINATED" else None)  # type: ignore[union-attr]
    assert _sweep(stage, promotion)["reaped"] == [promotion]
    assert normal(stage.world.endpoints_["prod", "line"]) == before
    row = stage.ledger.promotions.get(promotion)
    assert row is not None
    assert row.phase == PromotionPhase.ROLLED_BACK


def test_what_is_kept_goes_when_its_time_is_over_and_not_before(stage: Stage) -> None:
    first = stage.ledger.promotions.get(stage.live("1"))
    stage.live("2")
    assert first is not None
    assert _sweep(stage)["removed"] == []
    owner = stage.ledger.endpoints.acquire("prod", "line", "test", "line", "3", lambda _: False)
    stage.ledger.endpoints.release("prod", "line", "test", owner.epoch, owner.live,
                                   [Retained(deployment=first.deployment, until="2000-01-01T00:00:00+00:00")])
    assert [item["name"] for item in _sweep(stage)["removed"]] == [first.deployment]
    row = stage.ledger.endpoints.get("prod", "line")
    assert row is not None
    assert row.retained == []


def test_a_candidate_whose_promotion_is_over_is_an_orphan(stage: Stage) -> None:
    stage.world.register()
    stage.world.before["delete"] = lambda: (_ for _ in ()).throw(PermissionError("no"))  # teardown can't
    promotion = stage.promote()
    stage.vote(promotion)
    assert stage.ended(promotion)["phase"] == "succeeded"
    left = [d.name for d in stage.world.deployments("stg", "line-stg")]
    assert len(left) == 1
    stage.world.before.clear()
    assert [item["name"] for item in _sweep(stage)["removed"]] == left
    assert stage.world.deployments("stg", "line-stg") == []
