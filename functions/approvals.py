"""The decision on a plan: recorded as a vote, by a person who is signed in and was shown exactly this plan."""

import logging
from datetime import datetime
from typing import Annotated, Literal

import azure.durable_functions as df
import azure.functions as func
from pydantic import Field

from functions.durable import intake
from functions.explaining import counted
from functions.http import Body, Call, Reply, serve
from functions.promotions import known
from pilotage.bootstrap import App, app
from pilotage.domain.access import Actor, Role
from pilotage.domain.approval import Decision, Vote, conflict_of_interest, may_vote, naming_groups
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.policy import ApprovalRule
from pilotage.errors import Conflict, Forbidden, Gone, InvalidInput, PilotageError
from pilotage.messages import ApprovalRequest, PromotionRow
from pilotage.ports import LinkClaims

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)
log = logging.getLogger("pilotage.http")


class LinkBody(Body):
    """The part of the body that says which plan was shown; the rest is read once that is known."""

    model_config = {**Body.model_config, "extra": "ignore"}

    token: str = ""


class DecisionBody(Body):
    """`token` is the link's; it may come as a query parameter instead."""

    decision: Literal["approve", "reject"]
    reason: Annotated[str, Field(max_length=1000)] = ""
    token: str = ""


@bp.route(route="approvals/{promotion}/decision", methods=["POST"])
@bp.durable_client_input(client_name="client")
def decide(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    """Record a vote and wake the approval. 202: recorded; 200: this voter had said so before."""

    def handle(call: Call) -> Reply:
        this = app()
        row = known(call, Role.READER)
        request = _shown(this, row, _link(this, row, call))
        body = call.body(DecisionBody)
        vote = _vote(this, request, call, body)
        _refuse_late(this, row, request, vote)
        created = this.ledger.approvals.vote(vote)
        try:
            intake(client).wake(vote)
        except PilotageError as error:
            # The vote is durable, and its marker makes the timer wake the orchestration: the voter is done.
            log.warning("%s could not be told of a vote yet: %s", row.id, error)
        tally = counted(this, request)
        return Reply(202 if created else 200, {"recorded": True, "promotion": row.id, "decision": body.decision,
                                               "plan_hash": request.plan_hash, "state": tally["state"], "tally": tally})

    return serve(req, Role.READER, handle)


def _link(this: App, row: PromotionRow, call: Call) -> LinkClaims:
    """What the link's token is bound to. Raises Forbidden (none, forged, of another promotion) or Gone (expired)."""
    token = call.body(LinkBody).token or call.query.get("token", "")
    if not token:
        raise Forbidden("token is missing: send the link's token, which came with the announcement, beside your bearer token")
    claims = this.tickets.redeem(token)
    if claims.promotion != row.id:
        raise Forbidden("the link's token is for another promotion")
    return claims


def _shown(this: App, row: PromotionRow, claims: LinkClaims) -> ApprovalRequest:
    """The request that was shown, if it still is the one that is asked. Raises Conflict when the plan has changed."""
    request = this.ledger.approvals.current(row.id, claims.stage)
    if request is None:
        raise Conflict(f"{row.id} asks for no approval of {claims.stage}")
    if (request.plan_hash, request.attempt) != (claims.plan_hash, claims.attempt):
        raise Conflict(f"the plan has changed since this link was sent (it is {request.plan_hash} now): decide by the newer announcement")
    return request


def _vote(this: App, request: ApprovalRequest, call: Call, body: DecisionBody) -> Vote:
    """The vote, if this person may cast it. Raises Forbidden with the reason."""
    _refuse(call.actor, request)
    if body.decision == Decision.REJECT and not body.reason:
        raise InvalidInput("reason is missing: say why you reject, for those who must act on it")
    return Vote(
        promotion=request.promotion, stage=request.stage, plan_hash=request.plan_hash, attempt=request.attempt,
        voter=call.actor.object_id, groups=naming_groups(_rule(request), call.actor.groups), decision=Decision(body.decision),
        reason=body.reason, cast_at=this.clock.now().isoformat(timespec="milliseconds"))


def _refuse(actor: Actor, request: ApprovalRequest) -> None:
    if not actor.has(Role.APPROVER, request.team):
        scoped = f" or {Role.APPROVER.value}.{request.team}" if request.team else ""
        raise Forbidden(f"a decision takes the app role {Role.APPROVER.value}{scoped}")
    rule = _rule(request)
    if not may_vote(rule, actor.object_id, actor.groups):
        raise Forbidden(f"the policy does not name you: it asks {', '.join(rule.approvers)}")
    if reason := conflict_of_interest(request.submitters, actor.object_id):
        raise Forbidden(f"you may not decide on this model: {reason}")


def _refuse_late(this: App, row: PromotionRow, request: ApprovalRequest, vote: Vote) -> None:
    """Raise Gone when the decision has been taken or its time is over; what was said in time may be said again."""
    cast = this.ledger.approvals.votes(request.promotion, request.stage, request.plan_hash, request.attempt)
    if any(known.voter.casefold() == vote.voter.casefold() for known in cast):
        return
    if row.phase != PromotionPhase.AWAITING_APPROVAL:
        raise Gone(f"the decision on {row.id} is over: it is {row.phase}")
    if this.clock.now() >= datetime.fromisoformat(request.expires_at):
        raise Gone(f"the time for this decision was over at {request.expires_at}")


def _rule(request: ApprovalRequest) -> ApprovalRule:
    return ApprovalRule.model_validate(request.rule)
