"""`drift`: one incident. Gather its alerts, decide within cooldown and budget, retrain, and see the new version promoted.

The retrained version is promoted by its own registration event, like any other; here we only make
sure that this happens, so that a loop that breaks in the middle is seen.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.evidence import Evidence, iso, now
from orchestrations.steps import PATIENT, StepFailed, Steps, call, child_failed, poll
from pilotage.domain.drift import PastRun, decide
from pilotage.domain.names import child_id
from pilotage.domain.phase import PromotionPhase
from pilotage.messages import Cursor, DriftRequest, RetrainingRequest, RetrainingResult


def drift(ctx: task.OrchestrationContext, request: dict) -> Steps:
    """Input DriftRequest; output {"outcome", "message"}."""
    wanted = DriftRequest.read(request)
    evidence = Evidence(ctx, wanted.id, Cursor(), PromotionPhase.ACCEPTED)
    key = {"incident": wanted.id, "policy": wanted.parsed_policy().name, "endpoint_key": wanted.endpoint_key}
    yield from evidence.fact("incident.opened", {"alert": wanted.alert.model_dump(), "policy_hash": wanted.policy_hash})
    try:
        outcome, message = yield from _respond(ctx, wanted, evidence, key)
    except StepFailed as failed:
        outcome, message = "errored", f"{failed.activity}: {failed.kind}: {failed}"
    yield from evidence.outcome("incident", {"outcome": outcome, "message": message})
    yield from call(ctx, Activity.CLOSE_INCIDENT, key, PATIENT)
    if outcome in ("errored", "notified"):
        yield from _tell(ctx, wanted, evidence, outcome, message)
    yield from evidence.close()
    return {"outcome": outcome, "message": message}


def _respond(ctx: task.OrchestrationContext, wanted: DriftRequest, evidence: Evidence, key: dict[str, Any]) -> Steps:
    policy = wanted.parsed_policy()
    rule = policy.on_drift
    if rule is None:
        return "notified", "the policy does not say what to do on drift"
    yield ctx.create_timer(rule.coalesce)
    facts = yield from call(ctx, Activity.INCIDENT_FACTS, key)
    decision = decide(rule, [PastRun.model_validate(run) for run in facts["runs"]], now(ctx))
    yield from evidence.outcome("incident.decision", {**decision.model_dump(), "alerts": facts["alerts"]})
    if decision.action == "suppress":
        return "suppressed", decision.reason
    if decision.action == "notify":
        return "notified", decision.reason

    yield from call(ctx, Activity.RECORD_RUN, {**key, "started_at": iso(now(ctx))}, PATIENT)
    result = yield from _retrain(ctx, wanted, evidence)
    if result.outcome != "completed":
        return "errored", result.message
    found = yield from _await_promotion(ctx, wanted, rule.promotion_within)
    if found is None:
        return "errored", (f"{result.job} completed, but no promotion of its model started within {rule.promotion_within}: "
                           "does the job register a version that carries the policy's tags and pilotage.case?")
    yield from evidence.outcome("incident.promotion", {"promotion": found})
    return "retrained", f"{result.job} registered the version that {found} promotes"


def _retrain(ctx: task.OrchestrationContext, wanted: DriftRequest, evidence: Evidence) -> Steps:
    message = RetrainingRequest(incident=wanted.id, policy=wanted.policy, cursor=evidence.cursor).wire()
    try:
        result = RetrainingResult.read((yield ctx.call_sub_orchestrator(
            "retraining", input=message, instance_id=child_id(ctx.instance_id, "retraining"), version=ctx.version)))
    except task.TaskFailedError as failure:
        yield from evidence.recover()
        raise child_failed("retraining", failure) from failure
    evidence.resume(result.cursor)
    return result


def _await_promotion(ctx: task.OrchestrationContext, wanted: DriftRequest, within: timedelta) -> Steps:
    try:
        state = yield from poll(ctx, Activity.FIND_CASE_PROMOTION, {"case": wanted.id}, lambda s: s["promotion"] is not None, within)
    except StepFailed as failed:
        if failed.kind != "Timeout":
            raise
        return None
    return state["promotion"]


def _tell(ctx: task.OrchestrationContext, wanted: DriftRequest, evidence: Evidence, outcome: str, message: str) -> Steps:
    try:
        yield from call(ctx, Activity.NOTIFY, {
            "kind": f"drift_{outcome}", "promotion": wanted.id, "title": f"Drift on {wanted.endpoint_key}: {outcome}",
            "text": message, "facts": {"signal": wanted.alert.signal, "summary": wanted.alert.summary}})
    except StepFailed as failed:
        yield from evidence.fact("incident.announcement_failed", {"error": f"{failed.kind}: {failed}"})
