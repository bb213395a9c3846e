"""`retraining`: submit the policy's training job under a deterministic name and wait for it on durable timers."""

from __future__ import annotations

from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.evidence import Evidence
from orchestrations.steps import StepFailed, Steps, call, poll
from pilotage.domain.names import retraining_job
from pilotage.domain.phase import PromotionPhase
from pilotage.messages import RetrainingRequest, RetrainingResult


def retraining(ctx: task.OrchestrationContext, request: dict) -> Steps:
    """Input RetrainingRequest; output RetrainingResult."""
    wanted = RetrainingRequest.read(request)
    policy = wanted.parsed_policy()
    evidence = Evidence(ctx, wanted.incident, wanted.cursor, PromotionPhase.ACCEPTED)
    job = retraining_job(wanted.incident, wanted.attempt)
    # Labels such as @latest are resolved once, here; a repeated submission must mean the same job.
    spec = (yield from call(ctx, Activity.PIN_RETRAINING, {"policy": wanted.policy, "incident": wanted.incident, "job": job}))["spec"]
    yield from evidence.intent("retraining.job", spec)
    yield from call(ctx, Activity.BEGIN_JOB, {"spec": spec})
    target: dict[str, Any] = {"workspace": spec["workspace"], "name": job}
    assert policy.on_drift is not None
    try:
        state = yield from poll(ctx, Activity.JOB_STATE, target, lambda s: s["terminal"], policy.on_drift.timeout)
    except StepFailed as failed:
        if failed.kind != "Timeout":
            raise
        yield from call(ctx, Activity.CANCEL_JOB, target)
        state = {"status": "Canceled", "message": f"canceled after {policy.on_drift.timeout}"}
    yield from evidence.outcome("retraining.job", {**target, "status": state["status"], "message": state["message"]})
    completed = state["status"] == "Completed"
    message = f"{job} completed" if completed else f"{job} ended {state['status']}: {state['message'] or 'see its logs in the studio'}"
    return RetrainingResult(cursor=evidence.cursor, outcome="completed" if completed else "failed", job=job, message=message).wire()
