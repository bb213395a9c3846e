"""`approval`: wait for people, for as long as the policy says, at no cost.

The votes are records; the external event only wakes us, and we count the records again. There is one
pending wait at a time: waiting anew at each turn of a `when_any` loop loses events. Reminders and the
escalation are alarms on one durable timer, the next one first.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.evidence import Evidence, iso, now
from orchestrations.steps import PATIENT, StepFailed, Steps, answer, call, start
from pilotage.domain.approval import Tally
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.policy import ApprovalRule
from pilotage.messages import VOTE_EVENT, ApprovalRequest, ApprovalResult

Alarm = tuple[datetime, str]
MOST_REMINDERS = 100
"""A rule that would remind more often than that reminds so often."""


def approval(ctx: task.OrchestrationContext, request: dict) -> Steps:
    """Input ApprovalRequest; output ApprovalResult."""
    wanted = ApprovalRequest.read(request)
    rule = ApprovalRule.model_validate(wanted.rule)
    evidence = Evidence(ctx, wanted.promotion, wanted.cursor, PromotionPhase.AWAITING_APPROVAL)
    woken = ctx.wait_for_external_event(VOTE_EVENT)
    expires_at = datetime.fromisoformat(wanted.expires_at)
    expired = ctx.create_timer(expires_at)
    opened = yield from call(ctx, Activity.OPEN_APPROVAL, {"request": request}, PATIENT)
    yield from evidence.fact("approval.opened", {
        "stage": wanted.stage, "round": wanted.round, "plan_hash": wanted.plan_hash, "rule": wanted.rule, "expires_at": wanted.expires_at,
        "changed": wanted.changed, "supersedes": [older["promotion"] for older in opened["superseded"]]})
    for older in opened["superseded"]:
        ctx.send_event(older["instance"], VOTE_EVENT, data={"id": wanted.promotion})
    alarms = _alarms(wanted, rule, expires_at)
    alarm = ctx.create_timer(alarms[0][0]) if alarms else None
    counted = yield from _count(ctx, wanted, rule, final=False)
    telling: dict[task.Task[Any], str] = {}
    rung = 0
    if counted["closed"] is None:
        # Announced beside the wait: a channel that is down, and its retries, must not hold a vote up.
        telling[_tell(ctx, wanted, "plan_changed" if wanted.changed else "awaiting_approval", 0)] = "announced"
    while counted["closed"] is None:
        winner = yield task.when_any([woken, expired, *([alarm] if alarm else []), *telling])
        if winner in telling:
            yield from _told(evidence, telling.pop(winner), winner)
            continue
        if winner is alarm:
            kind = alarms.pop(0)[1]
            yield from evidence.fact(f"approval.{kind}", {"to": rule.escalate.to} if kind == "escalated" and rule.escalate else {})
            rung += 1
            telling[_tell(ctx, wanted, kind, rung)] = f"{kind}.announced"
            alarm = ctx.create_timer(alarms[0][0]) if alarms else None
            continue
        # Also at expiry: a vote recorded in time counts.
        counted = yield from _count(ctx, wanted, rule, final=winner is expired)
        if winner is woken:
            woken = ctx.wait_for_external_event(VOTE_EVENT)
    for timer in (expired, alarm):
        if timer is not None and not timer.is_complete:
            timer.cancel()
    closed = counted["closed"]
    yield from evidence.outcome("approval", {
        "stage": wanted.stage, "round": wanted.round, "outcome": closed["outcome"], "plan_hash": wanted.plan_hash,
        "tally": closed["tally"], "votes": closed["votes"], **({"by": closed["by"]} if closed["by"] else {})})
    tally = Tally.model_validate(closed["tally"])
    if tally.glass_broken:
        yield from evidence.fact("approval.glass_broken", {"by": tally.broken_glass_by, "review_by": _review_by(ctx, rule)})
    return ApprovalResult(cursor=evidence.cursor, outcome=closed["outcome"], tally=tally, by=closed["by"]).wire()


def _alarms(wanted: ApprovalRequest, rule: ApprovalRule, expires_at: datetime) -> list[Alarm]:
    """When to remind and when to escalate, in order; none at or after the expiry."""
    opened = datetime.fromisoformat(wanted.opened_at)
    found: list[Alarm] = []
    if rule.remind:
        every = max(rule.remind, timedelta(seconds=(expires_at - opened).total_seconds() / MOST_REMINDERS))
        found += [(opened + every * number, "reminder") for number in range(1, MOST_REMINDERS + 1)]
    if rule.escalate:
        found.append((opened + rule.escalate.after, "escalated"))
    return sorted(alarm for alarm in found if alarm[0] < expires_at)


def _count(ctx: task.OrchestrationContext, wanted: ApprovalRequest, rule: ApprovalRule, *, final: bool) -> Steps:
    return (yield from call(ctx, Activity.TALLY_VOTES, {
        "request": wanted.wire(), "at": iso(now(ctx)), "final": final,
        "review_by": _review_by(ctx, rule)}, PATIENT))


def _review_by(ctx: task.OrchestrationContext, rule: ApprovalRule) -> str:
    return iso(now(ctx) + rule.break_glass.review_within) if rule.break_glass else ""


def _told(evidence: Evidence, step: str, pending: task.Task[Any]) -> Steps:
    """A channel that fails is visible in the passport, and blocks nothing."""
    try:
        told = yield from answer(Activity.NOTIFY, pending)
        yield from evidence.fact(f"approval.{step}", {"channels": told["channels"]} if told.get("channels") else {})
    except StepFailed as failed:
        yield from evidence.fact(f"approval.{step.replace('announced', 'announcement_failed')}", {"error": f"{failed.kind}: {failed}"})


def _tell(ctx: task.OrchestrationContext, wanted: ApprovalRequest, kind: str, number: int) -> task.Task[Any]:
    place = f"{wanted.plan.workspace}/{wanted.plan.endpoint}"
    what = f"{wanted.model}:{wanted.version}" if wanted.model else wanted.plan.model
    titles = {"awaiting_approval": f"{what} awaits approval for {place}",
              "plan_changed": f"The plan for {place} has changed: {what} awaits approval anew",
              "reminder": f"{what} still awaits approval for {place}",
              "escalated": f"{what} awaits approval for {place}, and those first asked have not decided"}
    gates = ", ".join(str(item["gate"]) for item in wanted.plan.evidence)
    text = f"Gates passed: {gates}" if gates else "Nothing is measured yet: this asks for the test itself"
    if wanted.changed:
        text = "Earlier approvals are void: " + "; ".join(wanted.changed)[:1500]
    return start(ctx, Activity.NOTIFY, {
        "kind": kind, "promotion": wanted.promotion, "stage": wanted.stage, "plan_hash": wanted.plan_hash, "round": wanted.round,
        "expires_at": wanted.expires_at, "title": titles[kind], "text": text, "channels": wanted.channels,
        "key": f"{wanted.promotion}/{wanted.stage}/{wanted.round}/{kind}/{number}",
        "facts": {"plan": wanted.plan_hash, "model digest": wanted.plan.model_digest, "expires": wanted.expires_at}})
