"""Approvals: what is put to the vote, who may vote, which votes count, and what they come to.

The records alone decide, whatever their order: a valid rejection outweighs approvals, nobody counts twice,
and what is said for somebody else counts as that person's word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum

from pilotage.domain.assets import Frozen, Submitter
from pilotage.domain.policy import ApprovalRule

GLASS_QUORUM = 2
"""People who must break the glass together."""


class Decision(StrEnum):
    APPROVE = "approve"
    REJECT = "reject"
    WITHDRAW = "withdraw"
    """Take back what one said before; one may then say otherwise."""
    BREAK_GLASS = "break_glass"
    """Approve in an emergency, past the rule: two people, reviewed afterwards."""


class Vote(Frozen):
    """One act of one person on one plan. Written once; object ids only, no e-mail addresses."""

    promotion: str
    stage: str
    plan_hash: str
    round: int
    voter: str
    """Entra object id, from a verified token."""
    number: int = 0
    """The how-manieth act of this voter on this plan; the last one stands."""
    groups: list[str] = []
    """Groups that the rule names: why this voter (or whom they stand in for) may vote."""
    on_behalf_of: str | None = None
    """Object id of who delegated their say to this voter."""
    decision: Decision
    reason: str = ""
    reference: str = ""
    """What it refers to elsewhere, such as a change request's number."""
    ticket: str = ""
    """The nonce of the link or form by which it came."""
    cast_at: str
    """ISO time, UTC."""

    def repeats(self, other: Vote) -> bool:
        """True when it says what the other says, whenever and however it came."""
        return (self.decision, self.reason, self.reference, self.on_behalf_of) == (
            other.decision, other.reason, other.reference, other.on_behalf_of)

    @property
    def principal(self) -> str:
        """Whose word it is (folded)."""
        return (self.on_behalf_of or self.voter).casefold()


class Ballot(Frozen):
    """What is put to the vote, and by which rule."""

    promotion: str
    stage: str
    plan_hash: str
    round: int
    rule: ApprovalRule
    submitters: list[Submitter] = []
    opened_at: str
    expires_at: str

    @property
    def escalates_at(self) -> datetime | None:
        """From when on those to whom the rule escalates may vote too."""
        escalate = self.rule.escalate
        return datetime.fromisoformat(self.opened_at) + escalate.after if escalate else None

    def approvers(self, at: datetime) -> list[str]:
        """Whom the rule names at this time, in its order, each once."""
        named = [*self.rule.approvers, *self.rule.one_of_each]
        if self.rule.escalate and self.escalates_at is not None and at >= self.escalates_at:
            named += self.rule.escalate.to
        return list(dict.fromkeys(named))


class Tally(Frozen):
    """What the votes come to so far."""

    state: str
    """`pending`, `approved` or `rejected`."""
    approvals: list[str] = []
    """Object ids of those whose approval counts (folded)."""
    quorum: int = 1
    missing: list[str] = []
    """Of `one_of_each`: whose approval is still missing."""
    rejected_by: str | None = None
    reason: str = ""
    broken_glass_by: list[str] = []
    """Those who broke the glass; two of them approve past the rule."""
    refused: dict[str, str] = {}
    """Voter -> why the vote does not count."""

    @property
    def glass_broken(self) -> bool:
        return self.state == "approved" and len(self.broken_glass_by) >= GLASS_QUORUM


def named(names: Sequence[str], object_id: str, groups: Sequence[str]) -> bool:
    """True when one of the names (`user:<object id>`, `group:<name or id>`) is this person or one of their groups."""
    folded = {text.casefold() for text in names}
    return f"user:{object_id}".casefold() in folded or any(f"group:{g}".casefold() in folded for g in groups)


def naming_groups(names: Sequence[str], groups: Sequence[str]) -> list[str]:
    """The groups of a token that the names contain (the others are nobody's business)."""
    folded = {text.casefold() for text in names}
    return sorted(g for g in groups if f"group:{g}".casefold() in folded)


def everybody(rule: ApprovalRule) -> list[str]:
    """Everyone whom a rule names at any time, for whatever part."""
    escalated = rule.escalate.to if rule.escalate else []
    glass = rule.break_glass.approvers if rule.break_glass else []
    return list(dict.fromkeys([*rule.approvers, *rule.one_of_each, *escalated, *glass]))


def conflict_of_interest(submitters: Sequence[Submitter], object_id: str) -> str | None:
    """Why this person may not decide on this model; None when nothing speaks against it.

    A submitter who could not be resolved could be anybody, so nobody may approve: fails closed.
    """
    for submitter in submitters:
        if submitter.object_id is None:
            return (f"the {submitter.role.replace('_', ' ')} {submitter.display_name!r} could not be resolved to an object id; "
                    "declare it under submitters in guardrails.yaml and retry the promotion")
    return own_model(submitters, object_id)


def own_model(submitters: Sequence[Submitter], object_id: str) -> str | None:
    """Why this is the person's own model; None when no submitter is known to be them."""
    for submitter in submitters:
        if submitter.object_id is not None and submitter.object_id.casefold() == object_id.casefold():
            return f"the voter is this model's {submitter.role.replace('_', ' ')}"
    return None


def objection(ballot: Ballot, vote: Vote) -> str | None:
    """Why a vote does not count; None when it does, as far as it alone is concerned."""
    if (vote.promotion, vote.stage, vote.plan_hash, vote.round) != (ballot.promotion, ballot.stage, ballot.plan_hash, ballot.round):
        return "the vote is for another plan"
    cast = datetime.fromisoformat(vote.cast_at)
    if cast >= datetime.fromisoformat(ballot.expires_at):
        return "the vote came after the time was over"
    if vote.decision is Decision.BREAK_GLASS:
        glass = ballot.rule.break_glass
        if glass is None:
            return "the policy has no break_glass"
        if not named(glass.approvers, vote.voter, vote.groups):
            return "the policy does not name this voter under break_glass"
        return own_model(ballot.submitters, vote.voter)
    if not named(ballot.approvers(cast), vote.principal, vote.groups):
        return "the policy does not name this voter"
    own = conflict_of_interest(ballot.submitters, vote.voter)
    if own is None and vote.on_behalf_of is not None:
        own = conflict_of_interest(ballot.submitters, vote.on_behalf_of)
        own = own and own.replace("the voter", "who delegated the vote")
    return own


def standing(votes: Sequence[Vote]) -> list[Vote]:
    """The last act of each voter, those withdrawn left out, in the order of their times."""
    last: dict[tuple[str, str, str, int, str], Vote] = {}
    for vote in sorted(votes, key=lambda vote: (vote.number, vote.cast_at, vote.model_dump_json())):
        last[vote.promotion, vote.stage, vote.plan_hash, vote.round, vote.voter.casefold()] = vote
    found = [vote for vote in last.values() if vote.decision is not Decision.WITHDRAW]
    return sorted(found, key=lambda vote: (vote.cast_at, vote.model_dump_json()))


def tally(ballot: Ballot, votes: Sequence[Vote]) -> Tally:
    """Count the votes on exactly this plan. One valid rejection decides; otherwise the rule does, or two who break the glass."""
    refused: dict[str, str] = {}
    counted: dict[str, Vote] = {}
    # Own words before those said for others: who votes for themselves has taken their say back.
    for vote in sorted(standing(votes), key=lambda vote: vote.on_behalf_of is not None):
        if reason := objection(ballot, vote):
            refused[vote.voter.casefold()] = reason
        elif vote.principal in counted:
            refused[vote.voter.casefold()] = "the person on whose behalf it was cast has a vote that counts already"
        else:
            counted[vote.principal] = vote
    rejections = {vote.voter.casefold(): vote for vote in counted.values() if vote.decision is Decision.REJECT}
    approvals = {principal: vote for principal, vote in counted.items() if vote.decision is Decision.APPROVE}
    glass = sorted(vote.voter.casefold() for vote in counted.values() if vote.decision is Decision.BREAK_GLASS)
    missing = unmet(ballot.rule.one_of_each, approvals)
    about = {"approvals": sorted(approvals), "quorum": ballot.rule.quorum, "missing": missing, "broken_glass_by": glass, "refused": refused}
    if rejections:
        first = min(rejections)
        return Tally(state="rejected", rejected_by=first, reason=rejections[first].reason, **about)
    by_rule = len(approvals) >= ballot.rule.quorum and not missing
    return Tally(state="approved" if by_rule or len(glass) >= GLASS_QUORUM else "pending", **about)


def unmet(one_of_each: Sequence[str], approvals: Mapping[str, Vote]) -> list[str]:
    """The names for which no approval is left when each takes a different person (a matching as large as can be)."""
    taken: dict[str, str] = {}

    def seat(name: str, tried: set[str]) -> bool:
        for principal in sorted(approvals):
            vote = approvals[principal]
            if principal in tried or not named([name], vote.principal, vote.groups):
                continue
            tried.add(principal)
            if principal not in taken or seat(taken[principal], tried):
                taken[principal] = name
                return True
        return False

    return [name for name in one_of_each if not seat(name, set())]
