"""`rollback`: the last-good traffic, exactly, whatever else is going on.

It is never blocked: it raises the endpoint's epoch and does not wait for the owner. A stale writer may
have one change in flight, so the split is written again until it is read back twice in a row.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.deploying import absent, create_deployment
from orchestrations.evidence import Evidence, iso, now
from orchestrations.steps import PATIENT, StepFailed, Steps, call, poll
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.policy import parse_duration
from pilotage.messages import Cursor, RollbackRequest, RollbackResult

ENDPOINT_TIMEOUT = timedelta(hours=1)
SETTLE = timedelta(seconds=2)
ROUNDS = 20


def rollback(ctx: task.OrchestrationContext, request: dict) -> Steps:
    """Input RollbackRequest; output RollbackResult."""
    wanted = RollbackRequest.read(request)
    evidence = Evidence(ctx, wanted.id, Cursor(), PromotionPhase.ROLLED_BACK)
    raised = yield from call(ctx, Activity.RAISE_EPOCH, {
        "workspace": wanted.workspace, "endpoint": wanted.endpoint, "rollback": wanted.id}, PATIENT)
    yield from evidence.fact("rollback.accepted", {**wanted.wire(), "epoch": raised["epoch"], "displaced": raised["displaced"]})
    last_good = (yield from call(ctx, Activity.READ_LAST_GOOD, {"promotion": wanted.promotion}, PATIENT))["last_good"]
    if last_good is None:
        result = RollbackResult(restored=True, message="the promotion had not changed any traffic")
        live, retained = raised["live"], list[dict[str, Any]]()
    else:
        try:
            result = yield from _restore(ctx, wanted, evidence, last_good, raised["epoch"])
        except StepFailed as failed:
            if failed.kind != "StaleEpoch":
                raise
            result = RollbackResult(restored=False, message="a newer rollback has taken over this endpoint")
            yield from evidence.outcome("rollback", result.wire())
            return result.wire()
        live = last_good["live"]
        until = iso(now(ctx) + parse_duration(last_good["keep"]))
        retained = [{"deployment": last_good["green"], "until": until}]
    yield from evidence.outcome("rollback", result.wire())
    release: dict[str, Any] = {"workspace": wanted.workspace, "endpoint": wanted.endpoint, "owner": wanted.id, "epoch": raised["epoch"]}
    if not result.restored:
        # Said plainly, and open for the next attempt: what is recorded as live stays.
        yield from call(ctx, Activity.RELEASE_ENDPOINT, {**release, "retained": []}, PATIENT)
        return result.wire()
    yield from call(ctx, Activity.MARK_ROLLED_BACK, {
        "promotion": wanted.promotion, "rollback": wanted.id, "message": f"rolled back: {wanted.reason}", "at": iso(now(ctx))}, PATIENT)
    yield from call(ctx, Activity.RELEASE_ENDPOINT, {**release, "live": live, "retained": retained}, PATIENT)
    return result.wire()


def _restore(
    ctx: task.OrchestrationContext, wanted: RollbackRequest, evidence: Evidence, last_good: dict[str, Any], epoch: int
) -> Steps:
    yield from _bring_back(ctx, wanted, evidence, last_good)
    traffic = last_good["traffic"]
    payload = {"workspace": wanted.workspace, "endpoint": wanted.endpoint, "owner": wanted.id, "epoch": epoch, "traffic": traffic}
    yield from evidence.intent("rollback.traffic", {"traffic": traffic, "epoch": epoch})
    held = 0
    for _ in range(ROUNDS):
        yield from call(ctx, Activity.BEGIN_TRAFFIC, payload, PATIENT)
        state = yield from poll(ctx, Activity.TRAFFIC_STATE, payload, lambda s: s["settled"], ENDPOINT_TIMEOUT, PATIENT)
        held = held + 1 if state["holds"] else 0
        if held == 2:
            return RollbackResult(restored=True, traffic=state["traffic"], message="traffic is as it was before the promotion")
        yield ctx.create_timer(SETTLE)
    return RollbackResult(restored=False, traffic=state["traffic"],
                          message=f"traffic does not hold: wanted {traffic}, read {state['traffic']}; find out who else changes it")


def _bring_back(ctx: task.OrchestrationContext, wanted: RollbackRequest, evidence: Evidence, last_good: dict[str, Any]) -> Steps:
    """Redeploy what served before and has been removed since, from what was recorded of it."""
    for name in last_good["traffic"]:
        spec = last_good["deployments"][name]
        target = {"workspace": wanted.workspace, "endpoint": wanted.endpoint, "name": name}
        state = yield from call(ctx, Activity.DEPLOYMENT_STATE, target, PATIENT)
        if absent(state):
            yield from evidence.intent("rollback.redeploy", spec)
            state = yield from create_deployment(ctx, spec, PATIENT)
            if absent(state) or state["deployment"]["provisioning_state"] != "Succeeded":
                raise StepFailed("begin_deployment", "OperationFailed", f"{name} served before and could not be deployed again")
            yield from evidence.outcome("rollback.redeploy", target)
