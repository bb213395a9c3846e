"""`gate`: one gate of one candidate: begun, its job awaited on durable timers, finished; never longer than its timeout."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.steps import StepFailed, Steps, answer, call, poll, start
from pilotage.domain.gate_specs import GateSpec
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.domain.policy import Stage
from pilotage.domain.strict import format_duration, parse_duration
from pilotage.messages import GateRequest, PromotionRequest

DEFAULT_TIMEOUT = timedelta(minutes=30)


def gate(ctx: task.OrchestrationContext, request: dict) -> Steps:
    """Input GateRequest; output {"result": GateResult}. Never fails: what we or Azure could not do is an Errored result."""
    wanted = GateRequest.read(request)
    limit = parse_duration(wanted.spec["timeout"]) if "timeout" in wanted.spec else DEFAULT_TIMEOUT
    deadline = ctx.create_timer(limit)
    try:
        result = yield from _measure(ctx, wanted, request, limit, deadline)
    except StepFailed as failed:
        result = _errored(wanted, f"{failed.kind}: {failed}")
    return {"result": result}


def gate_request(kind: str, name: str, spec: GateSpec, promotion: PromotionRequest, stage: Stage, target: dict[str, Any],
                 **pinned: Any) -> dict[str, Any]:
    """The message that begins a gate on a deployment of a stage. `pinned`: the fields of GateRequest that say what exactly is measured."""
    policy = promotion.parsed_policy()
    return GateRequest(
        promotion=promotion.id, name=name, kind=kind, spec=spec.model_dump(mode="json", exclude_none=True, by_alias=True),
        home=policy.home, source=promotion.source, target={key: target[key] for key in ("workspace", "endpoint", "name")},
        size={"instance_type": stage.target.instance_type, "instances": stage.target.instances},
        production={"workspace": policy.production.workspace, "endpoint": policy.production.target.endpoint}, **pinned).wire()


def _measure(ctx: task.OrchestrationContext, wanted: GateRequest, request: dict, limit: timedelta, deadline: task.Task[Any]) -> Steps:
    begun = ctx.current_utc_datetime
    first = yield from _in_time(ctx, Activity.BEGIN_GATE, request, deadline)
    if first is None:
        return _errored(wanted, _late(limit))
    if first["result"] is not None:
        return first["result"]
    job = {"workspace": first["workspace"], "name": first["job"]}
    try:
        yield from poll(ctx, Activity.JOB_STATE, job, lambda state: state["terminal"], limit - (ctx.current_utc_datetime - begun))
    except StepFailed as failed:
        # A job that nobody waits for any more costs money.
        yield from call(ctx, Activity.CANCEL_JOB, job)
        return _errored(wanted, _late(limit) if failed.kind == "Timeout" else f"{failed.kind}: {failed}")
    judged = yield from _in_time(ctx, Activity.FINISH_GATE, request, deadline)
    return judged["result"] if judged is not None else _errored(wanted, _late(limit))


def _in_time(ctx: task.OrchestrationContext, activity: Activity, payload: dict[str, Any], deadline: task.Task[Any]) -> Steps:
    """The activity's answer, or None when the gate's time is over first: what it answers then is nobody's."""
    pending = start(ctx, activity, payload)
    # The activity first: when both are there at one look, its verdict counts.
    if (yield task.when_any([pending, deadline])) is deadline and not pending.is_complete:
        return None
    return (yield from answer(activity, pending))


def _late(limit: timedelta) -> str:
    return f"it took longer than its timeout of {format_duration(limit)}: raise `timeout`, or give it less to measure with"


def _errored(wanted: GateRequest, message: str) -> dict[str, Any]:
    return GateResult(gate=wanted.name, outcome=GateOutcome.ERRORED, message=message,
                      severity=wanted.spec.get("severity", "block")).model_dump(mode="json")
