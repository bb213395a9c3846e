"""The decision on a plan, and what people say around it: each by a verified person.

A decision takes the link's token besides: it proves which plan was shown. What is refused is kept.
"""

from typing import Annotated, Any, Literal

import azure.durable_functions as df
import azure.functions as func
from pydantic import Field

from functions.durable import intake
from functions.http import Body, Call, Reply, moment, serve
from functions.promotions import known
from pilotage.bootstrap import App, app
from pilotage.deciding import Ask, Decided, Deciding
from pilotage.domain.access import Role
from pilotage.domain.approval import Decision
from pilotage.domain.policy import PromotionPolicy
from pilotage.errors import Forbidden, Gone, NotFound
from pilotage.messages import PromotionRow
from pilotage.ports import LinkClaims

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)

Reason = Annotated[str, Field(max_length=1000)]


class LinkBody(Body):
    """The part of the body that says which plan was shown; the rest is read once that is known."""

    model_config = {**Body.model_config, "extra": "ignore"}

    token: str = ""


class DecisionBody(Body):
    """`token` is the link's; it may come as a query parameter instead."""

    decision: Literal["approve", "reject", "withdraw", "break_glass"]
    reason: Reason = ""
    reference: Annotated[str, Field(max_length=200)] = ""
    """What it refers to elsewhere, such as a change request's number."""
    on_behalf_of: Annotated[str, Field(max_length=100)] = ""
    """Object id of who delegated their vote to the caller; empty: the caller's own, or the only one delegated."""
    token: str = ""


class CommentBody(Body):
    text: Annotated[str, Field(min_length=1, max_length=2000)]


class DelegationBody(Body):
    policy: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    to: Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,100}$")]
    """Object id of who is to decide instead."""
    until: Annotated[str, Field(max_length=40)]
    """ISO time with a zone, such as 2026-12-31T12:00:00Z."""
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


class ReviewBody(Body):
    justified: bool
    reason: Annotated[str, Field(min_length=10, max_length=2000)]


@bp.route(route="approvals/{promotion}/decision", methods=["POST"])
@bp.durable_client_input(client_name="client")
def decide(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    """Record a decision and wake the approval. 202: recorded; 200: this person had said so before."""

    def handle(call: Call) -> Reply:
        this = app()
        row = known(call, Role.READER)
        deciding = deciding_with(client)
        claims = _link(this, row, call, deciding)
        body = call.body(DecisionBody)
        decided = deciding.decide(call.actor, row, claims, Ask(
            decision=Decision(body.decision), reason=body.reason, reference=body.reference, on_behalf_of=body.on_behalf_of or None))
        return Reply(202 if decided.created else 200, _answer(row, decided))

    return serve(req, Role.READER, handle)


@bp.route(route="approvals/{promotion}/comments", methods=["GET"])
def list_comments(req: func.HttpRequest) -> func.HttpResponse:
    """{"items"}, oldest first."""

    def handle(call: Call) -> Reply:
        found = app().ledger.voices.comments(known(call, Role.READER).id)
        return Reply(200, {"items": [comment.model_dump(mode="json") for comment in found]})

    return serve(req, Role.READER, handle)


@bp.route(route="approvals/{promotion}/comments", methods=["POST"])
def comment(req: func.HttpRequest) -> func.HttpResponse:
    """{"text"}: a remark for the others; it decides nothing."""

    def handle(call: Call) -> Reply:
        row = known(call, Role.READER)
        said = Deciding(app(), lambda _: None).comment(call.actor, row, call.body(CommentBody).text)
        return Reply(201, {"comment": said.model_dump(mode="json")})

    return serve(req, Role.READER, handle)


@bp.route(route="delegations", methods=["POST"])
def delegate(req: func.HttpRequest) -> func.HttpResponse:
    """Let somebody else decide for the caller on one policy's plans, until a time: {"delegation"}."""

    def handle(call: Call) -> Reply:
        body = call.body(DelegationBody)
        until = moment("until", body.until)
        delegation = Deciding(app(), lambda _: None).delegate(call.actor, _policy(body.policy), body.to, until, body.reason)
        return Reply(201, {"delegation": delegation.model_dump(mode="json")})

    return serve(req, Role.READER, handle)


@bp.route(route="delegations/{policy}", methods=["GET"])
def delegations(req: func.HttpRequest) -> func.HttpResponse:
    """Who decides for whom on a policy's plans: {"items"}, those that hold now."""

    def handle(call: Call) -> Reply:
        policy = _policy(call.route["policy"])
        call.require(Role.READER, policy.team)
        now = app().clock.now()
        items = [item.model_dump(mode="json") for item in app().ledger.voices.delegations(policy.name) if item.holds(now)]
        return Reply(200, {"items": items})

    return serve(req, Role.READER, handle)


@bp.route(route="delegations/{policy}/{delegation}", methods=["DELETE"])
def end_delegation(req: func.HttpRequest) -> func.HttpResponse:
    """Take a delegation back: {"ended_at"}."""

    def handle(call: Call) -> Reply:
        policy = _policy(call.route["policy"])
        ended = Deciding(app(), lambda _: None).end_delegation(call.actor, policy.name, call.route["delegation"])
        return Reply(200, {"ended_at": ended})

    return serve(req, Role.READER, handle)


@bp.route(route="promotions/{promotion}/review", methods=["POST"])
def review(req: func.HttpRequest) -> func.HttpResponse:
    """The review after a broken glass, by an approver who did not break it: {"justified", "reason"}."""

    def handle(call: Call) -> Reply:
        row = known(call, Role.READER)
        body = call.body(ReviewBody)
        found = Deciding(app(), lambda _: None).review(call.actor, row, body.justified, body.reason)
        return Reply(201, {"review": found.model_dump(mode="json")})

    return serve(req, Role.READER, handle)


def deciding_with(client: df.SyncDurableFunctionsClient) -> Deciding:
    """Decisions that wake their orchestration through this client."""
    return Deciding(app(), intake(client).wake)


def _link(this: App, row: PromotionRow, call: Call, deciding: Deciding) -> LinkClaims:
    """What the link's token is bound to. Raises Forbidden (none, forged) or Gone (expired); these are kept as refusals."""
    token = call.body(LinkBody).token or call.query.get("token", "")
    if not token:
        raise Forbidden("token is missing: send the link's token, which came with the announcement, beside your bearer token")
    try:
        return this.tickets.redeem(token)
    except (Forbidden, Gone) as error:
        deciding.refused(call.actor, row.id, "decide", error)
        raise


def _answer(row: PromotionRow, decided: Decided) -> dict[str, Any]:
    return {"recorded": True, "promotion": row.id, "decision": decided.vote.decision.value, "plan_hash": decided.vote.plan_hash,
            "state": decided.state, "tally": decided.tally.model_dump(mode="json")}


def _policy(name: str) -> PromotionPolicy:
    found = next((policy for policy in app().policies.policies() if policy.name.casefold() == name.casefold()), None)
    if found is None:
        raise NotFound(f"there is no policy {name}")
    return found
