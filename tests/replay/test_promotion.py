"""`promotion` with `staging`, `approval` and `rollout`: every way it can end, on durabletask's worker."""

from __future__ import annotations

import pytest

from activities.names import Activity
from pilotage.domain.passport import verify_chain
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.rollout import normal
from pilotage.errors import Throttled, Unavailable
from pilotage.messages import ROLLBACK_EVENT, RollbackRequest
from tests.support.stage import Stage, policy
from tests.support.world import failing


def _traffic(stage: Stage) -> dict[str, int]:
    return normal(stage.world.endpoints_.get(("prod", "line"), {}))


def _left_in_staging(stage: Stage) -> list[str]:
    return [d.name for d in stage.world.deployments("stg", "line-stg")]


def _evidence(stage: Stage, promotion: str) -> list[str]:
    """The entries as `kind step`, after checking that they are whole."""
    entries = stage.ledger.passports.entries(promotion)
    assert verify_chain(entries) == []
    row = stage.ledger.promotions.get(promotion)
    assert row is not None
    assert row.phase == entries[-1].phase
    return [f"{entry.kind} {entry.step}" for entry in entries]


def test_a_good_version_goes_live(stage: Stage) -> None:
    promotion = stage.live()
    steps = _evidence(stage, promotion)
    row = stage.ledger.promotions.get(promotion)
    assert row is not None
    assert _traffic(stage) == {row.deployment: 100}
    assert _left_in_staging(stage) == []
    for effect in ("share.models", "staging.deploy", "rollout.deploy", "rollout.traffic"):
        assert steps.index(f"intent {effect}") < steps.index(f"outcome {effect}")
    assert steps.index("outcome rollout.last_good") < steps.index("intent rollout.traffic")
    owner = stage.ledger.endpoints.get("prod", "line")
    assert owner is not None
    assert owner.owner is None
    assert owner.live is not None
    assert owner.live.promotion == promotion


def test_the_second_version_goes_beside_the_first_which_is_kept(stage: Stage) -> None:
    first = stage.ledger.promotions.get(stage.live("1"))
    second = stage.ledger.promotions.get(stage.live("2"))
    assert first is not None
    assert second is not None
    assert _traffic(stage) == {second.deployment: 100}
    traffic = [effect for effect in stage.world.effects if effect.startswith("traffic line ")]
    assert traffic[1] == f"traffic line {{'{first.deployment}': 90, '{second.deployment}': 10}}"
    row = stage.ledger.endpoints.get("prod", "line")
    assert row is not None
    assert [kept.deployment for kept in row.retained] == [first.deployment]


def test_a_version_that_cannot_be_read_yet_is_read_again(stage: Stage) -> None:
    promotion = stage.promote()

    def appear() -> bool | None:
        if stage.clock.offset_seconds > 3:
            stage.world.register()
        return True if stage.ledger.approvals.current(promotion) else None

    stage.until(appear)
    stage.vote(promotion)
    assert stage.ended(promotion)["phase"] == "succeeded"


def test_a_version_that_never_appears_errs_after_a_bounded_number_of_looks(stage: Stage) -> None:
    promotion = stage.promote()
    result = stage.ended(promotion)
    assert result["phase"] == "errored"
    assert "NotFound" in result["message"]
    assert stage.world.effects == []


def test_tags_are_matched_on_the_model_as_read(stage: Stage) -> None:
    stage.world.register(candidate="no")
    result = stage.ended(stage.promote())
    assert result["phase"] == "skipped"
    assert "candidate=true (found no)" in result["message"]


def test_a_copy_that_is_not_its_source_stops_everything(stage: Stage) -> None:
    stage.world.register()
    stage.world.broken_copies = True
    result = stage.ended(stage.promote())
    assert result["phase"] == "errored"
    assert "is not the copy" in result["message"]
    assert not any(effect.startswith("deploy") for effect in stage.world.effects)


@pytest.mark.parametrize(("answer", "phase", "says"), [
    ((200, [5.0, 5.0]), "failed", "mae"),
    ((424, "boom"), "failed", "424"),
    ((200, "no list"), "failed", "list"),
])
def test_a_gate_that_does_not_pass_ends_it_and_staging_is_taken_down(
    stage: Stage, answer: tuple[int, object], phase: str, says: str
) -> None:
    stage.world.register()
    stage.world.answer = lambda endpoint, rows: (answer[0], [5.0] * rows if isinstance(answer[1], list) else answer[1])
    promotion = stage.promote()
    result = stage.ended(promotion)
    assert result["phase"] == phase
    assert says in result["message"]
    assert _left_in_staging(stage) == []
    assert ("prod", "line") not in stage.world.endpoints_
    assert "outcome staging.teardown" in _evidence(stage, promotion)


def test_too_few_rows_are_inconclusive(stage: Stage) -> None:
    stage.rules = policy(stages=[
        {"name": "staging", "workspace": "stg", "target": {"endpoint": "line-stg"},
         "gates": [{"metric": {"metric": "mae", "holdout": "azureml:holdout@latest", "target": "y", "max": 1, "min_rows": 1000}}]},
        policy().production.model_dump(mode="python", by_alias=True, exclude_none=True)])
    stage.world.register()
    assert stage.ended(stage.promote())["phase"] == "inconclusive"


def test_a_gate_that_errs_does_not_hide_the_other(stage: Stage) -> None:
    stage.rules = policy(stages=[
        {"name": "staging", "workspace": "stg", "target": {"endpoint": "line-stg"},
         "gates": [{"metric": {"metric": "mae", "holdout": "azureml:holdout@latest", "target": "nowhere", "max": 1}},
                   {"smoke": {"samples": "azureml:requests@latest"}}]},
        policy().production.model_dump(mode="python", by_alias=True, exclude_none=True)])
    stage.world.register()
    promotion = stage.promote()
    assert stage.ended(promotion)["phase"] == "errored"
    gates = next(e for e in stage.ledger.passports.entries(promotion) if e.step == "staging.gates").data["results"]
    assert [gate["outcome"] for gate in gates] == ["errored", "passed"]


def test_a_candidate_that_does_not_start_is_the_models_fault(stage: Stage) -> None:
    stage.world.register()
    stage.world.broken_deployments.add("line-stg")
    result = stage.ended(stage.promote())
    assert result["phase"] == "failed"
    assert "its log" in result["message"]
    assert _left_in_staging(stage) == []


def test_throttling_and_outages_delay_and_lost_answers_change_nothing(stage: Stage) -> None:
    stage.world.before = {"deploy": failing(Throttled(), 3), "traffic": failing(Unavailable(), 2), "share": failing(Unavailable())}
    stage.lost_answers = {"begin_deployment", "begin_share", "begin_traffic", "record_last_good", "record_entry", "open_approval",
                          "acquire_endpoint", "release_endpoint", "begin_delete_deployment", "begin_gate", "run_check", "tally_votes"}
    promotion = stage.live()
    _evidence(stage, promotion)
    assert stage.lost_answers == set(), "each of them was lost once"
    assert sum(effect.startswith("deploy line ") for effect in stage.world.effects) == 1
    assert sum(effect.startswith("share") for effect in stage.world.effects) == 1


def test_a_rejection_ends_it_with_its_reason(stage: Stage) -> None:
    stage.world.register()
    promotion = stage.promote()
    stage.vote(promotion, decision="reject", reason="not on a Friday")
    result = stage.ended(promotion)
    assert result["phase"] == "rejected"
    assert "not on a Friday" in result["message"]
    assert ("prod", "line") not in stage.world.endpoints_


def test_the_registrants_vote_does_not_count_and_the_time_runs_out(stage: Stage) -> None:
    stage.world.register()
    promotion = stage.promote()
    stage.vote(promotion, voter="oid-ada")
    assert stage.ended(promotion)["phase"] == "expired"


def test_a_submitter_who_cannot_be_resolved_lets_nobody_approve(stage: Stage) -> None:
    stage.world.submitters_ = [stage.world.submitters_[0].model_copy(update={"object_id": None})]
    stage.world.register()
    promotion = stage.promote()
    stage.vote(promotion)
    assert stage.ended(promotion)["phase"] == "expired"


def test_a_vote_whose_wake_up_was_lost_counts_at_expiry(stage: Stage) -> None:
    stage.world.register()
    promotion = stage.promote()
    stage.awaits(promotion)
    stage.client.raise_orchestration_event = lambda *a, **k: None  # type: ignore[method-assign]
    stage.vote(promotion)
    assert stage.ended(promotion)["phase"] == "succeeded"


def test_a_channel_that_is_down_holds_no_vote_up_and_the_link_is_nowhere(stage: Stage) -> None:
    stage.world.register()
    promotion = stage.promote()
    stage.until(lambda: stage.notifier.sent or None)
    stage.vote(promotion)
    assert stage.ended(promotion)["phase"] == "succeeded"
    token = stage.notifier.sent[0].link_token
    assert token
    histories = "".join(str(e) for e in stage.client.get_orchestration_history(promotion))
    assert token not in histories
    assert not any(token.encode() in content for content in stage.records.contents.values())


def test_production_that_changed_since_the_plan_is_asked_about_anew(stage: Stage) -> None:
    stage.live("1")
    stage.world.register(version="2")
    promotion = stage.promote("2")
    stage.awaits(promotion)
    stage.world.endpoints_["prod", "line"] = {}
    stage.vote(promotion)
    asked = stage.until(lambda: found if (found := stage.ledger.approvals.current(promotion)).round == 2 else None)
    assert any("prior" in text for text in asked.changed)
    assert not any(effect.startswith("deploy line v2") for effect in stage.world.effects)


def test_a_version_older_than_the_live_one_is_held(stage: Stage) -> None:
    stage.live("10")
    stage.world.register(version="9")
    promotion = stage.promote("9")
    stage.vote(promotion)
    assert stage.ended(promotion)["phase"] == "held"


def test_one_rollout_an_endpoint_the_next_one_queues(stage: Stage) -> None:
    stage.ledger.endpoints.acquire("prod", "line", "somebody", "other", "1", lambda owner: False)
    stage.world.register()
    promotion = stage.promote()
    stage.vote(promotion)

    def queued() -> bool | None:
        row = stage.ledger.promotions.get(promotion)
        return True if row is not None and row.phase == PromotionPhase.QUEUED else None

    stage.until(queued, time_passes=False)
    owner = stage.ledger.endpoints.get("prod", "line")
    assert owner is not None
    stage.ledger.endpoints.release("prod", "line", "somebody", owner.epoch, None, [])
    assert stage.ended(promotion)["phase"] == "succeeded"


def test_green_that_fails_its_check_before_traffic_is_withdrawn(stage: Stage) -> None:
    stage.world.register()
    stage.world.answer = lambda endpoint, rows: (200, [1.0] * rows) if endpoint == "line-stg" else (424, "boom")
    promotion = stage.promote()
    stage.vote(promotion)
    result = stage.ended(promotion)
    assert result["phase"] == "failed"
    assert stage.world.deployments("prod", "line") == []
    assert not any(effect.startswith("traffic line ") for effect in stage.world.effects)
    row = stage.ledger.endpoints.get("prod", "line")
    assert row is not None
    assert row.owner is None


def test_a_breach_after_traffic_restores_the_exact_split(stage: Stage) -> None:
    stage.live("1")
    before = _traffic(stage)
    stage.world.register(version="2")
    promotion = stage.promote("2")

    def breach() -> None:
        stage.world.before.pop("traffic")
        stage.world.answer = lambda endpoint, rows: (424, "boom")

    stage.awaits(promotion)
    stage.world.before["traffic"] = breach
    stage.vote(promotion)
    result = stage.ended(promotion)
    assert result["phase"] == "rolled_back"
    assert "traffic is back as it was" in result["message"]
    assert _traffic(stage) == before
    steps = _evidence(stage, promotion)
    assert steps.index("intent rollout.rollback") < steps.index("outcome rollout.rollback")


def test_a_rollback_during_a_bake_wins_and_the_rollout_stops(stage: Stage) -> None:
    first = stage.live("1")
    before = _traffic(stage)
    stage.world.register(version="2")
    promotion = stage.promote("2")
    stage.vote(promotion)
    stage.until(lambda: True if len(_traffic(stage)) == 2 else None, time_passes=False)
    rollback = stage.start("rollback", "rollback-1", RollbackRequest(
        id="rollback-1", promotion=promotion, workspace="prod", endpoint="line", reason="test", at=stage.now()).wire())
    stage.client.raise_orchestration_event(f"{promotion}:rollout", ROLLBACK_EVENT, data={})
    assert stage.ended(rollback)["restored"] is True
    assert stage.ended(promotion)["phase"] == "rolled_back"
    assert _traffic(stage) == before
    row = stage.ledger.endpoints.get("prod", "line")
    assert row is not None
    assert row.live is not None
    assert row.live.promotion == first


@pytest.mark.parametrize("activity", [a for a in Activity if a in (
    Activity.RAISE_EPOCH, Activity.BEGIN_TRAFFIC, Activity.MARK_ROLLED_BACK, Activity.RELEASE_ENDPOINT, Activity.RECORD_ENTRY)])
def test_a_rollback_survives_the_loss_of_any_answer(stage: Stage, activity: Activity) -> None:
    first = stage.ledger.promotions.get(stage.live("1"))
    second = stage.live("2")
    stage.lost_answers = {activity.value}
    rollback = stage.start("rollback", "rollback-1", RollbackRequest(
        id="rollback-1", promotion=second, workspace="prod", endpoint="line", reason="test", at=stage.now()).wire())
    assert stage.ended(rollback)["restored"] is True
    assert first is not None
    assert _traffic(stage) == {first.deployment: 100}


def test_a_rollback_redeploys_what_has_been_removed(stage: Stage) -> None:
    first = stage.ledger.promotions.get(stage.live("1"))
    second = stage.live("2")
    assert first is not None
    stage.world.begin_delete_deployment("prod", "line", first.deployment)
    rollback = stage.start("rollback", "rollback-1", RollbackRequest(
        id="rollback-1", promotion=second, workspace="prod", endpoint="line", reason="test", at=stage.now()).wire())
    assert stage.ended(rollback)["restored"] is True
    assert _traffic(stage) == {first.deployment: 100}


def test_rolling_back_a_first_deployment_means_no_traffic(stage: Stage) -> None:
    promotion = stage.live("1")
    rollback = stage.start("rollback", "rollback-1", RollbackRequest(
        id="rollback-1", promotion=promotion, workspace="prod", endpoint="line", reason="test", at=stage.now()).wire())
    assert stage.ended(rollback)["restored"] is True
    assert _traffic(stage) == {}
    row = stage.ledger.endpoints.get("prod", "line")
    assert row is not None
    assert row.live is None
