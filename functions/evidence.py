"""What the gates found, over HTTP: the report, and the waivers that people give on what it says."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import azure.durable_functions as df
import azure.functions as func
from pydantic import Field

from functions.explaining import gate_results
from functions.http import Body, Call, Reply, moment, serve
from functions.promotions import known
from pilotage.bootstrap import App, app
from pilotage.domain.access import Role
from pilotage.domain.approval import conflict_of_interest, named, naming_groups
from pilotage.domain.canonical import short_hash
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.domain.policy import ApprovalRule, PromotionPolicy
from pilotage.domain.waivers import LONGEST_DAYS, WAIVABLE, WaiverRecord
from pilotage.errors import Conflict, Forbidden, InvalidInput, NotFound
from pilotage.messages import PromotionRow

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)


class WaiverBody(Body):
    """Which gate's failure is passed over, why, and until when."""

    gate: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*(:[a-z0-9_]+)?$", max_length=80)]
    reason: Annotated[str, Field(min_length=10, max_length=2000)]
    expires: Annotated[str, Field(max_length=40)]
    """ISO time with a zone, such as 2026-12-31T12:00:00Z."""


@bp.route(route="promotions/{promotion}/report", methods=["GET"])
def get_report(req: func.HttpRequest) -> func.HttpResponse:
    """The gates' evidence: `?format=html` (a page with plots, the default) or `json`."""

    def handle(call: Call) -> Reply:
        row = known(call, Role.READER)
        form = call.query.get("format") or "html"
        if form not in ("html", "json"):
            raise InvalidInput(f"format: {form[:20]!r} is neither html nor json")
        results = _full(app(), row)
        if form == "json":
            return Reply(200, {"promotion": row.id, "model": row.model, "version": row.version, "phase": row.phase,
                               "results": [result.model_dump(mode="json") for result in results]})
        from pilotage.web import render_report  # templates are loaded by who asks for a page

        return Reply(200, render_report({"title": f"Gates of {row.model}:{row.version}", "facts": {
            "promotion": row.id, "phase": row.phase, "policy": row.policy, "attempt": str(row.attempt),
            "told": row.message or "nothing yet"}}, results))

    return serve(req, Role.READER, handle)


@bp.route(route="promotions/{promotion}/waivers", methods=["POST"])
def waive(req: func.HttpRequest) -> func.HttpResponse:
    """Pass over a failed gate of this promotion's version; `retry` then goes on. 201: recorded."""

    def handle(call: Call) -> Reply:
        this = app()
        row = known(call, Role.READER)
        body = call.body(WaiverBody)
        groups = _waiving_groups(this, call, row)
        _refuse_gate(this, row, body.gate)
        now = this.clock.now()
        expires = _expiry(body.expires, now)
        waiver = WaiverRecord(
            id=short_hash(row.id, body.gate, call.actor.object_id, body.reason, expires.isoformat(), length=16), policy=row.policy,
            model=row.model, version=row.version, gate=body.gate, approver=call.actor.object_id,
            groups=groups, reason=body.reason,
            given_at=now.isoformat(timespec="milliseconds"), expires=expires.isoformat())
        if waiver.id not in {given.id for given in this.ledger.waivers.of(row.policy, row.model, row.version)}:
            this.ledger.waivers.give(waiver)
        return Reply(201, {"waiver": waiver.model_dump(mode="json"), "next": f"POST /api/promotions/{row.id}/retry"})

    return serve(req, Role.READER, handle)


def _full(this: App, row: PromotionRow) -> list[GateResult]:
    """The results with their figures; one whose full evidence is gone or was changed says so."""
    found = []
    for wire in gate_results(this, row.id):
        told = GateResult.model_validate(wire)
        kept = this.ledger.gates.read(told.report) if told.report else None
        if kept is not None:
            # What was decided later (waived, carried over) stands in the passport.
            found.append(told.model_copy(update={"figures": kept.figures}))
        else:
            evidence = told.evidence | ({"figures": "the kept evidence is missing, or not what its digest says"} if told.report else {})
            found.append(told.model_copy(update={"evidence": evidence}))
    return found


def _waiving_groups(this: App, call: Call, row: PromotionRow) -> list[str]:
    """The person's groups that the rule of the promotion's own policy names, if it lets this person waive. Raises Forbidden."""
    if not call.actor.has(Role.APPROVER, row.team):
        scoped = f" or {Role.APPROVER.value}.{row.team}" if row.team else ""
        raise Forbidden(f"a waiver takes the app role {Role.APPROVER.value}{scoped}")
    accepted = next((entry for entry in this.ledger.passports.entries(row.id) if entry.step == "accepted"), None)
    rule = PromotionPolicy.from_wire(accepted.data["policy"]).production.approval if accepted else None
    if not isinstance(rule, ApprovalRule):
        raise Forbidden("the policy names no approvers, so nobody can waive a gate")
    actor = this.with_groups(call.actor, rule.approvers)
    if not named(rule.approvers, actor.object_id, actor.groups):
        raise Forbidden(f"the policy does not name you: it asks {', '.join(rule.approvers)}")
    if reason := conflict_of_interest(row.submitters, call.actor.object_id):
        raise Forbidden(f"you may not waive a gate of this model: {reason}")
    return naming_groups(rule.approvers, actor.groups)


def _refuse_gate(this: App, row: PromotionRow, gate: str) -> None:
    results: dict[str, Any] = {result["gate"]: result for result in gate_results(this, row.id)}
    if gate not in results:
        raise NotFound(f"{row.id} has no result of a gate {gate!r}; it has {', '.join(sorted(results)) or 'none yet'}")
    if gate.partition(":")[0] not in WAIVABLE:
        raise Forbidden(f"gate {gate} can't be waived: only {', '.join(sorted(WAIVABLE))} can")
    if results[gate]["outcome"] != GateOutcome.FAILED:
        raise Conflict(f"gate {gate} is {results[gate]['outcome']}: only a failed gate can be waived")


def _expiry(text: str, now: datetime) -> datetime:
    found = moment("expires", text)
    if not now < found <= now + timedelta(days=LONGEST_DAYS):
        raise InvalidInput(f"expires: must be in the future, and within {LONGEST_DAYS} days: what should hold longer belongs in the policy")
    return found
