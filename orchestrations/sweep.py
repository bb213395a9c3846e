"""`sweep`: take away what killed, terminated or failed promotions left behind, and what was kept long enough.

It works from tags and the ledger, not from memory: whatever else was lost, a deployment carries the id
of the promotion that made it.
"""

from __future__ import annotations

from durabletask import task

from activities.names import Activity
from orchestrations.deploying import delete_deployment
from orchestrations.evidence import iso, now
from orchestrations.steps import StepFailed, Steps, call
from pilotage.messages import RollbackRequest, SweepRequest


def sweep(ctx: task.OrchestrationContext, request: dict) -> Steps:
    """Input SweepRequest; output {"reaped", "removed", "failed"}."""
    wanted = SweepRequest.read(request)
    failed: list[str] = []
    reaped: list[str] = []
    for promotion in wanted.terminated:
        try:
            yield from _reap(ctx, promotion)
            reaped.append(promotion)
        except (StepFailed, task.TaskFailedError) as error:
            failed.append(f"{promotion}: {error}")
    removed = []
    orphans = (yield from call(ctx, Activity.FIND_ORPHANS, {"at": iso(now(ctx))}))["orphans"]
    for orphan in orphans:
        try:
            yield from delete_deployment(ctx, orphan)
            yield from call(ctx, Activity.DROP_RETAINED, orphan)
            removed.append(orphan)
        except StepFailed as error:
            failed.append(f"{orphan['endpoint']}/{orphan['name']}: {error}")
    return {"reaped": reaped, "removed": removed, "failed": failed}


def _reap(ctx: task.OrchestrationContext, promotion: str) -> Steps:
    """Close a promotion whose instance ended without saying so; what it did to traffic is undone first."""
    answer = yield from call(ctx, Activity.REAP, {"promotion": promotion, "at": iso(now(ctx))})
    undo = answer["rollback"]
    if undo is None:
        return
    message = RollbackRequest(at=iso(now(ctx)), reason="its orchestration was terminated during the rollout", **undo).wire()
    yield ctx.call_sub_orchestrator("rollback", input=message, instance_id=undo["id"], version=ctx.version)
