"""Whoever should not decide does not: every refusal has its status, leaves no vote, and is kept with its reason."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pilotage.domain.approval import Decision
from pilotage.domain.assets import Submitter
from pilotage.domain.phase import PromotionPhase
from tests.support.desk import Desk, policy
from tests.support.routes import Answer, DurableClient, ask
from tests.unit.functions.test_decisions import Voting

GLASS = {"break_glass": {"approvers": ["group:on-call"], "review_within": "P2D"}}
GRACE = Submitter(role="registrant", display_name="Grace", object_id="oid-grace")
UNKNOWN = Submitter(role="training_job_owner", display_name="a job", object_id=None)

Attack = Callable[[Voting], Answer]


def _late(voting: Voting) -> Answer:
    voting.link = voting.desk.tickets.issue(voting.desk.tickets.issued[voting.link][0], voting.desk.clock.now() + timedelta(days=30))
    voting.desk.clock.advance(timedelta(days=4))
    return voting.decide()


def _closed(voting: Voting) -> Answer:
    voting.decide(token=voting.desk.actor("linus", "Approver", groups=("ml-leads",)))
    voting.desk.ledger.approvals.settle(voting.request, "2026-01-05T09:30:00+00:00", final=False)
    return voting.decide()


def _superseded(voting: Voting) -> Answer:
    voting.desk.ledger.approvals.supersede(voting.row.id, "promote-air-time-2-abc-1")
    return voting.decide()


def _finished(voting: Voting) -> Answer:
    voting.desk.promotion(PromotionPhase.TERMINATED, sequence=9)
    return voting.decide()


def _other_plan(voting: Voting) -> Answer:
    voting.desk.open_approval(voting.row, round=2, steps=50)
    return voting.decide()


def _same_plan_another_round(voting: Voting) -> Answer:
    voting.desk.open_approval(voting.row, round=2)
    return voting.decide()


def _cross(voting: Voting) -> Answer:
    other = voting.desk.promotion(PromotionPhase.AWAITING_APPROVAL, id="promote-air-time-2-abc-1")
    voting.desk.open_approval(other)
    return voting.decide(promotion=other.id)


def _twice(voting: Voting) -> Answer:
    voting.decide()
    return voting.decide("reject", reason="no")


def _replay_after_withdrawal(voting: Voting) -> Answer:
    voting.decide()
    voting.decide("withdraw")
    return voting.decide()


def _forged(voting: Voting) -> Answer:
    voting.link = "forged"
    return voting.decide()


def _expired_link(voting: Voting) -> Answer:
    voting.desk.clock.advance(timedelta(days=4))
    return voting.decide()


def _form_as_link(voting: Voting) -> Answer:
    claims, until = voting.desk.tickets.issued[voting.link]
    voting.link = voting.desk.tickets.issue_form(claims, "oid-grace", "comment", until)
    return voting.decide()


ATTACKS: dict[str, tuple[dict[str, Any], Attack, int, str]] = {
    "a forged link": ({}, _forged, 403, ""),
    "an expired link": ({}, _expired_link, 410, ""),
    "a link of another promotion": ({}, _cross, 403, "for another promotion"),
    "a link of another plan": ({}, _other_plan, 409, "the plan has changed"),
    "a link of an earlier round of the same plan": ({}, _same_plan_another_round, 409, "the plan has changed"),
    "after the time": ({}, _late, 410, "was over at"),
    "after the decision": ({}, _closed, 410, "is over: approved"),
    "a superseded promotion": ({}, _superseded, 410, "superseded by promote-air-time-2-abc-1"),
    "a finished promotion": ({}, _finished, 410, "it is terminated"),
    "a second vote": ({"quorum": 2}, _twice, 409, "withdraw that vote first"),
    "the same link after a withdrawal": ({"quorum": 2}, _replay_after_withdrawal, 409, "has been used"),
    "nothing to withdraw": ({}, lambda v: v.decide("withdraw"), 409, "no vote on this plan to withdraw"),
    "one's own model": ({"submitters": (GRACE,)}, lambda v: v.decide(), 403, "the voter is this model's registrant"),
    "an unknown submitter": ({"submitters": (UNKNOWN,)}, lambda v: v.decide(), 403, "could not be resolved"),
    "somebody the policy does not name": (
        {}, lambda v: v.decide(token=v.desk.actor("mallory", "Approver", groups=("everyone",))), 403, "does not name you"),
    "an admin who is no approver": (
        {}, lambda v: v.decide(token=v.desk.actor("root", "Admin", groups=("ml-leads",))), 403, "takes the app role"),
    "on behalf of somebody who delegated nothing": (
        {"delegation": True}, lambda v: v.decide(token=v.desk.actor("dirk", "Approver"), on_behalf_of="oid-grace"), 403,
        "has not delegated"),
    "breaking a glass that is not there": (
        {}, lambda v: v.decide("break_glass", reason="fire"), 403, "has no break_glass"),
    "breaking the glass unnamed": (GLASS, lambda v: v.decide("break_glass", reason="fire"), 403, "does not name you under break_glass"),
    "breaking the glass for one's own model": (
        GLASS | {"submitters": (GRACE,)},
        lambda v: v.decide("break_glass", reason="fire", token=v.desk.actor("grace", "Approver", groups=("on-call",))), 403,
        "the voter is this model's registrant"),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_it_is_refused_and_kept(desk: Desk, client: DurableClient, attack: str) -> None:
    rules, act, status, says = ATTACKS[attack]
    voting = Voting(desk, client, **rules)
    answer = act(voting)
    assert (answer.status, says in answer.message) == (status, True), answer.value
    kept = [refusal for promotion in (voting.row.id, "promote-air-time-2-abc-1") for refusal in desk.ledger.voices.refusals(promotion)]
    assert [(refusal.status, refusal.message) for refusal in kept][-1:] == [(status, answer.message)]
    assert all(voting.link not in refusal.message for refusal in kept)
    standing = {vote.voter: vote.decision for vote in desk.votes(voting.request)}
    assert set(standing.values()) <= {Decision.APPROVE, Decision.WITHDRAW}
    assert (Decision.APPROVE in standing.values()) == (attack in ("a second vote", "after the decision"))


def test_refusals_do_not_fill_the_ledger(desk: Desk, client: DurableClient) -> None:
    voting = Voting(desk, client)
    mallory = desk.actor("mallory", "Approver")
    for _ in range(50):
        assert voting.decide(token=mallory).status == 403
    assert len(desk.ledger.voices.refusals(voting.row.id)) == 1
    desk.clock.advance(timedelta(minutes=1))
    voting.decide(token=mallory)
    assert len(desk.ledger.voices.refusals(voting.row.id)) == 2


# --- what is allowed ----------------------------------------------------------------------------------

def test_a_withdrawn_vote_may_become_another_by_a_new_link(desk: Desk, client: DurableClient) -> None:
    voting = Voting(desk, client, quorum=2)
    voting.decide()
    assert voting.decide("withdraw").value["tally"]["approvals"] == []
    voting.link = desk.tickets.issue(*desk.tickets.issued[voting.link])
    answer = voting.decide("reject", reason="on second thoughts")
    assert (answer.status, answer.value["state"]) == (202, "rejected")


def _lend(desk: Desk, by: str, to: str = "oid-dirk", until: str = "2026-01-06T00:00:00Z", **changes: Any) -> Answer:
    return ask("delegate", None, method="POST", token=by, body={
        "policy": "air-time", "to": to, "until": until, "reason": "on holiday", **changes})


@pytest.fixture
def lending(desk: Desk, client: DurableClient) -> Voting:
    """A policy that lets its approvers delegate, and an open request under it."""
    wire = policy().wire()
    wire["stages"][1]["approval"] |= {"delegation": True}
    desk.policies.known = [type(policy()).model_validate(wire)]
    return Voting(desk, client, delegation=True)


def test_a_delegate_decides_as_the_one_who_delegated(lending: Voting) -> None:
    desk, dirk = lending.desk, lending.desk.actor("dirk", "Approver")
    assert lending.decide(token=dirk).status == 403
    lent = _lend(desk, lending.grace)
    assert lent.status == 201, lent.value
    assert lent.value["delegation"]["groups"] == ["ml-leads"]
    answer = lending.decide(token=dirk)
    assert (answer.status, answer.value["tally"]["approvals"]) == (202, ["oid-grace"])
    (vote,) = desk.votes(lending.request)
    assert (vote.voter, vote.on_behalf_of) == ("oid-dirk", "oid-grace")


def test_a_delegation_ends_with_its_day_or_when_it_is_taken_back(lending: Voting) -> None:
    desk, dirk = lending.desk, lending.desk.actor("dirk", "Approver")
    identity = _lend(desk, lending.grace).value["delegation"]["id"]
    shown = ask("delegations", None, token=dirk, policy="air-time").value["items"]
    assert [item["id"] for item in shown] == [identity]
    for who, status in ((dirk, 403), (lending.grace, 200), (lending.grace, 200)):
        assert ask("end_delegation", None, method="DELETE", token=who, policy="air-time", delegation=identity).status == status
    assert lending.decide(token=dirk).status == 403
    assert _lend(desk, lending.grace, until="2026-01-05T12:00:00Z").status == 201
    desk.clock.advance(timedelta(hours=12))
    assert lending.decide(token=dirk).status == 403


@pytest.mark.parametrize(("changes", "status", "says"), [
    ({"to": "oid-grace"}, 400, "to: that is yourself"), ({"until": "2026-01-04T00:00:00Z"}, 400, "until: name a time after now"),
    ({"until": "2026-06-01T00:00:00Z"}, 400, "at most 30 days"), ({"until": "tomorrow"}, 400, "until: 'tomorrow' is not a time"),
    ({"until": "2026-01-06T00:00:00"}, 400, "until: the time has no zone"), ({"policy": "nope"}, 404, "there is no policy nope"),
    ({"reason": ""}, 400, "reason: "),
])
def test_a_delegation_that_is_none(lending: Voting, changes: dict[str, Any], status: int, says: str) -> None:
    answer = _lend(lending.desk, lending.grace, **changes)
    assert (answer.status, says in answer.message) == (status, True), answer.value
    assert lending.desk.ledger.voices.delegations("air-time") == []


def test_nothing_lent_is_lent_on_and_no_submitter_gains_a_vote_by_it(lending: Voting) -> None:
    desk, dirk = lending.desk, lending.desk.actor("dirk", "Approver")
    assert _lend(desk, lending.grace).status == 201
    assert _lend(desk, dirk, to="oid-zoe").status == 403
    assert _lend(desk, lending.grace, to="oid-ada").status == 201
    lending.request, lending.link = desk.open_approval(
        lending.row, round=2, delegation=True, submitters=(Submitter(role="registrant", display_name="Ada", object_id="oid-ada"),))
    answer = lending.decide(token=desk.actor("ada", "Approver"))
    assert (answer.status, "the voter is this model's registrant" in answer.message) == (403, True)


@pytest.fixture
def broken(desk: Desk, client: DurableClient) -> Voting:
    """A request whose glass two people have broken."""
    voting = Voting(desk, client, quorum=3, submitters=(UNKNOWN,), **GLASS)
    for name in ("otto", "olga"):
        answer = voting.decide("break_glass", reason="production is down", token=desk.actor(name, "Approver", groups=("on-call",)))
        assert answer.status == 202, answer.value
    _, closed = desk.ledger.approvals.settle(voting.request, "2026-01-05T09:30:00+00:00", final=False)
    assert closed is not None
    assert closed.tally.glass_broken
    desk.ledger.voices.break_glass(voting.row.id, "air-time", closed.tally.broken_glass_by, "2026-01-07T09:00:00+00:00")
    return voting


def test_a_broken_glass_wants_a_review_by_somebody_else_before_it_may_be_broken_again(broken: Voting) -> None:
    desk = broken.desk
    assert [item["promotion"] for item in desk.ledger.voices.reviews_due()] == [broken.row.id]
    other = desk.promotion(PromotionPhase.AWAITING_APPROVAL, id="promote-air-time-2-abc-1")
    again = Voting.__new__(Voting)
    again.desk, again.client, again.row = desk, broken.client, other
    again.request, again.link = desk.open_approval(other, **GLASS)
    otto = desk.actor("otto", "Approver", groups=("on-call",))
    refused = again.decide("break_glass", reason="again", token=otto)
    assert (refused.status, "nobody has reviewed that yet" in refused.message) == (403, True)

    def review(who: str, **changes: Any) -> Answer:
        return ask("review", None, method="POST", token=who, promotion=broken.row.id, body={
            "justified": True, "reason": "the pager log shows it", **changes})

    assert review(otto).status == 403
    assert review(broken.grace).status == 201
    assert review(broken.grace).status == 201, "the same again is one review"
    assert review(broken.grace, justified=False).status == 409
    assert desk.ledger.voices.reviews_due() == []
    assert again.decide("break_glass", reason="again", token=otto).status == 202


def test_where_no_glass_was_broken_there_is_nothing_to_review(desk: Desk, client: DurableClient) -> None:
    voting = Voting(desk, client)
    answer = ask("review", None, method="POST", token=voting.grace, promotion=voting.row.id,
                 body={"justified": True, "reason": "just in case"})
    assert (answer.status, "nothing to review" in answer.message) == (409, True)


def test_comments_are_kept_in_their_order(desk: Desk, client: DurableClient) -> None:
    voting = Voting(desk, client)
    for text in ("why now?", "because of summer"):
        assert ask("comment", None, method="POST", token=voting.grace, promotion=voting.row.id, body={"text": text}).status == 201
        desk.clock.advance(timedelta(seconds=1))
    items = ask("list_comments", None, token=voting.grace, promotion=voting.row.id).value["items"]
    assert [(item["author"], item["text"]) for item in items] == [("oid-grace", "why now?"), ("oid-grace", "because of summer")]
