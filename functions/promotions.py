"""Promotions over HTTP: list, explain, promote by hand, retry, roll back."""

import re
from typing import Annotated, Any

import azure.durable_functions as df
import azure.functions as func
from pydantic import Field

from functions.durable import intake
from functions.explaining import explain, summary
from functions.http import Body, Call, Reply, serve
from pilotage.bootstrap import app
from pilotage.domain.access import Role
from pilotage.domain.phase import PromotionPhase
from pilotage.errors import Forbidden, InvalidInput, NotFound
from pilotage.intake import IntakeItem, Outcome
from pilotage.messages import PromotionPage, PromotionRow

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)
DEFAULT_LIMIT, MAX_LIMIT = 100, 1000
_PLACE = re.compile(r"[0-9]{17}\.[A-Za-z0-9._:-]{1,300}")

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,254}$")]


class PromoteBody(Body):
    """A version to promote by hand; `policy` where several cover it."""

    model: Name
    version: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,29}$")]
    workspace: Name | None = None
    registry: Name | None = None
    policy: Name | None = None


class RollbackBody(Body):
    """Why, for the record; `force` where a later promotion serves and both are to be undone."""

    reason: Annotated[str, Field(max_length=1000)] = ""
    force: bool = False


class RetryBody(Body):
    """Nothing to say."""


@bp.route(route="promotions", methods=["GET"])
def list_promotions(req: func.HttpRequest) -> func.HttpResponse:
    """`?model=&phase=&policy=&limit=&after=` -> {"items": [...], "next"}, newest first, of the caller's teams."""

    def handle(call: Call) -> Reply:
        found = listed(call, _limit(call.query.get("limit")))
        return Reply(200, {"items": [summary(row) for row in found.rows], "next": found.next or None})

    return serve(req, Role.READER, handle)


@bp.route(route="promotions/{promotion}", methods=["GET"])
def get_promotion(req: func.HttpRequest) -> func.HttpResponse:
    """One promotion with its steps, gates, plan and approval."""
    return serve(req, Role.READER, lambda call: Reply(200, explain(app(), known(call, Role.READER))))


@bp.route(route="promotions", methods=["POST"])
@bp.durable_client_input(client_name="client")
def promote(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    """Promote a version by hand: of a registry (which emits no events), or whose event was lost."""

    def handle(call: Call) -> Reply:
        body = call.body(PromoteBody)
        if body.version == "latest":
            raise InvalidInput("version: name a version; latest may be another one by the time it is read")
        desk = intake(client)
        request = desk.by_hand(**body.model_dump(), actor=call.actor.object_id)
        call.require(Role.OPERATOR, request.parsed_policy().team)
        return _accepted(desk.start(request))

    return serve(req, Role.OPERATOR, handle)


@bp.route(route="promotions/{promotion}/retry", methods=["POST"])
@bp.durable_client_input(client_name="client")
def retry_promotion(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    """Start the next attempt; the old evidence is linked."""

    def handle(call: Call) -> Reply:
        row = known(call, Role.OPERATOR)
        call.body(RetryBody)
        desk = intake(client)
        request = desk.again(row, call.actor.object_id)
        call.require(Role.OPERATOR, request.parsed_policy().team)
        return _accepted(desk.start(request))

    return serve(req, Role.OPERATOR, handle)


@bp.route(route="promotions/{promotion}/rollback", methods=["POST"])
@bp.durable_client_input(client_name="client")
def roll_back_promotion(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    """Restore the traffic from before the promotion, exactly; never waits for anything."""

    def handle(call: Call) -> Reply:
        row = known(call, Role.OPERATOR)
        body = call.body(RollbackBody)
        item = intake(client).rollback(row, body.reason or "asked for over HTTP", call.actor.object_id, force=body.force)
        return _accepted(item, promotion=row.id)

    return serve(req, Role.OPERATOR, handle)


def listed(call: Call, size: int) -> PromotionPage:
    """A page of what the caller may see, as the query filters it. Raises InvalidInput."""
    query = {name: (call.query.get(name) or "").strip() for name in ("model", "policy", "after")}
    if query["after"] and not _PLACE.fullmatch(query["after"]):
        raise InvalidInput("after: take it from `next` of the page before")
    return app().ledger.promotions.page(
        size, model=query["model"] or None, phase=_phase(call.query.get("phase")), policy=query["policy"] or None,
        teams=call.actor.teams(Role.READER), after=query["after"])


def known(call: Call, role: Role) -> PromotionRow:
    """The promotion of the route, which the caller may see in this role. Raises NotFound, Forbidden."""
    promotion = call.route["promotion"]
    row = app().ledger.promotions.get(promotion)
    if row is None:
        raise NotFound(f"there is no promotion {promotion[:100]}; GET /api/promotions lists them")
    if not call.actor.has(role, row.team):
        raise Forbidden(f"promotion {row.id} is of team {row.team}: this takes {role.value} or {role.value}.{row.team}"
                        if row.team else f"this takes the app role {role.value}")
    return row


def _accepted(item: IntakeItem, **more: Any) -> Reply:
    """202 for what starts now, 200 for what was started before."""
    started = item.outcome is Outcome.STARTED
    return Reply(202 if started else 200, {"id": item.id, "outcome": item.outcome, "policy": item.policy, **more},
                 {} if more else {"Location": f"/api/promotions/{item.id}"})


def _phase(text: str | None) -> str | None:
    if not text:
        return None
    try:
        return PromotionPhase(text.lower()).value
    except ValueError:
        raise InvalidInput(f"phase: {text[:64]!r} is none of {', '.join(PromotionPhase)}") from None


def _limit(text: str | None) -> int:
    if not text:
        return DEFAULT_LIMIT
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:9]) <= MAX_LIMIT:
        raise InvalidInput(f"limit: must be a whole number from 1 to {MAX_LIMIT}")
    return int(text)
