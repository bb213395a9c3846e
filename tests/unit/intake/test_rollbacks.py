from __future__ import annotations

from typing import Any

import pytest

from pilotage.domain.passport import Entry
from pilotage.domain.phase import PromotionPhase
from pilotage.errors import Conflict, Unavailable
from pilotage.intake import Outcome
from pilotage.messages import ROLLBACK_EVENT, LiveModel, PromotionRow, RollbackRequest
from tests.support.desk import Desk

FIRST, SECOND = "promote-air-time-1-abc-1", "promote-air-time-2-abc-1"


@pytest.fixture
def desk() -> Desk:
    return Desk()


def serve(desk: Desk, promotion: str, version: str = "1") -> PromotionRow:
    """A promotion that has succeeded, and serves."""
    row = desk.promotion(PromotionPhase.SUCCEEDED, id=promotion, version=version)
    got = desk.ledger.endpoints.acquire("mlw-prod", "air-time", promotion, "air-time", version, lambda _: True)
    desk.ledger.endpoints.release("mlw-prod", "air-time", promotion, got.epoch, LiveModel(
        promotion=promotion, model="air-time", version=version, deployment=f"v{version}"), [])
    desk.ledger.last_good.record(promotion, {"traffic": {}})
    return row


def ended(desk: Desk, rollback: str, *, restored: bool) -> None:
    desk.orchestrator.states[rollback] = "COMPLETED"
    desk.ledger.passports.append(Entry(passport=rollback, sequence=0, at="2026-01-05T09:00:00+00:00", kind="outcome", step="rollback",
                                       phase="rolled_back", data={"restored": restored}))


def ask(desk: Desk, row: PromotionRow, **more: Any) -> tuple[str, Outcome]:
    item = desk.intake().rollback(row, "customers complain", "oid-olive", **more)
    return item.id, item.outcome


def test_a_rollback_starts_at_once_and_wakes_the_rollout(desk: Desk) -> None:
    row = serve(desk, FIRST)
    assert ask(desk, row) == (f"rollback-{FIRST}-1", Outcome.STARTED)
    ((orchestration, message),) = desk.orchestrator.instances.values()
    wanted = RollbackRequest.read(message)
    assert (orchestration, wanted.promotion, wanted.workspace, wanted.endpoint) == ("rollback", FIRST, "mlw-prod", "air-time")
    assert (wanted.reason, wanted.actor) == ("customers complain", "oid-olive")
    assert desk.orchestrator.raised == [(f"{FIRST}:rollout", ROLLBACK_EVENT, {"id": f"rollback-{FIRST}-1"})]


def test_asking_twice_is_one_rollback_while_it_runs_and_after_it_has_restored(desk: Desk) -> None:
    row = serve(desk, FIRST)
    ask(desk, row)
    assert ask(desk, row) == (f"rollback-{FIRST}-1", Outcome.ALREADY_STARTED)
    ended(desk, f"rollback-{FIRST}-1", restored=True)
    assert ask(desk, row) == (f"rollback-{FIRST}-1", Outcome.ALREADY_STARTED)
    assert ask(desk, row, force=True) == (f"rollback-{FIRST}-2", Outcome.STARTED)


@pytest.mark.parametrize("state", ["FAILED", "TERMINATED"])
def test_a_rollback_that_died_is_asked_for_again(desk: Desk, state: str) -> None:
    row = serve(desk, FIRST)
    ask(desk, row)
    desk.orchestrator.states[f"rollback-{FIRST}-1"] = state
    assert ask(desk, row) == (f"rollback-{FIRST}-2", Outcome.STARTED)


def test_a_rollback_that_did_not_hold_is_asked_for_again(desk: Desk) -> None:
    row = serve(desk, FIRST)
    ask(desk, row)
    ended(desk, f"rollback-{FIRST}-1", restored=False)
    assert ask(desk, row) == (f"rollback-{FIRST}-2", Outcome.STARTED)


def test_a_rollback_whose_start_was_lost_is_made_good(desk: Desk) -> None:
    row = serve(desk, FIRST)

    def unavailable(_: str) -> None:
        raise Unavailable

    desk.orchestrator.on_start = unavailable
    with pytest.raises(Unavailable):
        ask(desk, row)
    desk.orchestrator.on_start = None
    assert ask(desk, row) == (f"rollback-{FIRST}-1", Outcome.STARTED)


@pytest.mark.parametrize("phase", [phase for phase in PromotionPhase if not phase.touches_production])
def test_what_has_not_changed_production_has_nothing_to_roll_back(desk: Desk, phase: PromotionPhase) -> None:
    with pytest.raises(Conflict, match="has not changed production"):
        ask(desk, desk.promotion(phase))


@pytest.mark.parametrize("phase", [phase for phase in PromotionPhase if phase.touches_production])
def test_a_rollback_is_never_blocked(desk: Desk, phase: PromotionPhase) -> None:
    assert ask(desk, desk.promotion(phase))[1] is Outcome.STARTED


def test_under_a_later_promotion_the_later_one_is_named(desk: Desk) -> None:
    first = serve(desk, FIRST)
    serve(desk, SECOND, "2")
    with pytest.raises(Conflict, match=f"{SECOND} does: roll that one back, or send force"):
        ask(desk, first)
    assert ask(desk, first, force=True)[1] is Outcome.STARTED


def test_under_a_rollout_that_may_have_moved_traffic_that_one_is_named(desk: Desk) -> None:
    first = serve(desk, FIRST)
    desk.promotion(PromotionPhase.ROLLING_OUT, id=SECOND, version="2")
    desk.ledger.endpoints.acquire("mlw-prod", "air-time", SECOND, "air-time", "2", lambda _: False)
    assert ask(desk, first)[1] is Outcome.STARTED  # it has only begun, and the raised epoch stops it
    desk.orchestrator.states[f"rollback-{FIRST}-1"] = "FAILED"
    desk.ledger.last_good.record(SECOND, {"traffic": {"v1": 100}})
    with pytest.raises(Conflict, match=f"{SECOND} does"):
        ask(desk, first)


def test_a_rollout_that_cannot_be_woken_is_stopped_by_the_epoch_alone(desk: Desk) -> None:
    row = serve(desk, FIRST)

    def unavailable(*_: Any) -> None:
        raise Unavailable

    desk.orchestrator.raise_event = unavailable  # type: ignore[method-assign]
    assert ask(desk, row)[1] is Outcome.STARTED
