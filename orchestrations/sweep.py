"""`sweep`: take away what killed, terminated or failed promotions left behind, and what was kept long enough.

It works from tags and the ledger, not from memory: whatever else was lost, a deployment carries the id
of the promotion that made it.
"""

from __future__ import annotations

from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.deploying import DEPLOYMENT_TIMEOUT, absent
from orchestrations.evidence import iso, now
from orchestrations.steps import StepFailed, Steps, call, poll
from pilotage.domain.names import child_id
from pilotage.messages import RollbackRequest, RollbackResult, SweepRequest


def sweep(ctx: task.OrchestrationContext, request: dict) -> Steps:
    """Input SweepRequest; output {"reaped", "removed", "failed"}."""
    wanted = SweepRequest.read(request)
    failed: list[str] = []
    reaped: list[str] = []
    for promotion in wanted.terminated:
        try:
            yield from _reap(ctx, wanted.id, promotion)
            reaped.append(promotion)
        except (StepFailed, task.TaskFailedError) as error:
            failed.append(f"{promotion}: {error}")
    removed = []
    found = yield from call(ctx, Activity.FIND_ORPHANS, {"at": iso(now(ctx))})
    failed += found.get("unread", [])
    for orphan in found["orphans"]:
        try:
            if (yield from _remove(ctx, orphan)):
                removed.append(orphan)
        except StepFailed as error:
            failed.append(f"{orphan['endpoint']}/{orphan['name']}: {error}")
    try:
        failed += (yield from call(ctx, Activity.ANCHOR_LATE, {}))["owed"]
    except StepFailed as error:
        failed.append(f"late digests: {error}")
    for due in (yield from call(ctx, Activity.DUE_REVIEWS, {}))["due"]:
        yield from _remind(ctx, due)
    return {"reaped": reaped, "removed": removed, "failed": failed}


def _remind(ctx: task.OrchestrationContext, due: dict[str, Any]) -> Steps:
    """Once a day, that a broken glass wants its review. A channel that fails says so by itself."""
    day = now(ctx).date().isoformat()
    try:
        yield from call(ctx, Activity.NOTIFY, {
            "kind": "review_due", "promotion": due["promotion"], "key": f"{due['promotion']}/review_due/{day}", "channels": [],
            "title": f"{due['promotion']} was approved by breaking the glass, and nobody has reviewed that",
            "text": f"The review is due by {due['review_by']}: POST promotions/{due['promotion']}/review. Until then nobody may break the "
                    f"glass of {due['policy']} again.", "facts": {"policy": due["policy"], "review by": due["review_by"]}})
    except StepFailed:
        return


def _reap(ctx: task.OrchestrationContext, sweep_id: str, promotion: str) -> Steps:
    """Close a promotion whose instance ended without saying so; what it did to traffic is undone first."""
    answer = yield from call(ctx, Activity.REAP, {"promotion": promotion, "at": iso(now(ctx))})
    undo = answer["rollback"]
    if undo is None:
        return
    # Each sweep has a rollback of its own: one that did not restore is over, and would not start again by its id.
    instance = child_id(promotion, sweep_id)
    message = RollbackRequest(id=instance, promotion=promotion, workspace=undo["workspace"], endpoint=undo["endpoint"], at=iso(now(ctx)),
                              reason="its orchestration was terminated during the rollout").wire()
    result = RollbackResult.read((yield ctx.call_sub_orchestrator("rollback", input=message, instance_id=instance, version=ctx.version)))
    if not result.restored:
        raise StepFailed("rollback", "NotRestored", result.message)


def _remove(ctx: task.OrchestrationContext, orphan: dict[str, Any]) -> Steps:
    """Take an orphan away, if it still is one: removing those before it took a while. True when it is gone."""
    target = {key: orphan[key] for key in ("workspace", "endpoint", "name")}
    begun = yield from call(ctx, Activity.REMOVE_ORPHAN, {**target, "at": iso(now(ctx))})
    if not begun["begun"]:
        return False
    yield from poll(ctx, Activity.DEPLOYMENT_STATE, target, absent, DEPLOYMENT_TIMEOUT)
    yield from call(ctx, Activity.DROP_RETAINED, target)
    return True
