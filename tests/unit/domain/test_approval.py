"""Who may vote, which votes count, what they come to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.approval import Decision, Vote, conflict_of_interest, may_vote, naming_groups, tally
from pilotage.domain.assets import Submitter
from pilotage.domain.policy import ApprovalRule

PLAN = {"promotion": "p", "stage": "production", "plan_hash": "sha256:1", "attempt": 1}
ADA = Submitter(role="registrant", display_name="Ada", object_id="oid-ada")
NOBODY = Submitter(role="training_job_owner", display_name="some job", object_id=None)


def rule(quorum: int = 2) -> ApprovalRule:
    return ApprovalRule(quorum=quorum, approvers=["group:leads", "user:oid-linus"])


def vote(voter: str = "oid-grace", decision: str = "approve", groups: tuple[str, ...] = ("leads",), **changes: Any) -> Vote:
    about = {**PLAN, "voter": voter, "groups": list(groups), "decision": decision, "cast_at": "2026-01-05T09:00:00+00:00", "reason": "r"}
    return Vote.model_validate(about | changes)


@pytest.mark.parametrize(("votes", "quorum", "state", "refused"), [
    ([], 1, "pending", {}),
    ([vote()], 1, "approved", {}),
    ([vote()], 2, "pending", {}),
    ([vote(), vote("OID-GRACE")], 2, "pending", {}),
    ([vote(), vote("oid-linus", groups=())], 2, "approved", {}),
    ([vote(), vote("oid-zoe", groups=())], 2, "pending", {"oid-zoe": "the policy does not name this voter"}),
    ([vote(), vote("oid-ada")], 2, "pending", {"oid-ada": "the voter is this model's registrant"}),
    ([vote(), vote("OID-ADA")], 2, "pending", {"oid-ada": "the voter is this model's registrant"}),
    ([vote(), vote("oid-linus", plan_hash="sha256:2")], 2, "pending", {"oid-linus": "the vote is for another plan"}),
    ([vote(), vote("oid-linus", attempt=2)], 2, "pending", {"oid-linus": "the vote is for another plan"}),
    ([vote(), vote("oid-linus", promotion="q")], 2, "pending", {"oid-linus": "the vote is for another plan"}),
    ([vote(), vote("oid-linus", stage="staging")], 2, "pending", {"oid-linus": "the vote is for another plan"}),
    ([vote(), vote("oid-linus", "reject")], 1, "rejected", {}),
    ([vote("oid-zoe", "reject", groups=())], 1, "pending", {"oid-zoe": "the policy does not name this voter"}),
    ([vote("oid-ada", "reject")], 1, "pending", {"oid-ada": "the voter is this model's registrant"}),
])
def test_counting(votes: list[Vote], quorum: int, state: str, refused: dict[str, str]) -> None:
    counted = tally(rule(quorum), votes, submitters=[ADA], **PLAN)  # type: ignore[arg-type]
    assert (counted.state, counted.refused) == (state, refused)


def test_a_rejection_says_by_whom_and_why() -> None:
    counted = tally(rule(), [vote(), vote("oid-linus", "reject", reason="too slow")], submitters=[ADA], **PLAN)  # type: ignore[arg-type]
    assert (counted.rejected_by, counted.reason, counted.approvals) == ("oid-linus", "too slow", ["oid-grace"])


def test_a_submitter_who_is_unknown_could_be_anybody() -> None:
    counted = tally(rule(1), [vote(), vote("oid-linus")], submitters=[ADA, NOBODY], **PLAN)  # type: ignore[arg-type]
    assert counted.state == "pending"
    assert set(counted.refused) == {"oid-grace", "oid-linus"}
    assert "guardrails.yaml" in str(conflict_of_interest([NOBODY], "oid-grace"))


def test_the_rule_names_people_and_groups_without_case() -> None:
    assert may_vote(rule(), "OID-Linus", [])
    assert may_vote(rule(), "oid-zoe", ["other", "Leads"])
    assert not may_vote(rule(), "leads", ["oid-linus"]), "a group's name is nobody's object id"
    assert naming_groups(rule(), ["staff", "Leads"]) == ["Leads"], "the other groups are nobody's business"


VOTERS = st.sampled_from(["oid-grace", "OID-Grace", "oid-linus", "oid-ada", "oid-mary", "oid-zoe"])
VOTES = st.lists(st.builds(
    lambda voter, decision, groups, reason, plan: vote(voter, decision, groups, reason=reason, plan_hash=plan),
    VOTERS, st.sampled_from([Decision.APPROVE, Decision.REJECT]), st.sampled_from([(), ("leads",)]), st.sampled_from(["a", "b", ""]),
    st.sampled_from(["sha256:1", "sha256:1", "sha256:2"])), max_size=8)


@given(VOTES, st.integers(1, 4), st.randoms(use_true_random=False))
def test_the_order_of_votes_does_not_matter(votes: list[Vote], quorum: int, random: Any) -> None:
    shuffled = list(votes)
    random.shuffle(shuffled)
    assert tally(rule(quorum), shuffled, submitters=[ADA], **PLAN) == tally(  # type: ignore[arg-type]
        rule(quorum), votes, submitters=[ADA], **PLAN)  # type: ignore[arg-type]


RANK = {"pending": 0, "approved": 1, "rejected": 2}


@given(VOTES, VOTES, st.integers(1, 4))
def test_more_votes_never_take_a_decision_back(votes: list[Vote], more: list[Vote], quorum: int) -> None:
    """Approved stays approved until somebody rejects; rejected stays rejected."""
    before = tally(rule(quorum), votes, submitters=[ADA], **PLAN)  # type: ignore[arg-type]
    after = tally(rule(quorum), [*votes, *more], submitters=[ADA], **PLAN)  # type: ignore[arg-type]
    assert RANK[after.state] >= RANK[before.state]
    assert set(before.approvals) <= set(after.approvals)


@given(VOTES, st.integers(1, 4))
def test_nobody_counts_twice_and_submitters_never(votes: list[Vote], quorum: int) -> None:
    counted = tally(rule(quorum), votes, submitters=[ADA], **PLAN)  # type: ignore[arg-type]
    assert len(set(counted.approvals)) == len(counted.approvals)
    assert "oid-ada" not in counted.approvals
    assert counted.rejected_by != "oid-ada"
    assert (counted.state == "approved") == (counted.rejected_by is None and len(counted.approvals) >= quorum)
