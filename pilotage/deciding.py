"""Deciding on a plan: the one way in which a person's word becomes a vote, whichever door it came by.

Whoever calls has verified the person and redeemed the link or the form. What is refused is kept with its reason,
and told with the status that fits: 403 may not, 409 not as things stand, 410 too late.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime

from pilotage.bootstrap import App
from pilotage.domain.access import Actor, Role
from pilotage.domain.approval import (
    GLASS_QUORUM,
    Ballot,
    Decision,
    Tally,
    Vote,
    conflict_of_interest,
    everybody,
    named,
    naming_groups,
    own_model,
    tally,
)
from pilotage.domain.assets import Frozen
from pilotage.domain.canonical import short_hash
from pilotage.domain.delegation import Comment, Delegation, Refusal, Review, lent_to, may_delegate
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.policy import ApprovalRule, PromotionPolicy
from pilotage.errors import Conflict, Forbidden, Gone, InvalidInput, NotFound, PermissionDenied, PilotageError, Throttled, Unavailable
from pilotage.messages import ApprovalRequest, Closed, PromotionRow
from pilotage.ports import LinkClaims

log = logging.getLogger("pilotage.deciding")
_UNTOLD = (Unavailable, Throttled, PermissionDenied)
"""The directory has not said which groups a person is in."""
_STATUS: dict[type[PilotageError], int] = {Forbidden: 403, Conflict: 409, Gone: 410}


class Ask(Frozen):
    """What a person wants to be recorded."""

    decision: Decision
    reason: str = ""
    reference: str = ""
    on_behalf_of: str | None = None


class Decided(Frozen):
    """What came of it."""

    created: bool
    vote: Vote
    tally: Tally
    closed: Closed | None = None

    @property
    def state(self) -> str:
        return self.closed.outcome if self.closed else self.tally.state


class Standing(Frozen):
    """How a person stands to a request: what a page shows them."""

    may: bool
    why_not: str = ""
    on_behalf_of: str | None = None
    vote: Vote | None = None
    """Their act that stands."""
    may_break_glass: bool = False


class Deciding:
    """Over one app. `wake` tells the waiting orchestration; a wake that fails is made good by the outbox."""

    def __init__(self, app: App, wake: Callable[[Vote], None]) -> None:
        self._app, self._wake = app, wake

    # --- decisions ------------------------------------------------------------------------------------

    def decide(self, actor: Actor, row: PromotionRow, claims: LinkClaims, ask: Ask) -> Decided:
        """Record a decision. Raises InvalidInput, Forbidden, Conflict, Gone; the last three are kept as refusals."""
        try:
            return self._decide(actor, row, claims, ask)
        except (Forbidden, Conflict, Gone) as error:
            self.refused(actor, row.id, ask.decision.value, error)
            raise

    def refused(self, actor: Actor, promotion: str, attempted: str, error: PilotageError) -> None:
        """Keep a refused attempt of a verified person; an error of keeping it does not hide the refusal."""
        code = type(error).__name__.lower()
        log.info("refused %s on %s by %s: %s: %s", attempted, promotion, actor.object_id, code, error)
        try:
            self._app.ledger.voices.refuse(Refusal(
                promotion=promotion, actor=actor.object_id, attempted=attempted, code=code, status=_STATUS[type(error)],
                message=str(error)[:500], at=self._now()))
        except PilotageError as failed:
            log.warning("a refusal on %s could not be kept: %s", promotion, failed)

    def _decide(self, actor: Actor, row: PromotionRow, claims: LinkClaims, ask: Ask) -> Decided:
        request = self.shown(row, claims)
        vote = self._vote(actor, request, claims, ask)
        approvals = self._app.ledger.approvals
        standing = self._standing_vote(actor, request)
        if standing is None or not vote.repeats(standing):
            self._refuse_late(row, request)
        stored, created = approvals.vote(vote)
        try:
            self._wake(stored)
        except PilotageError as error:
            # The vote is durable, and its marker makes the timer wake the orchestration: the voter is done.
            log.warning("%s could not be told of a vote yet: %s", row.id, error)
        closed = approvals.closed(request)
        return Decided(created=created, vote=stored, closed=closed,
                       tally=closed.tally if closed else tally(request.ballot, approvals.votes(request)))

    def shown(self, row: PromotionRow, claims: LinkClaims) -> ApprovalRequest:
        """The request that was shown, if it still is the one that is asked. Raises Forbidden, Conflict."""
        if claims.promotion != row.id:
            raise Forbidden("the link's token is for another promotion")
        request = self._app.ledger.approvals.current(row.id)
        if request is None:
            raise Conflict(f"{row.id} asks for no approval")
        if (request.stage, request.plan_hash, request.round) != (claims.stage, claims.plan_hash, claims.round):
            why = ": " + "; ".join(request.changed)[:500] if request.changed else ""
            raise Conflict(f"the plan has changed since this link was sent (it is {request.plan_hash} now{why}): "
                           "decide by the newer announcement")
        return request

    def _vote(self, actor: Actor, request: ApprovalRequest, claims: LinkClaims, ask: Ask) -> Vote:
        """The vote, if this person may cast it. Raises Forbidden with the reason."""
        self.require_approver(actor, request.team)
        ballot, now = request.ballot, self._app.clock.now()
        if ask.decision in (Decision.REJECT, Decision.BREAK_GLASS) and not ask.reason:
            raise InvalidInput(f"reason is missing: say why you {ask.decision.value.replace('_', ' the ')}, for those who must act on it")
        behalf: str | None = None
        if ask.decision is Decision.BREAK_GLASS:
            groups = self._may_break_glass(actor, request)
        elif ask.decision is Decision.WITHDRAW:
            groups = []
        else:
            behalf, groups = self._entitled(actor, request, ask.on_behalf_of, now)
            if reason := conflict_of_interest(ballot.submitters, actor.object_id):
                raise Forbidden(f"you may not decide on this model: {reason}")
        return Vote(
            promotion=request.promotion, stage=request.stage, plan_hash=request.plan_hash, round=request.round, voter=actor.object_id,
            groups=groups, on_behalf_of=behalf, decision=ask.decision, reason=ask.reason, reference=ask.reference,
            ticket=claims.nonce, cast_at=self._now())

    def _entitled(self, actor: Actor, request: ApprovalRequest, behalf: str | None, now: datetime) -> tuple[str | None, list[str]]:
        """(for whom, by which groups): by their own name, or by a delegation. Raises Forbidden, and what the directory raises."""
        names = request.ballot.approvers(now)
        untold: PilotageError | None = None
        if behalf is None:
            try:
                actor = self._app.with_groups(actor, names)
            except (Forbidden, *_UNTOLD) as error:
                untold = error  # whoever decides for somebody else needs no group of their own
        if behalf is None and untold is None and named(names, actor.object_id, actor.groups):
            return None, naming_groups(names, actor.groups)
        known = self._app.ledger.voices.delegations(request.policy) if request.ballot.rule.delegation else []
        lent = [item for item in lent_to(known, names, actor.object_id, now)
                if behalf is None or item.delegator.casefold() == behalf.casefold()]
        if lent:
            return lent[0].delegator, naming_groups(names, lent[0].groups)
        if untold is not None:
            raise untold
        if behalf is not None:
            raise Forbidden(f"{behalf} has not delegated the vote on {request.policy} to you, or not for this time")
        raise Forbidden(f"the policy does not name you: it asks {', '.join(names)}")

    def _may_break_glass(self, actor: Actor, request: ApprovalRequest) -> list[str]:
        glass = request.ballot.rule.break_glass
        if glass is None:
            raise Forbidden("the policy has no break_glass: nobody may approve past its rule")
        actor = self._app.with_groups(actor, glass.approvers)
        if not named(glass.approvers, actor.object_id, actor.groups):
            raise Forbidden(f"the policy does not name you under break_glass: it asks {', '.join(glass.approvers)}")
        if reason := own_model(request.submitters, actor.object_id):
            raise Forbidden(f"you may not decide on this model: {reason}")
        due = [item for item in self._app.ledger.voices.reviews_due(request.policy) if item["promotion"] != request.promotion]
        if due:
            raise Forbidden(f"the glass was broken for {due[0]['promotion']} and nobody has reviewed that yet: "
                            f"POST promotions/{due[0]['promotion']}/review first")
        return naming_groups(glass.approvers, actor.groups)

    def _refuse_late(self, row: PromotionRow, request: ApprovalRequest) -> None:
        """Raise Gone when the decision has been taken or its time is over."""
        closed = self._app.ledger.approvals.closed(request)
        if closed is not None:
            raise Gone(told(request.promotion, closed))
        by = self._app.ledger.approvals.superseded_by(request.promotion)
        if by is not None:
            raise Gone(f"{request.promotion} is superseded by {by}: decide on that one")
        if row.phase != PromotionPhase.AWAITING_APPROVAL:
            raise Gone(f"the decision on {row.id} is over: it is {row.phase}")
        if self._app.clock.now() >= datetime.fromisoformat(request.expires_at):
            raise Gone(f"the time for this decision was over at {request.expires_at}")

    # --- what a page shows ------------------------------------------------------------------------------

    def standing(self, actor: Actor, request: ApprovalRequest) -> Standing:
        """How a person stands to a request. Records nothing."""
        last, glass = self._standing_vote(actor, request), False
        try:
            self.require_approver(actor, request.team)
            self._may_break_glass(actor, request)
            glass = True
        except (Forbidden, *_UNTOLD):
            pass
        try:
            self.require_approver(actor, request.team)
            behalf, _ = self._entitled(actor, request, None, self._app.clock.now())
            if reason := conflict_of_interest(request.submitters, actor.object_id):
                raise Forbidden(f"you may not decide on this model: {reason}")
        except (Forbidden, *_UNTOLD) as error:
            return Standing(may=False, why_not=str(error), vote=last, may_break_glass=glass)
        return Standing(may=True, on_behalf_of=behalf, vote=last, may_break_glass=glass)

    def _standing_vote(self, actor: Actor, request: ApprovalRequest) -> Vote | None:
        """This person's act that stands; None when there is none, or it was withdrawn."""
        mine = [vote for vote in self._app.ledger.approvals.votes(request) if vote.voter.casefold() == actor.object_id.casefold()]
        return mine[-1] if mine and mine[-1].decision is not Decision.WITHDRAW else None

    def require_approver(self, actor: Actor, team: str | None) -> None:
        if not actor.has(Role.APPROVER, team):
            scoped = f" or {Role.APPROVER.value}.{team}" if team else ""
            raise Forbidden(f"a decision takes the app role {Role.APPROVER.value}{scoped}")

    # --- around it --------------------------------------------------------------------------------------

    def comment(self, actor: Actor, row: PromotionRow, text: str) -> Comment:
        """A remark for the others; it decides nothing."""
        comment = Comment(promotion=row.id, author=actor.object_id, text=text, at=self._now())
        self._app.ledger.voices.comment(comment)
        return comment

    def delegate(self, actor: Actor, policy: PromotionPolicy, to: str, until: datetime, reason: str) -> Delegation:
        """Let somebody else decide for this person until a time. Raises Forbidden, InvalidInput."""
        self.require_approver(actor, policy.team)
        rules = [rule for stage in policy.stages if isinstance(rule := stage.approval, ApprovalRule)]
        actor = self._app.with_groups(actor, [name for rule in rules if rule.delegation for name in everybody(rule)])
        letting = [rule for rule in rules if may_delegate(rule, actor.object_id, actor.groups)]
        if not letting:
            raise Forbidden(f"the policy {policy.name} does not name you, or does not let its approvers delegate (approval.delegation)")
        now, longest = self._app.clock.now(), self._app.policies.guardrails().max_delegation
        if to.casefold() == actor.object_id.casefold():
            raise InvalidInput("to: that is yourself; name the object id of who is to decide for you")
        if not now < until <= now + longest:
            raise InvalidInput(f"until: name a time after now and at most {longest.days} days away")
        names = list(dict.fromkeys(name for rule in letting for name in everybody(rule)))
        at = self._now()
        delegation = Delegation(
            id=short_hash(actor.object_id.casefold(), to.casefold(), until.isoformat(), at), policy=policy.name, delegator=actor.object_id,
            groups=naming_groups(names, actor.groups), delegate=to, until=until.isoformat(timespec="milliseconds"), reason=reason,
            given_at=at)
        self._app.ledger.voices.delegate(delegation)
        return delegation

    def end_delegation(self, actor: Actor, policy: str, delegation: str) -> str:
        """Take a delegation back; only who gave it may. Returns when it ended. Raises NotFound, Forbidden."""
        found = next((item for item in self._app.ledger.voices.delegations(policy) if item.id == delegation), None)
        if found is None:
            raise NotFound(f"the policy {policy} has no delegation {delegation}")
        if found.delegator.casefold() != actor.object_id.casefold():
            raise Forbidden("only who gave a delegation may take it back")
        return self._app.ledger.voices.end_delegation(policy, delegation, self._now())

    def review(self, actor: Actor, row: PromotionRow, justified: bool, reason: str) -> Review:
        """The review that follows a broken glass, by somebody who did not break it. Raises Conflict, Forbidden."""
        self.require_approver(actor, row.team)
        broken = next((closed for request in self._app.ledger.approvals.requests(row.id)
                       if (closed := self._app.ledger.approvals.closed(request)) is not None and closed.tally.glass_broken), None)
        if broken is None:
            raise Conflict(f"the glass was not broken for {row.id}: there is nothing to review")
        if actor.object_id.casefold() in broken.tally.broken_glass_by:
            raise Forbidden("you broke the glass: somebody else must review it")
        if reason_not := own_model(row.submitters, actor.object_id):
            raise Forbidden(reason_not.replace("the voter is", "you are"))
        return self._app.ledger.voices.review(Review(
            promotion=row.id, reviewer=actor.object_id, justified=justified, reason=reason, at=self._now()))

    def _now(self) -> str:
        return self._app.clock.now().isoformat(timespec="milliseconds")


def told(promotion: str, closed: Closed) -> str:
    """How an approval ended, in a sentence."""
    if closed.outcome == "superseded":
        return f"{promotion} is superseded by {closed.by}: decide on that one"
    by = f" by {closed.tally.rejected_by}" if closed.outcome == "rejected" else ""
    return f"the decision on {promotion} is over: {closed.outcome}{by} at {closed.at}"


def waiting_for(ballot: Ballot, counted: Tally) -> str:
    """What is missing for an approval, in words."""
    short = max(ballot.rule.quorum - len(counted.approvals), 0)
    parts = [f"{short} more approval{'s' if short != 1 else ''}"] if short else []
    parts += [f"one of {name}" for name in counted.missing]
    if counted.broken_glass_by:
        parts.append(f"or {GLASS_QUORUM - len(counted.broken_glass_by)} more to break the glass")
    return ", ".join(parts) or "nothing"
