"""Steps that staging, rollout, rollback and sweep share: begin in one activity, poll on durable timers."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.steps import RETRY, Steps, call, poll

DEPLOYMENT_TIMEOUT = timedelta(hours=2)


def absent(state: dict[str, Any]) -> bool:
    return state["deployment"] is None


def create_deployment(ctx: task.OrchestrationContext, spec: dict[str, Any], retry: task.RetryPolicy = RETRY) -> Steps:
    """Create (or find) a deployment and wait until it stands or has failed; returns its state."""
    yield from call(ctx, Activity.BEGIN_DEPLOYMENT, {"spec": {k: v for k, v in spec.items() if v is not None}}, retry)
    target = {key: spec[key] for key in ("workspace", "endpoint", "name")}
    return (yield from poll(ctx, Activity.DEPLOYMENT_STATE, target, lambda s: s["settled"], DEPLOYMENT_TIMEOUT, retry))


def delete_deployment(ctx: task.OrchestrationContext, target: dict[str, Any], retry: task.RetryPolicy = RETRY) -> Steps:
    """Delete a deployment and wait until it is gone; one that is absent already is gone."""
    target = {key: target[key] for key in ("workspace", "endpoint", "name")}
    yield from call(ctx, Activity.BEGIN_DELETE_DEPLOYMENT, target, retry)
    yield from poll(ctx, Activity.DEPLOYMENT_STATE, target, absent, DEPLOYMENT_TIMEOUT, retry)
