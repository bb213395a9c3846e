"""Approvals: who may vote, which votes count, and what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pilotage.domain.assets import Frozen, Submitter
from pilotage.domain.policy import ApprovalRule


class Decision(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"


class Vote(Frozen):
    """One person's vote on one plan. Written once; object ids only, no e-mail addresses."""

    promotion: str
    stage: str
    plan_hash: str
    attempt: int
    voter: str
    """Entra object id."""
    groups: list[str] = []
    """Groups of the token that the rule names: why this voter may vote."""
    decision: Decision
    reason: str = ""
    cast_at: str
    """ISO time, UTC."""


class Tally(Frozen):
    """What the votes come to so far."""

    state: str
    """`pending`, `approved` or `rejected`."""
    approvals: list[str] = []
    rejected_by: str | None = None
    reason: str = ""
    refused: dict[str, str] = {}
    """Voter -> why the vote does not count."""


def may_vote(rule: ApprovalRule, object_id: str, groups: Sequence[str]) -> bool:
    """True when the rule names this person or one of their groups."""
    named = {text.casefold() for text in rule.approvers}
    return f"user:{object_id}".casefold() in named or any(f"group:{g}".casefold() in named for g in groups)


def naming_groups(rule: ApprovalRule, groups: Sequence[str]) -> list[str]:
    """The groups of a token that the rule names (the others are nobody's business)."""
    named = {text.casefold() for text in rule.approvers}
    return sorted(g for g in groups if f"group:{g}".casefold() in named)


def conflict_of_interest(submitters: Sequence[Submitter], object_id: str) -> str | None:
    """Why this person may not decide on this model; None when nothing speaks against it.

    A submitter who could not be resolved could be anybody, so nobody may approve: fails closed.
    """
    for submitter in submitters:
        if submitter.object_id is None:
            return (f"the {submitter.role.replace('_', ' ')} {submitter.display_name!r} could not be resolved to an object id; "
                    "declare it under submitters in guardrails.yaml and retry the promotion")
        if submitter.object_id.casefold() == object_id.casefold():
            return f"the voter is this model's {submitter.role.replace('_', ' ')}"
    return None


def tally(
    rule: ApprovalRule, votes: Sequence[Vote], *, promotion: str, stage: str, plan_hash: str, attempt: int,
    submitters: Sequence[Submitter],
) -> Tally:
    """Count the votes for exactly this plan. One valid rejection decides; otherwise the quorum does.

    The order in which the votes are given does not matter: a rejection outweighs approvals.
    """
    approvals: set[str] = set()
    rejections: dict[str, str] = {}
    refused: dict[str, str] = {}
    for vote in sorted(votes, key=lambda vote: (vote.cast_at, vote.model_dump_json())):
        voter = vote.voter.casefold()
        if (vote.promotion, vote.stage, vote.plan_hash, vote.attempt) != (promotion, stage, plan_hash, attempt):
            refused[voter] = "the vote is for another plan"
        elif not may_vote(rule, vote.voter, vote.groups):
            refused[voter] = "the policy does not name this voter"
        elif reason := conflict_of_interest(submitters, vote.voter):
            refused[voter] = reason
        elif vote.decision is Decision.REJECT:
            rejections[voter] = vote.reason
        else:
            approvals.add(voter)
    if rejections:
        first = min(rejections)
        return Tally(state="rejected", approvals=sorted(approvals), rejected_by=first, reason=rejections[first], refused=refused)
    state = "approved" if len(approvals) >= rule.quorum else "pending"
    return Tally(state=state, approvals=sorted(approvals), refused=refused)
