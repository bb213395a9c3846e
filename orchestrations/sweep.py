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
    return {"reaped": reaped, "removed": removed, "failed": failed}


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
