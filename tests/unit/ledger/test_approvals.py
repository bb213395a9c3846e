"""Requests and votes: records that are written once, and a wake-up call that is never lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from pilotage.domain.approval import Decision, Vote
from pilotage.domain.plan import Plan, PriorState
from pilotage.errors import Conflict
from pilotage.ledger import Ledger, Wake
from pilotage.messages import ApprovalRequest, Cursor
from tests.support.crashes import Stores, crash_points
from tests.support.interleaving import Turns, every_order
from tests.support.memory import Crash

PROMOTION = "promote-air-time-1-0a1b2c3d4e5f-1"


def _request(attempt: int = 1, share: int = 100, **changes: Any) -> ApprovalRequest:
    plan = Plan(
        promotion=PROMOTION, model="azureml://registries/r/models/m/versions/1", model_digest="sha256:00", environment=None,
        environment_definition="unpinned", workspace="mlw-prod", endpoint="air-time", deployment="v1-00", instance_type="s",
        instances=1, steps=[{"traffic": share, "for": "PT0S"}], keep_previous="P1D", approval="automatic", policy="p",
        policy_hash="sha256:01", evidence=[], prior=PriorState(exists=False))
    request = ApprovalRequest(promotion=PROMOTION, attempt=attempt, plan=plan, plan_hash=plan.hash, rule={"quorum": 1},
                              submitters=[], opened_at=f"2026-01-05T09:0{attempt}:00.000+00:00", expires_at="2026-01-08T09:00:00+00:00")
    return request.model_copy(update=changes)


def _vote(voter: str = "oid-grace", decision: Decision = Decision.APPROVE, **changes: Any) -> Vote:
    request = _request()
    return Vote(promotion=PROMOTION, stage="production", plan_hash=request.plan_hash, attempt=1, voter=voter, decision=decision,
                cast_at="2026-01-05T10:00:00.000+00:00").model_copy(update=changes)


def _votes(ledger: Ledger) -> list[Vote]:
    return ledger.approvals.votes(PROMOTION, "production", _request().plan_hash, 1)


def test_the_request_opened_last_is_the_current_one() -> None:
    ledger = Stores().ledger
    assert ledger.approvals.current(PROMOTION) is None
    for request in (_request(), _request(attempt=2, share=50), _request(attempt=10, share=20)):
        ledger.approvals.open(request)
    current = ledger.approvals.current(PROMOTION)
    assert current is not None
    assert current.attempt == 10
    assert ledger.approvals.current(PROMOTION, "staging") is None


def test_a_request_is_the_same_wherever_its_passport_stands() -> None:
    ledger = Stores().ledger
    ledger.approvals.open(_request(cursor=Cursor(sequence=7)))
    ledger.approvals.open(_request(cursor=Cursor(sequence=9)))
    assert ledger.approvals.current(PROMOTION) == _request()
    with pytest.raises(Conflict):
        ledger.approvals.open(_request(expires_at="2027-01-01T00:00:00+00:00"))


@pytest.mark.parametrize(("repeat", "expected"), [
    ({}, False),
    ({"cast_at": "2026-01-05T11:00:00.000+00:00"}, False),
    ({"groups": ["ml-leads"]}, False),
    ({"voter": "OID-GRACE"}, False),
    ({"decision": Decision.REJECT}, Conflict),
    ({"reason": "on second thoughts"}, Conflict),
    ({"voter": "oid-linus"}, True),
    ({"attempt": 2}, True),
    ({"plan_hash": "sha256:other"}, True),
    ({"stage": "staging"}, True),
])
def test_a_vote_is_final(repeat: dict[str, Any], expected: bool | type[Exception]) -> None:
    ledger = Stores().ledger
    assert ledger.approvals.vote(_vote()) is True
    if isinstance(expected, bool):
        assert ledger.approvals.vote(_vote(**repeat)) is expected
    else:
        with pytest.raises(expected):
            ledger.approvals.vote(_vote(**repeat))
    assert _vote() in _votes(ledger)


def test_only_votes_on_exactly_this_plan_are_given() -> None:
    ledger = Stores().ledger
    for vote in (_vote(), _vote("oid-linus", attempt=2), _vote("oid-ada", plan_hash="sha256:other")):
        ledger.approvals.vote(vote)
    assert _votes(ledger) == [_vote()]


def test_a_vote_waits_to_be_told_until_it_was() -> None:
    ledger = Stores().ledger
    ledger.approvals.vote(_vote())
    ledger.approvals.vote(_vote("oid-linus"))
    assert ledger.approvals.pending_wakes() == sorted([Wake.of(_vote()), Wake.of(_vote("oid-linus"))], key=lambda wake: wake.key)
    ledger.approvals.woken(_vote())
    assert ledger.approvals.pending_wakes() == [Wake.of(_vote("oid-linus"))]
    ledger.approvals.woken(Wake.of(_vote("oid-linus")))
    assert ledger.approvals.pending_wakes() == []


def test_a_vote_survives_a_crash_at_every_write() -> None:
    points = list(crash_points(lambda ledger: None, lambda ledger: ledger.approvals.vote(_vote())))
    assert len(points) == 4
    for where, stores in points:
        if _votes(stores.ledger):
            assert stores.ledger.approvals.pending_wakes() == [Wake.of(_vote())], f"{where}: recorded, and nobody would be woken"
        stores.ledger.approvals.vote(_vote(cast_at="2026-01-05T10:00:09.000+00:00"))
        assert [vote.voter for vote in _votes(stores.ledger)] == ["oid-grace"], where
        assert stores.ledger.approvals.pending_wakes() == [Wake.of(_vote())], where


def test_of_contrary_votes_at_once_one_holds() -> None:
    def attempt(turns: Turns, schedule: Sequence[int]) -> None:
        stores = Stores()
        ledger = Ledger(turns.watch(stores.records), stores.rows, stores.clock)
        ended = turns.run([lambda d=d: ledger.approvals.vote(_vote(decision=d)) for d in Decision], schedule)
        assert [type(end.error) for end in ended if end.error] == [Conflict]
        [held] = _votes(stores.ledger)
        assert [end.result for end in ended if not end.error] == [True]
        assert held.decision is list(Decision)[next(n for n, end in enumerate(ended) if not end.error)]
        assert stores.ledger.approvals.pending_wakes() == [Wake.of(held)]

    assert every_order(attempt) > 50


def test_a_vote_is_never_left_without_its_marker_while_an_old_one_is_dropped() -> None:
    """An earlier try left an old marker; the timer drops it just while the voter tries again (and dies)."""
    def attempt(turns: Turns, schedule: Sequence[int]) -> None:
        [(_, stores)] = [point for point in crash_points(lambda ledger: None, lambda ledger: ledger.approvals.vote(_vote()))
                         if point[0].startswith("before change 2")]
        stores.clock.advance(timedelta(hours=2))
        ledger = Ledger(turns.watch(stores.records), stores.rows, stores.clock)

        def vote_and_die() -> None:
            ledger.approvals.vote(_vote())
            raise Crash

        turns.run([vote_and_die, ledger.approvals.pending_wakes], schedule)
        assert stores.ledger.approvals.pending_wakes() == [Wake.of(_vote())]

    assert every_order(attempt) > 100
