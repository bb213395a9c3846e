"""What people say around a decision: delegations, comments, refused attempts, reviews. Object ids only."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pilotage.domain.approval import named
from pilotage.domain.assets import Frozen
from pilotage.domain.policy import ApprovalRule


class Delegation(Frozen):
    """Somebody's say in the approvals of one policy, lent to somebody else until a time."""

    id: str
    policy: str
    delegator: str
    groups: list[str] = []
    """The delegator's groups that the rule names, from their verified token when they delegated."""
    delegate: str
    until: str
    reason: str
    given_at: str
    ended_at: str | None = None
    """When the delegator took it back."""

    def holds(self, at: datetime) -> bool:
        ends = min(datetime.fromisoformat(text) for text in (self.until, self.ended_at or self.until))
        return datetime.fromisoformat(self.given_at) <= at < ends


def lent_to(delegations: Sequence[Delegation], names: Sequence[str], object_id: str, at: datetime) -> list[Delegation]:
    """The delegations by which this person may vote now: their delegators are among the names. Nothing lent is lent on."""
    return [item for item in delegations if item.holds(at) and item.delegate.casefold() == object_id.casefold()
            and item.delegator.casefold() != object_id.casefold() and named(names, item.delegator, item.groups)]


def may_delegate(rule: ApprovalRule, object_id: str, groups: Sequence[str]) -> bool:
    """True when the rule lets its approvers delegate, and this is one of them."""
    return rule.delegation and named([*rule.approvers, *rule.one_of_each], object_id, groups)


class Comment(Frozen):
    """A remark on a promotion; it decides nothing."""

    promotion: str
    author: str
    text: str
    at: str


class Refusal(Frozen):
    """An attempt to decide that was refused: who (verified), what, and why."""

    promotion: str
    actor: str
    attempted: str
    """The decision, or what else was tried."""
    code: str
    """As in the answer, such as forbidden."""
    status: int
    message: str
    at: str


class Review(Frozen):
    """What came of the review after the glass was broken."""

    promotion: str
    reviewer: str
    justified: bool
    reason: str
    at: str
