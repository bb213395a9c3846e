"""Every status of the decision endpoint."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest

from pilotage.domain.approval import Decision
from pilotage.domain.assets import Submitter
from pilotage.domain.phase import PromotionPhase
from pilotage.messages import VOTE_EVENT, ApprovalRequest, PromotionRow
from tests.support.desk import Desk
from tests.support.routes import Answer, DurableClient, ask

CHILD = "promote-air-time-1-abc-1:approval"


class Voting:
    """An open approval, and somebody who may decide on it."""

    def __init__(self, desk: Desk, client: DurableClient, **about: Any) -> None:
        self.desk, self.client = desk, client
        self.row: PromotionRow = desk.promotion(PromotionPhase.AWAITING_APPROVAL)
        self.request: ApprovalRequest
        self.request, self.link = desk.open_approval(self.row, **about)
        desk.orchestrator.start("approval", CHILD, {})
        self.grace = desk.actor("grace", "Approver", groups=("ml-leads", "everyone"))

    def decide(self, decision: str = "approve", *, token: str | None = None, promotion: str | None = None, **body: Any) -> Answer:
        return ask("decide", self.client, method="POST", token=token or self.grace, promotion=promotion or self.row.id,
                   body={"decision": decision, "token": self.link, **body})


@pytest.fixture
def voting(desk: Desk, client: DurableClient) -> Voting:
    return Voting(desk, client)


def test_202_a_vote_is_recorded_and_wakes_the_approval(voting: Voting) -> None:
    answer = voting.decide(reason="gates passed")
    assert answer.status == 202
    assert answer.value == {
        "recorded": True, "promotion": voting.row.id, "decision": "approve", "plan_hash": voting.request.plan_hash, "state": "approved",
        "tally": {"state": "approved", "approvals": ["oid-grace"], "quorum": 1, "missing": [], "rejected_by": None, "reason": "",
                  "broken_glass_by": [], "refused": {}}}
    (vote,) = voting.desk.votes(voting.request)
    assert (vote.voter, vote.decision, vote.reason, vote.groups) == ("oid-grace", Decision.APPROVE, "gates passed", ["ml-leads"])
    assert voting.desk.orchestrator.raised == [(CHILD, VOTE_EVENT, {"id": "oid-grace"})]
    assert voting.desk.ledger.approvals.pending_wakes() == []


def test_202_the_links_token_may_come_in_the_query(voting: Voting) -> None:
    answer = ask("decide", voting.client, method="POST", token=voting.grace, promotion=voting.row.id, body={"decision": "approve"},
                 query={"token": voting.link})
    assert answer.status == 202


def test_202_while_the_durable_backend_is_away_because_the_vote_is_durable(voting: Voting) -> None:
    voting.client.failure = grpc.StatusCode.UNAVAILABLE
    assert voting.decide().status == 202
    assert len(voting.desk.ledger.approvals.pending_wakes()) == 1
    assert voting.desk.intake().deliver_outbox()["woken"] == 1
    assert voting.desk.orchestrator.raised == [(CHILD, VOTE_EVENT, {"id": "oid-grace"})]


def test_202_below_the_quorum_the_approval_stays_pending(desk: Desk, client: DurableClient) -> None:
    voting = Voting(desk, client, quorum=2)
    assert voting.decide().value["state"] == "pending"
    linus = desk.actor("linus", "Approver", groups=("ml-leads",))
    assert voting.decide(token=linus).value["state"] == "approved"


def test_202_somebody_named_by_object_id_may_decide(desk: Desk, client: DurableClient) -> None:
    voting = Voting(desk, client, approvers=("user:oid-grace",))
    assert voting.decide(token=desk.actor("grace", "Approver")).status == 202


def test_202_a_rejection_with_its_reason(voting: Voting) -> None:
    answer = voting.decide("reject", reason="not in summer")
    assert (answer.status, answer.value["state"], answer.value["tally"]["reason"]) == (202, "rejected", "not in summer")


def test_200_the_same_vote_again_wakes_the_approval_again(voting: Voting) -> None:
    voting.decide(reason="go")
    answer = voting.decide(reason="go")
    assert (answer.status, answer.value["recorded"]) == (200, True)
    assert len(voting.desk.votes(voting.request)) == 1
    assert len(voting.desk.orchestrator.raised) == 2


def test_200_the_same_vote_again_after_the_decision(voting: Voting) -> None:
    voting.decide()
    voting.desk.promotion(PromotionPhase.SUCCEEDED, sequence=9)
    assert voting.decide().status == 200


@pytest.mark.parametrize(("body", "message"), [
    (b"approve", "the body is not JSON"), (b"[]", "the body must be a JSON object, not list"),
])
def test_400_a_body_that_is_no_json_object(voting: Voting, body: bytes, message: str) -> None:
    answer = ask("decide", voting.client, method="POST", token=voting.grace, promotion=voting.row.id, body=body)
    assert (answer.status, answer.code) == (400, "invalid_input")
    assert message in answer.message


@pytest.mark.parametrize(("body", "message"), [
    ({"decision": None}, "decision: input should be 'approve', 'reject', 'withdraw' or 'break_glass'"),
    ({"decision": "maybe"}, "decision: input should be 'approve', 'reject', 'withdraw' or 'break_glass'"),
    ({"decision": "approve", "reason": 5}, "reason: input should be a valid string"),
    ({"decision": "approve", "reason": "x" * 1001}, "reason: string should have at most 1000 characters"),
    ({"decision": "approve", "comment": "x"}, "comment is unknown: the fields are decision, reason, reference, on_behalf_of, token"),
    ({"decision": "reject"}, "reason is missing: say why you reject"),
    ({"decision": "reject", "reason": "  "}, "reason is missing: say why you reject"),
])
def test_400_names_the_field_and_the_fix(voting: Voting, body: dict[str, Any], message: str) -> None:
    answer = voting.decide(**body)
    assert (answer.status, answer.code) == (400, "invalid_input")
    assert message in answer.message
    assert voting.link not in answer.message
    assert voting.desk.votes(voting.request) == []


def test_401_without_a_bearer_token_the_link_alone_decides_nothing(voting: Voting) -> None:
    answer = ask("decide", voting.client, method="POST", promotion=voting.row.id, body={"decision": "approve", "token": voting.link})
    assert (answer.status, answer.code) == (401, "unauthenticated")


@pytest.mark.parametrize(("token", "message"), [("", "token is missing"), ("forged", "")])
def test_403_without_the_links_token_or_with_a_forged_one(voting: Voting, token: str, message: str) -> None:
    voting.link = token
    answer = voting.decide()
    assert (answer.status, answer.code) == (403, "forbidden")
    assert message in answer.message


def test_403_a_link_of_another_promotion(voting: Voting) -> None:
    other = voting.desk.promotion(PromotionPhase.AWAITING_APPROVAL, id="promote-air-time-2-abc-1")
    voting.desk.open_approval(other)
    answer = voting.decide(promotion=other.id)
    assert (answer.status, answer.message) == (403, "the link's token is for another promotion")


def test_403_somebody_the_policy_does_not_name(voting: Voting) -> None:
    answer = voting.decide(token=voting.desk.actor("mallory", "Approver", groups=("everyone",)))
    assert answer.status == 403
    assert "the policy does not name you: it asks group:ml-leads" in answer.message


@pytest.mark.parametrize("role", ["registrant", "training_job_owner"])
def test_403_nobody_decides_on_their_own_model(desk: Desk, client: DurableClient, role: Any) -> None:
    voting = Voting(desk, client, submitters=(Submitter(role=role, display_name="Grace", object_id="OID-GRACE"),))
    answer = voting.decide()
    assert answer.status == 403
    assert f"the voter is this model's {role.replace('_', ' ')}" in answer.message
    assert desk.votes(voting.request) == []


def test_403_where_the_submitter_is_unknown_nobody_decides(desk: Desk, client: DurableClient) -> None:
    voting = Voting(desk, client, submitters=(Submitter(role="registrant", display_name="somebody", object_id=None),))
    answer = voting.decide()
    assert answer.status == 403
    assert "declare it under submitters in guardrails.yaml" in answer.message


def test_404_an_unknown_promotion(voting: Voting) -> None:
    answer = voting.decide(promotion="promote-nope-1-abc-1")
    assert (answer.status, answer.code) == (404, "not_found")


def test_409_a_contrary_vote(voting: Voting) -> None:
    voting.decide()
    answer = voting.decide("reject", reason="on second thoughts")
    assert (answer.status, answer.code) == (409, "conflict")
    assert "has voted approve on this plan already; withdraw that vote first" in answer.message
    assert [vote.decision for vote in voting.desk.votes(voting.request)] == [Decision.APPROVE]


@pytest.mark.parametrize("steps", [100, 50])
def test_409_a_plan_or_an_attempt_that_has_changed_since(voting: Voting, steps: int) -> None:
    voting.desk.open_approval(voting.row, round=2, steps=steps)
    answer = voting.decide()
    assert (answer.status, answer.code) == (409, "conflict")
    assert "the plan has changed since this link was sent" in answer.message


def test_410_an_expired_link(voting: Voting) -> None:
    voting.desk.clock.advance(timedelta(days=4))
    assert (voting.decide().status, voting.decide().code) == (410, "gone")


def test_410_after_the_time_for_the_decision_though_the_link_still_holds(voting: Voting) -> None:
    voting.link = voting.desk.tickets.issue(voting.desk.tickets.issued[voting.link][0], voting.desk.clock.now() + timedelta(days=30))
    voting.desk.clock.advance(timedelta(days=4))
    answer = voting.decide()
    assert (answer.status, answer.message) == (410, "the time for this decision was over at 2026-01-08T08:00:00.000+00:00")


@pytest.mark.parametrize("phase", [phase for phase in PromotionPhase if phase.terminal or phase is PromotionPhase.ROLLING_OUT])
def test_410_after_the_decision(voting: Voting, phase: PromotionPhase) -> None:
    voting.desk.promotion(phase, sequence=9)
    answer = voting.decide()
    assert (answer.status, answer.code) == (410, "gone")
    assert f"it is {phase.value}" in answer.message
    assert voting.desk.votes(voting.request) == []
