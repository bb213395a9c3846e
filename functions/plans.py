"""Plans over HTTP: everything that a promotion will change, and the hash by which it is approved. Reading one changes nothing."""

from typing import Any

import azure.durable_functions as df
import azure.functions as func

from functions.durable import intake
from functions.explaining import counted, proposed_plan
from functions.http import Call, Reply, serve
from functions.promotions import known
from pilotage.bootstrap import App, app
from pilotage.domain.access import Role
from pilotage.domain.plan import Plan
from pilotage.errors import InvalidInput
from pilotage.messages import PromotionRequest, PromotionRow
from pilotage.planning import preview

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


@bp.route(route="promotions/{promotion}/plan", methods=["GET"])
def get_plan(req: func.HttpRequest) -> func.HttpResponse:
    """The plan that people are or were asked about; before there is one, as far as it is known: {"state", "hash", "plan", ...}."""

    def handle(call: Call) -> Reply:
        return Reply(200, _told(app(), known(call, Role.READER)))

    return serve(req, Role.READER, handle)


@bp.route(route="plan", methods=["GET"])
@bp.durable_client_input(client_name="client")
def plan_version(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    """`?model=&version=[&workspace=|&registry=][&policy=]`: the plan of its newest promotion, or what one would do."""

    def handle(call: Call) -> Reply:
        query = {name: call.query.get(name) or None for name in ("model", "version", "workspace", "registry", "policy")}
        for name in ("model", "version"):
            if not query[name]:
                raise InvalidInput(f"{name} is missing: ask for /api/plan?model=air-time&version=3")
        wanted = intake(client).by_hand(
            model=query["model"] or "", version=query["version"] or "", workspace=query["workspace"], registry=query["registry"],
            policy=query["policy"], actor=call.actor.object_id)
        call.require(Role.READER, wanted.parsed_policy().team)
        row = _newest(app(), wanted)
        return Reply(200, _told(app(), row) if row is not None else _preview(app(), wanted))

    return serve(req, Role.READER, handle)


def _told(this: App, row: PromotionRow) -> dict[str, Any]:
    request = this.ledger.approvals.current(row.id)
    if request is not None:
        closed = this.ledger.approvals.closed(request)
        return {**_plan(request.plan), "promotion": row.id, "state": closed.outcome if closed else "asked", "round": request.round,
                "changed": request.changed, "approval": {"rule": request.rule, "expires_at": request.expires_at,
                                                         "tally": counted(this, request)}}
    made = proposed_plan(this, row.id)
    if made is not None:
        return {**_plan(made), "promotion": row.id, "state": "made"}
    claim = this.ledger.claims.get(row.id)
    if claim is None:
        raise InvalidInput(f"{row.id} has no request in the ledger: retry it to plan it anew")
    return {**_preview(this, PromotionRequest.read(claim.message)), "promotion": row.id}


def _preview(this: App, wanted: PromotionRequest) -> dict[str, Any]:
    found = _plan(preview(this, wanted))
    return {**found, "promotion": None, "state": "preview", "note": "the gates are still to be passed: people are asked about another hash"}


def _plan(plan: Plan) -> dict[str, Any]:
    return {"hash": plan.hash, "plan": plan.model_dump(mode="json")}


def _newest(this: App, wanted: PromotionRequest) -> PromotionRow | None:
    rows = this.ledger.promotions.list(model=wanted.source.name, policy=str(wanted.policy["name"]))
    return next((row for row in rows if row.version.casefold() == wanted.source.version.casefold() and row.source == wanted.source), None)
