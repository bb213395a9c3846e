"""`tell`: a message to people that nobody waits for. It is an orchestration of its own, so that its retries hold nothing up."""

from __future__ import annotations

from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.steps import PATIENT, StepFailed, Steps, call
from pilotage.domain.canonical import short_hash
from pilotage.domain.names import child_id
from pilotage.messages import PromotionRequest


def tell_people(ctx: task.OrchestrationContext, request: dict) -> Steps:
    """Input: what the activity `notify` takes; output {"told", "error"}. Which channels failed is kept with the channels."""
    try:
        yield from call(ctx, Activity.NOTIFY, request, PATIENT)
    except StepFailed as failed:
        return {"told": False, "error": f"{failed.kind}: {failed}"}
    return {"told": True, "error": ""}


def tell(ctx: task.OrchestrationContext, wanted: PromotionRequest, kind: str, title: str, text: str, facts: dict[str, Any],
         *, key: str = "") -> None:
    """Tell it and go on. `key` sets apart two messages of one kind about one promotion; the same one is told once."""
    key = f"{wanted.id}/{kind}/{key}"
    # The SDK does not hand its own version on to sub-orchestrations.
    ctx.call_sub_orchestrator("tell_people", version=ctx.version, instance_id=child_id(ctx.instance_id, f"tell-{short_hash(key)}"), input={
        "kind": kind, "promotion": wanted.id, "title": title, "text": text, "facts": facts, "key": key,
        "channels": wanted.policy.get("notify", [])})
