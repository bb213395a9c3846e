"""Pages for people: the overview, a promotion, and the review in which a plan is decided on."""

import hashlib
from datetime import datetime, timedelta
from typing import Annotated, Literal
from urllib.parse import quote

import azure.durable_functions as df
import azure.functions as func
from pydantic import Field

from functions.approvals import deciding_with
from functions.durable import intake
from functions.http import Body, Call, Reply, serve_page
from functions.promotions import known, listed
from pilotage.bootstrap import App, app
from pilotage.deciding import Ask, Deciding, Standing
from pilotage.domain.access import Role
from pilotage.domain.approval import Decision
from pilotage.domain.phase import PromotionPhase
from pilotage.errors import Conflict, Forbidden, Gone, InvalidInput
from pilotage.messages import ApprovalRequest, PromotionRow
from pilotage.ports import FormClaims, LinkClaims

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)
SHOWN = 50
"""Promotions on a page of the overview."""
FORM_LASTS = timedelta(hours=1)
"""How long a page may lie open before its forms are sent."""


class ReviewForm(Body):
    """What a review page sends; `form` is the ticket that it was shown with."""

    form: str
    decision: Literal["approve", "reject", "withdraw", "break_glass", "comment"]
    reason: Annotated[str, Field(max_length=1000)] = ""
    reference: Annotated[str, Field(max_length=200)] = ""
    text: Annotated[str, Field(max_length=2000)] = ""


class RollbackForm(Body):
    form: str
    reason: Annotated[str, Field(min_length=1, max_length=1000)]


@bp.route(route="ui", methods=["GET"])
def overview_page(req: func.HttpRequest) -> func.HttpResponse:
    """`?model=&policy=&phase=&after=`: promotions of the reader's teams with their way, newest first; brings itself up to date."""

    def handle(call: Call) -> Reply:
        from functions.viewing import overview
        from pilotage.web import render_overview

        found = listed(call, SHOWN)
        asked = {name: (call.query.get(name) or "").strip() for name in ("model", "policy", "phase", "after")}
        return _page(req, render_overview(overview(app(), call.actor, found.rows, found.next, asked)))

    return serve_page(req, Role.READER, handle)


@bp.route(route="ui/promotions/{promotion}", methods=["GET"])
def promotion_page(req: func.HttpRequest) -> func.HttpResponse:
    """Every step, wait and retry of one promotion; for operators with the way back."""

    def handle(call: Call) -> Reply:
        from functions.viewing import promotion
        from pilotage.web import render_promotion

        this, row = app(), known(call, Role.READER)
        phase = PromotionPhase(row.phase)
        may = call.actor.has(Role.OPERATOR, row.team) and phase.touches_production and phase is not PromotionPhase.ROLLED_BACK
        form = this.tickets.issue_form(_about(row), call.actor.object_id, "rollback", this.clock.now() + FORM_LASTS) if may else ""
        return _page(req, render_promotion(promotion(this, row, form, live=not phase.terminal)), tagged=not may)

    return serve_page(req, Role.READER, handle)


@bp.route(route="ui/promotions/{promotion}/rollback", methods=["POST"])
@bp.durable_client_input(client_name="client")
def rollback_form(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    """The rollback that the promotion's page asks for."""

    def handle(call: Call) -> Reply:
        this, row = app(), known(call, Role.OPERATOR)
        body = call.form(RollbackForm)
        claims = _form(this, call, row, body.form, "rollback")
        this.ledger.voices.use_form(claims.nonce, {"promotion": row.id, "by": call.actor.object_id, "reason": body.reason})
        intake(client).rollback(row, body.reason, call.actor.object_id)
        return Reply(303, "", {"Location": f"/api/ui/promotions/{quote(row.id, safe='')}"})

    return serve_page(req, Role.OPERATOR, handle)


@bp.route(route="ui/approvals/{promotion}", methods=["GET"])
def review_page(req: func.HttpRequest) -> func.HttpResponse:
    """`?token=` of a decision link: what is asked, what speaks for it, who has said what, and the forms to decide."""

    def handle(call: Call) -> Reply:
        from functions.viewing import review
        from pilotage.web import render_review

        this, row = app(), known(call, Role.READER)
        deciding = Deciding(this, lambda _: None)
        try:
            asked = deciding.shown(row, this.tickets.redeem(call.query.get("token", "")))
        except (Forbidden, Conflict, Gone) as error:
            deciding.refused(call.actor, row.id, "review", error)
            raise
        standing = deciding.standing(call.actor, asked)
        view = review(this, row, asked, standing, _forms(this, call, asked, standing), call.address, _said(call))
        return _page(req, render_review(view), tagged=False)

    return serve_page(req, Role.READER, handle)


@bp.route(route="ui/approvals/{promotion}", methods=["POST"])
@bp.durable_client_input(client_name="client")
def review_form(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    """What a person decided on the review page."""

    def handle(call: Call) -> Reply:
        this, row = app(), known(call, Role.READER)
        body = call.form(ReviewForm)
        if body.decision == "comment" and not body.text:
            raise InvalidInput("text is missing: write what you want to say")
        deciding = deciding_with(client)
        # What is refused for its reason may be sent again with one; another decision, or another comment, takes another form.
        use: dict[str, object] = {"promotion": row.id, "by": call.actor.object_id, "decision": body.decision, "text": body.text}
        try:
            claims = _form(this, call, row, body.form, "comment" if body.decision == "comment" else "decide")
            this.ledger.voices.use_form(claims.nonce, use)
        except (Forbidden, Conflict, Gone) as error:
            deciding.refused(call.actor, row.id, body.decision, error)
            raise
        if body.decision == "comment":
            deciding.comment(call.actor, row, body.text)
        else:
            deciding.decide(call.actor, row, claims, Ask(decision=Decision(body.decision), reason=body.reason, reference=body.reference))
        # The link's token stays in the address, so that the page can be shown again.
        return Reply(303, "", {"Location": call.address.partition("&said=")[0] + f"&said={body.decision}"})

    return serve_page(req, Role.READER, handle)


@bp.route(route="ui/live.js", methods=["GET"])
def live_js(req: func.HttpRequest) -> func.HttpResponse:
    """The one script: it brings a page up to date."""

    def handle(call: Call) -> Reply:
        from pilotage.web import live_script

        return Reply(200, live_script(), {"Content-Type": "text/javascript; charset=utf-8"})

    return serve_page(req, Role.READER, handle)


def _page(req: func.HttpRequest, html: str, *, tagged: bool = True) -> Reply:
    """A page with its tag; 304 where the reader has it already. One with a form of its own differs each time."""
    if not tagged:
        return Reply(200, html)
    tag = f'"{hashlib.sha256(html.encode()).hexdigest()[:32]}"'
    if req.headers.get("If-None-Match") == tag:
        return Reply(304, "", {"ETag": tag})
    return Reply(200, html, {"ETag": tag})


def _about(row: PromotionRow) -> LinkClaims:
    return LinkClaims(promotion=row.id, stage="production", plan_hash=row.plan_hash, round=0)


def _form(this: App, call: Call, row: PromotionRow, token: str, purpose: str) -> FormClaims:
    """What the form was shown for. Raises Forbidden, Gone."""
    claims = this.tickets.redeem_form(token, call.actor.object_id, purpose)
    if claims.promotion != row.id:
        raise Forbidden("the form is of another promotion: open its page again")
    return claims


def _forms(this: App, call: Call, asked: ApprovalRequest, standing: Standing) -> dict[str, str]:
    """The tickets of the page's forms, each good once and for this person."""
    claims = LinkClaims(promotion=asked.promotion, stage=asked.stage, plan_hash=asked.plan_hash, round=asked.round)
    until = this.clock.now() + FORM_LASTS

    def ticket(purpose: str) -> str:
        return this.tickets.issue_form(claims, call.actor.object_id, purpose, until)

    before = datetime.fromisoformat(asked.expires_at) > this.clock.now()
    decides = before and (standing.may or standing.vote is not None)
    return {"form": ticket("decide") if decides else "", "comment_form": ticket("comment"),
            "glass_form": ticket("decide") if before and standing.may_break_glass else ""}


_SAID = {"approve": "Your approval is recorded.", "reject": "Your rejection is recorded.", "withdraw": "Your vote is withdrawn.",
         "break_glass": "You have broken the glass; it takes two.", "comment": "Your comment is recorded."}


def _said(call: Call) -> str:
    """What the reader just did, as the form's answer tells it."""
    return _SAID.get(call.query.get("said", ""), "")
