"""Requests and votes: records that are written once, and a wake-up call that is never lost."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from pilotage.domain.approval import Decision, Vote
from pilotage.domain.plan import Plan, PriorState
from pilotage.errors import Conflict, Gone
from pilotage.ledger import Ledger, Wake
from pilotage.messages import ApprovalRequest, Cursor
from tests.support.crashes import Stores, crash_points
from tests.support.interleaving import Turns, every_order
from tests.support.memory import SIGNER, Crash

CONTRARY = (Decision.APPROVE, Decision.REJECT)
PROMOTION = "promote-air-time-1-0a1b2c3d4e5f-1"


def _request(round: int = 1, share: int = 100, **changes: Any) -> ApprovalRequest:
    plan = Plan(
        promotion=PROMOTION, model="azureml://registries/r/models/m/versions/1", model_digest="sha256:00", environment=None,
        environment_definition="unpinned", workspace="mlw-prod", endpoint="air-time", deployment="v1-00", instance_type="s",
        instances=1, steps=[{"traffic": share, "for": "PT0S"}], keep_previous="P1D", approval="automatic", policy="p",
        policy_hash="sha256:01", evidence=[], prior=PriorState(exists=False))
    request = ApprovalRequest(promotion=PROMOTION, round=round, plan=plan, plan_hash=plan.hash,
                              rule={"approvers": ["user:oid-grace", "user:oid-linus"]},
                              submitters=[], opened_at=f"2026-01-05T09:{round:02d}:00.000+00:00", expires_at="2026-01-08T09:00:00+00:00")
    return request.model_copy(update=changes)


def _vote(voter: str = "oid-grace", decision: Decision = Decision.APPROVE, **changes: Any) -> Vote:
    request = _request()
    return Vote(promotion=PROMOTION, stage="production", plan_hash=request.plan_hash, round=1, voter=voter, decision=decision,
                cast_at="2026-01-05T10:00:00.000+00:00").model_copy(update=changes)


def _votes(ledger: Ledger) -> list[Vote]:
    return ledger.approvals.votes(_request())


def test_the_request_opened_last_is_the_current_one() -> None:
    ledger = Stores().ledger
    assert ledger.approvals.current(PROMOTION) is None
    for request in (_request(), _request(round=2, share=50), _request(round=10, share=20)):
        ledger.approvals.open(request)
    current = ledger.approvals.current(PROMOTION)
    assert current is not None
    assert current.round == 10
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
    ({"round": 2}, True),
    ({"plan_hash": "sha256:other"}, True),
    ({"stage": "staging"}, True),
])
def test_a_vote_stands_until_it_is_withdrawn(repeat: dict[str, Any], expected: bool | type[Exception]) -> None:
    ledger = Stores().ledger
    assert ledger.approvals.vote(_vote())[1] is True
    if isinstance(expected, bool):
        assert ledger.approvals.vote(_vote(**repeat))[1] is expected
    else:
        with pytest.raises(expected):
            ledger.approvals.vote(_vote(**repeat))
    assert _vote() in _votes(ledger)


def test_only_votes_on_exactly_this_plan_are_given() -> None:
    ledger = Stores().ledger
    for vote in (_vote(), _vote("oid-linus", round=2), _vote("oid-ada", plan_hash="sha256:other")):
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
    assert len(points) == 6, 'the marker, the record, and the row that takes it in'
    for where, stores in points:
        if _votes(stores.ledger):
            assert stores.ledger.approvals.pending_wakes() == [Wake.of(_vote())], f"{where}: recorded, and nobody would be woken"
        stores.ledger.approvals.vote(_vote(cast_at="2026-01-05T10:00:09.000+00:00"))
        assert [vote.voter for vote in _votes(stores.ledger)] == ["oid-grace"], where
        assert stores.ledger.approvals.pending_wakes() == [Wake.of(_vote())], where


def test_of_contrary_votes_at_once_one_holds() -> None:
    def attempt(turns: Turns, schedule: Sequence[int]) -> None:
        stores = Stores()
        ledger = Ledger(turns.watch(stores.records), stores.rows, stores.clock, signer=SIGNER)
        ended = turns.run([lambda d=d: ledger.approvals.vote(_vote(decision=d)) for d in CONTRARY], schedule)
        assert [type(end.error) for end in ended if end.error] == [Conflict]
        [held] = _votes(stores.ledger)
        assert [end.result for end in ended if not end.error] == [(held, True)]
        assert held.decision is CONTRARY[next(n for n, end in enumerate(ended) if not end.error)]
        assert stores.ledger.approvals.pending_wakes() == [Wake.of(held)]

    assert every_order(attempt) > 50


def test_a_vote_is_never_left_without_its_marker_while_an_old_one_is_dropped() -> None:
    """An earlier try left an old marker; the timer drops it just while the voter tries again (and dies)."""
    def attempt(turns: Turns, schedule: Sequence[int]) -> None:
        [(_, stores)] = [point for point in crash_points(lambda ledger: None, lambda ledger: ledger.approvals.vote(_vote()))
                         if point[0].startswith("before change 2")]
        stores.clock.advance(timedelta(hours=2))
        ledger = Ledger(turns.watch(stores.records), stores.rows, stores.clock, signer=SIGNER)

        def vote_and_die() -> None:
            ledger.approvals.vote(_vote())
            raise Crash

        turns.run([vote_and_die, ledger.approvals.pending_wakes], schedule)
        assert stores.ledger.approvals.pending_wakes() == [Wake.of(_vote())]

    assert every_order(attempt) > 100


# --- the end ----------------------------------------------------------------------------------------

AT = "2026-01-05T11:00:00.000+00:00"


def test_a_withdrawn_vote_makes_room_for_another_but_not_by_the_same_link() -> None:
    approvals = Stores().ledger.approvals
    approvals.vote(_vote(ticket="link"))
    approvals.vote(_vote(decision=Decision.WITHDRAW))
    with pytest.raises(Conflict, match="has been used"):
        approvals.vote(_vote(ticket="link"))
    approvals.vote(_vote(decision=Decision.REJECT, reason="no", ticket="form"))
    assert [(vote.number, vote.decision.value) for vote in approvals.votes(_request())] == [(0, "approve"), (1, "withdraw"), (2, "reject")]
    with pytest.raises(Conflict, match="no vote"):
        approvals.vote(_vote("oid-linus", Decision.WITHDRAW))


@pytest.mark.parametrize(("votes", "superseded", "final", "outcome"), [
    ([], False, False, None), ([], False, True, "expired"), ([], True, False, "superseded"), ([_vote()], False, False, "approved"),
    ([_vote()], True, True, "approved"), ([_vote("oid-zoe")], False, False, None), ([_vote("oid-zoe")], True, True, "superseded"),
    ([_vote(), _vote("oid-linus", Decision.REJECT, reason="no")], False, False, "rejected"),
])
def test_how_it_ends(votes: list[Vote], superseded: bool, final: bool, outcome: str | None) -> None:
    ledger = Stores().ledger
    for vote in votes:
        ledger.approvals.vote(vote)
    if superseded:
        ledger.approvals.supersede(PROMOTION, "newer")
    _, closed = ledger.approvals.settle(_request(), AT, final=final)
    assert (closed.outcome if closed else None) == outcome
    assert ledger.approvals.closed(_request()) == closed
    if closed is not None:
        assert closed.by == ("newer" if outcome == "superseded" else "")
        assert ledger.approvals.settle(_request(), "2027-01-01T00:00:00+00:00", final=True)[1] == closed, "it ends once"
        with pytest.raises(Gone, match="the decision was taken before"):
            ledger.approvals.vote(_vote("oid-mary"))
        for vote in votes:
            assert ledger.approvals.vote(vote)[1] is False, "what was said in time may be said again"


def test_a_vote_at_the_very_moment_of_the_end_counts_exactly_when_its_voter_is_told_so() -> None:
    def attempt(turns: Turns, schedule: Sequence[int]) -> None:
        stores = Stores()
        watched = Ledger(turns.watch(stores.records), turns.watch(stores.rows), stores.clock, signer=SIGNER)
        voted, closed = turns.run([lambda: watched.approvals.vote(_vote()),
                                   lambda: watched.approvals.settle(_request(), AT, final=True)], schedule)
        assert closed.error is None
        _, end = closed.result
        assert (end.outcome, type(voted.error)) in (("approved", type(None)), ("expired", Gone))

    assert every_order(attempt) > 20


def test_a_withdrawal_at_the_very_moment_of_the_end_counts_exactly_when_its_voter_is_told_so() -> None:
    def attempt(turns: Turns, schedule: Sequence[int]) -> None:
        stores = Stores()
        stores.ledger.approvals.vote(_vote())
        watched = Ledger(turns.watch(stores.records), turns.watch(stores.rows), stores.clock, signer=SIGNER)
        taken, closed = turns.run([lambda: watched.approvals.vote(_vote(decision=Decision.WITHDRAW)),
                                   lambda: watched.approvals.settle(_request(), AT, final=False)], schedule)
        assert closed.error is None
        _, end = closed.result
        assert (end.outcome if end else None, type(taken.error)) in (("approved", Gone), (None, type(None)))

    assert every_order(attempt) > 20


def test_a_vote_whose_writer_died_counts_once_the_outbox_tells_of_it() -> None:
    points = list(crash_points(lambda ledger: None, lambda ledger: ledger.approvals.vote(_vote())))
    adopted = 0
    for _, stores in points:
        for wake in stores.ledger.approvals.pending_wakes():
            stores.ledger.approvals.adopt(wake)
            adopted += 1
            assert [vote.voter for vote in _votes(stores.ledger)] == ["oid-grace"]
    assert adopted >= 3
