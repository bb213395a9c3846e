"""`rollout`: green beside blue, traffic in steps, each step checked, the last-good split restored on a breach.

One rollout owns an endpoint at a time, at an epoch. A rollback raises the epoch without asking, so
every traffic write names its epoch, and a writer that finds a newer one stops where it is.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.deploying import absent, create_deployment, delete_deployment
from orchestrations.evidence import Evidence, iso, now
from orchestrations.gate import gate_request
from orchestrations.holding import hold
from orchestrations.steps import PATIENT, StepFailed, Steps, call, poll
from pilotage.domain.names import child_id
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.policy import Step
from pilotage.domain.rollout import split
from pilotage.messages import ROLLBACK_EVENT, RollbackRequest, RollbackResult, RolloutRequest, RolloutResult

ENDPOINT_TIMEOUT = timedelta(hours=1)
ROLLBACK_ARRIVES = timedelta(minutes=10)
"""How long a rollout that was woken by a rollback looks for it."""
QUEUE_LOOKS = (timedelta(seconds=15), timedelta(minutes=1), timedelta(minutes=5))
QUEUE_TIMEOUT = timedelta(days=7)


class _Stopped(Exception):
    """The rollout ends here, with nothing of its own in production traffic."""

    def __init__(self, phase: PromotionPhase, message: str) -> None:
        super().__init__(message)
        self.phase, self.message = phase, message


class _Breach(Exception):
    """Traffic may have moved and must go back."""

    def __init__(self, phase: PromotionPhase, message: str, *, in_flight: bool = False) -> None:
        super().__init__(message)
        self.phase, self.message = phase, message
        self.in_flight = in_flight
        """True when it is a traffic change that failed: it may be carried out yet."""


def rollout(ctx: task.OrchestrationContext, request: dict) -> Steps:
    """Input RolloutRequest; output RolloutResult."""
    wanted = RolloutRequest.read(request)
    evidence = Evidence(ctx, wanted.promotion.id, wanted.cursor, PromotionPhase.ROLLING_OUT, wanted.row)
    # One wait for the rollback's wake-up call, kept across all bakes.
    rollback_asked = ctx.wait_for_external_event(ROLLBACK_EVENT)
    try:
        phase, message = yield from _roll_out(ctx, wanted, evidence, rollback_asked)
    except StepFailed as failed:
        phase = PromotionPhase.ROLLED_BACK if failed.kind == "StaleEpoch" else PromotionPhase.ERRORED
        message = f"{failed.activity}: {failed.kind}: {failed}"
    return RolloutResult(cursor=evidence.cursor, outcome=phase.value, message=message).wire()


def _roll_out(
    ctx: task.OrchestrationContext, wanted: RolloutRequest, evidence: Evidence, rollback_asked: task.Task[Any]
) -> Steps:
    """The phase in which it ends, and why. Raises StepFailed where what holds the endpoint can't be reached at all."""
    try:
        epoch = yield from _acquire(ctx, wanted, evidence)
        message = yield from _switch(ctx, wanted, evidence, epoch, rollback_asked)
    except _Stopped as stopped:
        return stopped.phase, stopped.message
    except _Breach as breach:
        return (yield from _restore(ctx, wanted, evidence, breach))
    return PromotionPhase.SUCCEEDED, message


def _acquire(ctx: task.OrchestrationContext, wanted: RolloutRequest, evidence: Evidence) -> Steps:
    """Become the endpoint's one owner; returns the epoch. Waits in the queue behind another rollout."""
    plan, source = wanted.plan, wanted.promotion.source
    payload = {"workspace": plan.workspace, "endpoint": plan.endpoint, "promotion": wanted.promotion.id,
               "model": source.name, "version": source.version}
    begun, look = now(ctx), 0
    while True:
        answer = yield from call(ctx, Activity.ACQUIRE_ENDPOINT, payload)
        if answer["state"] == "owned":
            if look:
                yield from evidence.enter(PromotionPhase.ROLLING_OUT)
            yield from evidence.fact("rollout.acquired", {"epoch": answer["epoch"]})
            return answer["epoch"]
        if answer["state"] == "older":
            raise _Stopped(PromotionPhase.HELD, f"version {source.version} is older than version {answer['live']}, which serves now; "
                           "retry the promotion after a rollback if the older version is really wanted")
        if now(ctx) - begun > QUEUE_TIMEOUT:
            raise _Stopped(PromotionPhase.HELD, f"the endpoint was busy with {answer['owner']} for {QUEUE_TIMEOUT}")
        if not look:
            yield from evidence.enter(PromotionPhase.QUEUED, f"behind {answer['owner']}")
        yield ctx.create_timer(QUEUE_LOOKS[min(look, len(QUEUE_LOOKS) - 1)])
        look += 1


def _switch(
    ctx: task.OrchestrationContext, wanted: RolloutRequest, evidence: Evidence, epoch: int, rollback_asked: task.Task[Any]
) -> Steps:
    plan, policy = wanted.plan, wanted.promotion.parsed_policy()
    target = {"workspace": plan.workspace, "endpoint": plan.endpoint, "name": plan.deployment}
    owner = {"owner": wanted.promotion.id, "epoch": epoch}
    moved = False
    try:
        prior = yield from call(ctx, Activity.CHECK_PRIOR, {"plan": plan.model_dump(mode="json")})
        if prior["differences"]:
            raise _Stopped(PromotionPhase.PLANNING,
                           "production is no longer as the approved plan expected: " + "; ".join(prior["differences"]))
        yield from call(ctx, Activity.BEGIN_ENDPOINT, {**target, "tags": {"pilotage-role": "production"}})
        yield from poll(ctx, Activity.ENDPOINT_STATE, target, lambda state: state["settled"], ENDPOINT_TIMEOUT)
        last_good = (yield from call(ctx, Activity.RECORD_LAST_GOOD, {
            **target, "promotion": wanted.promotion.id, "keep": plan.keep_previous}))["last_good"]
        yield from evidence.outcome("rollout.last_good", last_good)

        yield from evidence.intent("rollout.deploy", {**target, "model": plan.model, "environment": plan.environment})
        deployed = yield from create_deployment(ctx, {
            **target, "model": plan.model, "environment": plan.environment, "instance_type": plan.instance_type,
            "instances": plan.instances, "tags": {"pilotage-promotion": wanted.promotion.id, "pilotage-role": "production"}})
        if absent(deployed) or deployed["deployment"]["provisioning_state"] != "Succeeded":
            why = "it disappeared" if absent(deployed) else deployed["deployment"]["error"]
            raise _Stopped(PromotionPhase.FAILED, f"the production deployment did not start: {why}")
        yield from evidence.outcome("rollout.deploy", {**target, "model": deployed["deployment"]["model"]})
        yield from _check(ctx, wanted, evidence, target, "before traffic")

        for step in policy.rollout.steps:
            if not wanted.glass_broken:
                yield from _wait_for_window(ctx, wanted, evidence, rollback_asked, {**target, **owner, "traffic": {}})
            moved = True
            yield from _move(ctx, evidence, target, owner, split(last_good["traffic"], plan.deployment, step.traffic))
            yield from _bake(ctx, step, rollback_asked, {**target, **owner, "traffic": {}})
            yield from _check(ctx, wanted, evidence, target, f"at {step.traffic} % of the traffic")
    except _Stopped as stopped:
        yield from _leave(ctx, evidence, target, owner)
        raise stopped
    except (StepFailed, _Breach) as failed:
        if isinstance(failed, StepFailed) and failed.kind == "StaleEpoch":
            raise _Stopped(PromotionPhase.ROLLED_BACK, str(failed)) from failed
        phase = failed.phase if isinstance(failed, _Breach) else PromotionPhase.ERRORED
        message = failed.message if isinstance(failed, _Breach) else f"{failed.activity}: {failed.kind}: {failed}"
        if moved:
            in_flight = isinstance(failed, StepFailed) and failed.activity == Activity.BEGIN_TRAFFIC
            raise _Breach(phase, message, in_flight=in_flight) from failed
        yield from _leave(ctx, evidence, target, owner)
        raise _Stopped(phase, message) from failed

    until = iso(now(ctx) + policy.rollout.keep_previous)
    retained = [{"deployment": name, "until": until} for name in last_good["traffic"] if name != plan.deployment]
    live = {"promotion": wanted.promotion.id, "model": wanted.promotion.source.name,
            "version": wanted.promotion.source.version, "deployment": plan.deployment}
    released = yield from call(ctx, Activity.RELEASE_ENDPOINT, {**target, **owner, "live": live, "retained": retained}, PATIENT)
    if not released["released"]:
        raise _Stopped(PromotionPhase.ROLLED_BACK, "a rollback took the endpoint before the rollout was over")
    yield from evidence.outcome("rollout.released", {"live": live, "retained": retained})
    return f"{wanted.promotion.source} serves {plan.workspace}/{plan.endpoint} as {plan.deployment}"


def _wait_for_window(
    ctx: task.OrchestrationContext, wanted: RolloutRequest, evidence: Evidence, rollback_asked: task.Task[Any], ours: dict[str, Any]
) -> Steps:
    """More traffic only while the window is open; what serves meanwhile stays. A rollback does not wait for it."""
    asked = rollback_asked.is_complete
    yield from hold(ctx, wanted.promotion, evidence, "production", "rollout", None if asked else [rollback_asked])
    if rollback_asked.is_complete and not asked:
        # The rollback is on its way to the endpoint: look for its epoch. A wake-up that none follows goes on waiting.
        try:
            yield from poll(ctx, Activity.TRAFFIC_STATE, ours, lambda _: False, ROLLBACK_ARRIVES)
        except StepFailed as failed:
            if failed.kind != "Timeout":
                raise
        yield from hold(ctx, wanted.promotion, evidence, "production", "rollout")


def _move(
    ctx: task.OrchestrationContext, evidence: Evidence, target: dict[str, Any], owner: dict[str, Any], traffic: dict[str, int]
) -> Steps:
    yield from evidence.intent("rollout.traffic", {"traffic": traffic, **owner})
    payload = {**target, **owner, "traffic": traffic}
    yield from call(ctx, Activity.BEGIN_TRAFFIC, payload)
    state = yield from poll(ctx, Activity.TRAFFIC_STATE, payload, lambda s: s["settled"], ENDPOINT_TIMEOUT)
    yield from evidence.outcome("rollout.traffic", {"traffic": state["traffic"]})
    if not state["holds"]:
        raise _Breach(PromotionPhase.ERRORED, f"traffic reads back as {state['traffic']}, not as {traffic}")


def _bake(ctx: task.OrchestrationContext, step: Step, rollback_asked: task.Task[Any], ours: dict[str, Any]) -> Steps:
    """Sit the bake out. Raises StepFailed of kind `StaleEpoch` as soon as a rollback that was asked for has the endpoint."""
    if not step.bake:
        return
    baked = ctx.create_timer(step.bake)
    if (yield task.when_any([baked, rollback_asked])) is not baked:
        # The rollback is on its way to the endpoint: going on now would race it, so look for its epoch instead.
        yield from poll(ctx, Activity.TRAFFIC_STATE, ours, lambda _: baked.is_complete, step.bake + ENDPOINT_TIMEOUT)


def _check(
    ctx: task.OrchestrationContext, wanted: RolloutRequest, evidence: Evidence, target: dict[str, Any], when: str
) -> Steps:
    """Ask the new deployment itself, by header, so the answer does not depend on the traffic's dice."""
    policy = wanted.promotion.parsed_policy()
    gate = policy.rollout.check
    if gate is None:
        return
    plan = wanted.plan
    result = (yield from call(ctx, Activity.RUN_CHECK, gate_request(
        "smoke", "smoke", gate, wanted.promotion, policy.production, target, model=plan.model, data=wanted.data, model_digest={
            "value": plan.model_digest, "files": 0, "size": 0}, environment=plan.environment,
        environment_definition=plan.environment_definition)))["result"]
    yield from evidence.outcome("rollout.check", {"when": when, "result": result})
    if result["outcome"] != "passed":
        phase = PromotionPhase.FAILED if result["outcome"] == "failed" else PromotionPhase.ERRORED
        raise _Breach(phase, f"the check {when} says {result['outcome']}: {result['message']}")


def _leave(ctx: task.OrchestrationContext, evidence: Evidence, target: dict[str, Any], owner: dict[str, Any]) -> Steps:
    """Nothing moved: take our deployment away and let the next one in."""
    try:
        yield from delete_deployment(ctx, target)
        yield from evidence.outcome("rollout.withdrawn", target)
    except StepFailed as failed:
        yield from evidence.outcome("rollout.withdrawn", {**target, "left to the sweeper": f"{failed.kind}: {failed}"})
    yield from call(ctx, Activity.RELEASE_ENDPOINT, {**target, **owner, "retained": []}, PATIENT)


def _restore(ctx: task.OrchestrationContext, wanted: RolloutRequest, evidence: Evidence, breach: _Breach) -> Steps:
    """Back to the last-good split, by the same orchestration that people's rollbacks use."""
    try:
        yield from evidence.intent("rollout.rollback", {"reason": breach.message})
    except StepFailed:
        yield from evidence.recover()  # nothing blocks a rollback, and it writes a passport of its own
    instance = child_id(ctx.instance_id, "rollback")
    message = RollbackRequest(id=instance, promotion=wanted.promotion.id, workspace=wanted.plan.workspace,
                              endpoint=wanted.plan.endpoint, reason=breach.message, at=iso(now(ctx)),
                              writer_stopped=not breach.in_flight).wire()
    try:
        result = RollbackResult.read((yield ctx.call_sub_orchestrator(
            "rollback", input=message, instance_id=instance, version=ctx.version)))
    except task.TaskFailedError as failure:
        yield from evidence.outcome("rollout.rollback", {"restored": False, "error": failure.details.message})
        return PromotionPhase.ERRORED, f"{breach.message}; the rollback failed too: {failure.details.message}"
    yield from evidence.outcome("rollout.rollback", result.wire())
    if not result.restored:
        return PromotionPhase.ERRORED, f"{breach.message}; {result.message}"
    return PromotionPhase.ROLLED_BACK, f"{breach.message}; traffic is back as it was"
