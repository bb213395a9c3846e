"""`rollback`: the last-good traffic, exactly, whatever else is going on.

It is never blocked: it raises the endpoint's epoch and does not wait for the owner. A stale writer may
have one change in flight, so the split is written until it has been read back long enough for that one to show.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.deploying import DEPLOYMENT_TIMEOUT, absent, create_deployment
from orchestrations.evidence import Evidence, iso, now
from orchestrations.steps import PATIENT, StepFailed, Steps, call, poll
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.strict import parse_duration
from pilotage.messages import Cursor, RollbackRequest, RollbackResult

ENDPOINT_TIMEOUT = timedelta(hours=1)
SETTLE = timedelta(seconds=2)
IN_FLIGHT = timedelta(minutes=2)
"""How long a traffic change that a displaced writer has asked for may be on its way: no call takes longer (pilotage.ports)."""
ROUNDS = 20


def rollback(ctx: task.OrchestrationContext, request: dict) -> Steps:
    """Input RollbackRequest; output RollbackResult."""
    wanted = RollbackRequest.read(request)
    evidence = Evidence(ctx, wanted.id, Cursor(), PromotionPhase.ROLLED_BACK)
    where = {"workspace": wanted.workspace, "endpoint": wanted.endpoint}
    raised = yield from call(ctx, Activity.RAISE_EPOCH, {**where, "rollback": wanted.id, "promotion": wanted.promotion}, PATIENT)
    yield from evidence.fact("rollback.accepted", {**wanted.wire(), "epoch": raised["epoch"], "displaced": raised["displaced"]})
    last_good = (yield from call(ctx, Activity.READ_LAST_GOOD, {"promotion": wanted.promotion}, PATIENT))["last_good"]
    release: dict[str, Any] = {**where, "owner": wanted.id, "epoch": raised["epoch"], "retained": []}
    if last_good is None:
        result = RollbackResult(restored=True, message="the promotion had not changed any traffic")
    else:
        try:
            result = yield from _restore(ctx, wanted, evidence, last_good, raised)
        except StepFailed as failed:
            if failed.kind == "StaleEpoch":
                result = RollbackResult(restored=False, message="a newer rollback has taken over this endpoint")
                yield from evidence.outcome("rollback", result.wire())
                yield from evidence.close()
                return result.wire()
            result = RollbackResult(restored=False, message=f"{failed.activity}: {failed.kind}: {failed}")
    yield from evidence.outcome("rollback", result.wire())
    if result.restored:
        yield from call(ctx, Activity.MARK_ROLLED_BACK, {
            "promotion": wanted.promotion, "rollback": wanted.id, "message": f"rolled back: {wanted.reason}", "at": iso(now(ctx))}, PATIENT)
        if last_good is not None:
            until = iso(now(ctx) + parse_duration(last_good["keep"]))
            release |= {"live": last_good["live"], "retained": [{"deployment": last_good["green"], "until": until}]}
    # Where it is not restored, that is said plainly, what is recorded as live stays, and the next attempt may come.
    yield from call(ctx, Activity.RELEASE_ENDPOINT, release, PATIENT)
    yield from evidence.close()
    return result.wire()


def _restore(
    ctx: task.OrchestrationContext, wanted: RollbackRequest, evidence: Evidence, last_good: dict[str, Any], raised: dict[str, Any]
) -> Steps:
    yield from _bring_back(ctx, wanted, evidence, last_good)
    traffic = last_good["traffic"]
    payload = {"workspace": wanted.workspace, "endpoint": wanted.endpoint, "owner": wanted.id, "epoch": raised["epoch"],
               "traffic": traffic}
    yield from evidence.intent("rollback.traffic", {"traffic": traffic, "epoch": raised["epoch"]})
    # Whoever was displaced in the middle of a change is outlasted.
    waits = (SETTLE,) if wanted.writer_stopped or raised["displaced"] is None else (SETTLE, IN_FLIGHT)
    held = 0
    for _ in range(ROUNDS):
        yield from call(ctx, Activity.BEGIN_TRAFFIC, payload, PATIENT)
        state = yield from poll(ctx, Activity.TRAFFIC_STATE, payload, lambda s: s["settled"], ENDPOINT_TIMEOUT, PATIENT)
        held = held + 1 if state["holds"] else 0
        if held > len(waits):
            return RollbackResult(restored=True, traffic=state["traffic"], message="traffic is as it was before the promotion")
        yield ctx.create_timer(waits[max(held - 1, 0)])
    return RollbackResult(restored=False, traffic=state["traffic"],
                          message=f"traffic does not hold: wanted {traffic}, read {state['traffic']}; find out who else changes it")


def _bring_back(ctx: task.OrchestrationContext, wanted: RollbackRequest, evidence: Evidence, last_good: dict[str, Any]) -> Steps:
    """Redeploy what served before and has been removed since (or is just being), from what was recorded of it."""
    for name in last_good["traffic"]:
        target = {"workspace": wanted.workspace, "endpoint": wanted.endpoint, "name": name}
        state = yield from poll(ctx, Activity.DEPLOYMENT_STATE, target, lambda s: s["settled"], DEPLOYMENT_TIMEOUT, PATIENT)
        if absent(state):
            spec = last_good["deployments"].get(name)
            if spec is None:
                raise StepFailed("read_last_good", "NotFound", f"{name} served before, is gone, and nothing is recorded of it")
            yield from evidence.intent("rollback.redeploy", spec)
            state = yield from create_deployment(ctx, spec, PATIENT)
            if absent(state) or state["deployment"]["provisioning_state"] != "Succeeded":
                raise StepFailed("begin_deployment", "OperationFailed", f"{name} served before and could not be deployed again")
            yield from evidence.outcome("rollback.redeploy", target)
