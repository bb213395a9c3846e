"""`approval`: wait for people, for as long as the policy says, at no cost.

The votes are records; the external event only wakes us, and we count the records again. There is one
pending wait at a time: waiting anew at each turn of a `when_any` loop loses events.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.evidence import Evidence
from orchestrations.steps import PATIENT, StepFailed, Steps, answer, call, start
from pilotage.domain.approval import Tally
from pilotage.domain.phase import PromotionPhase
from pilotage.messages import VOTE_EVENT, ApprovalRequest, ApprovalResult


def approval(ctx: task.OrchestrationContext, request: dict) -> Steps:
    """Input ApprovalRequest; output ApprovalResult."""
    wanted = ApprovalRequest.read(request)
    evidence = Evidence(ctx, wanted.promotion, wanted.cursor, PromotionPhase.AWAITING_APPROVAL)
    woken = ctx.wait_for_external_event(VOTE_EVENT)
    expired = ctx.create_timer(datetime.fromisoformat(wanted.expires_at))
    yield from call(ctx, Activity.OPEN_APPROVAL, {"request": request}, PATIENT)
    yield from evidence.fact("approval.opened", {
        "plan_hash": wanted.plan_hash, "rule": wanted.rule, "expires_at": wanted.expires_at})
    # Announced beside the wait: a channel that is down, and its retries, must not hold a vote up.
    announcing: task.Task[Any] | None = start(ctx, Activity.NOTIFY, _announcement(wanted))

    tally = yield from _count(ctx, wanted)
    while tally.state == "pending":
        winner = yield task.when_any([woken, expired, *([announcing] if announcing else [])])
        if announcing is not None and winner is announcing:
            yield from _announced(evidence, announcing)
            announcing = None
            continue
        tally = yield from _count(ctx, wanted)  # also at expiry: a vote recorded in time counts
        if winner is expired:
            break
        woken = ctx.wait_for_external_event(VOTE_EVENT)
    if not expired.is_complete:
        expired.cancel()
    outcome = "expired" if tally.state == "pending" else tally.state
    yield from evidence.outcome("approval", {"outcome": outcome, "plan_hash": wanted.plan_hash, "tally": tally.model_dump(mode="json")})
    return ApprovalResult(cursor=evidence.cursor, outcome=outcome, tally=tally).wire()


def _count(ctx: task.OrchestrationContext, wanted: ApprovalRequest) -> Steps:
    counted = yield from call(ctx, Activity.TALLY_VOTES, {
        "promotion": wanted.promotion, "stage": wanted.stage, "plan_hash": wanted.plan_hash, "attempt": wanted.attempt,
        "rule": wanted.rule, "submitters": [s.model_dump() for s in wanted.submitters]}, PATIENT)
    return Tally.model_validate(counted["tally"])


def _announced(evidence: Evidence, pending: task.Task[Any]) -> Steps:
    """A channel that fails is visible in the passport, and blocks nothing."""
    try:
        yield from answer(Activity.NOTIFY, pending)
        yield from evidence.fact("approval.announced")
    except StepFailed as failed:
        yield from evidence.fact("approval.announcement_failed", {"error": f"{failed.kind}: {failed}"})


def _announcement(wanted: ApprovalRequest) -> dict[str, Any]:
    return {
        "kind": "awaiting_approval", "promotion": wanted.promotion, "stage": wanted.stage, "plan_hash": wanted.plan_hash,
        "attempt": wanted.attempt, "expires_at": wanted.expires_at,
        "title": f"{wanted.plan.model} awaits approval for {wanted.plan.workspace}/{wanted.plan.endpoint}",
        "text": "Gates passed: " + ", ".join(str(item["gate"]) for item in wanted.plan.evidence),
        "facts": {"plan": wanted.plan_hash, "model digest": wanted.plan.model_digest, "expires": wanted.expires_at},
    }
