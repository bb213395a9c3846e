"""`promotion`: one model version's way from its registration into production, or to where it stopped."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.evidence import Evidence, first_row, iso, now
from orchestrations.steps import StepFailed, Steps, call, child_failed, poll
from pilotage.domain.assets import AssetRef, ModelVersion, Submitter
from pilotage.domain.gates import GateOutcome
from pilotage.domain.names import child_id
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.plan import Plan
from pilotage.messages import (
    ApprovalRequest,
    ApprovalResult,
    Cursor,
    PromotionRequest,
    RolloutRequest,
    RolloutResult,
    StagingRequest,
    StagingResult,
)

# The event may arrive before the version can be read everywhere: look again, a bounded number of times.
READ_AGAIN_AFTER = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))
SHARE_WAITS = (timedelta(minutes=10), timedelta(minutes=110))
"""How long a copy may take, and after which of it we ask for it again."""

_STAGING_ENDS = {
    GateOutcome.FAILED: PromotionPhase.FAILED,
    GateOutcome.INCONCLUSIVE: PromotionPhase.INCONCLUSIVE,
    GateOutcome.ERRORED: PromotionPhase.ERRORED,
}


class Ended(Exception):
    """The promotion is over before its last step: not an error of the orchestration."""

    def __init__(self, phase: PromotionPhase, message: str) -> None:
        super().__init__(message)
        self.phase, self.message = phase, message


def promotion(ctx: task.OrchestrationContext, request: dict) -> Steps:
    """Input PromotionRequest; output {"phase", "message"}."""
    wanted = PromotionRequest.read(request)
    evidence = Evidence(ctx, wanted.id, Cursor(), PromotionPhase.ACCEPTED, first_row(wanted, iso(now(ctx))))
    try:
        yield from evidence.fact("accepted", {
            "trigger": wanted.trigger.wire(), "source": wanted.source.model_dump(), "policy": wanted.policy,
            "policy_hash": wanted.policy_hash, "attempt": wanted.attempt, "previous": wanted.previous})
        message = yield from _promote(ctx, wanted, evidence)
        phase = PromotionPhase.SUCCEEDED
    except Ended as ended:
        phase, message = ended.phase, ended.message
    except StepFailed as failed:
        phase, message = PromotionPhase.ERRORED, f"{failed.activity}: {failed.kind}: {failed}"
    yield from evidence.enter(phase, message)
    return {"phase": phase.value, "message": message}


def _promote(ctx: task.OrchestrationContext, wanted: PromotionRequest, evidence: Evidence) -> Steps:
    yield from evidence.enter(PromotionPhase.RESOLVING)
    model = yield from _read(ctx, wanted)
    missing = wanted.parsed_policy().match.missing_tags(model.tags)
    if missing:
        raise Ended(PromotionPhase.SKIPPED, "the version does not carry the policy's tags: " + ", ".join(missing))
    pinned = yield from call(ctx, Activity.PIN_MODEL, {"model": model.model_dump(mode="json")})
    assets = yield from call(ctx, Activity.PIN_ASSETS, {"policy": wanted.policy})
    submitters = [Submitter.model_validate(s) for s in pinned["submitters"]]
    yield from evidence.outcome("pin", {
        "model": {"id": model.id, "type": model.type, "digest": pinned["digest"], "created_by": model.created_by, "job": model.job},
        "submitters": pinned["submitters"], **assets,
    }, submitters=submitters, case=model.tags.get("pilotage.case"))

    yield from evidence.enter(PromotionPhase.REGISTERING)
    registered = yield from _register(ctx, wanted, evidence, pinned["digest"], assets["environment"])

    yield from evidence.enter(PromotionPhase.STAGING)
    staged = StagingResult.read((yield from _child(ctx, evidence, "staging", StagingRequest(
        promotion=wanted, cursor=evidence.cursor, model=registered["model"], environment=registered["environment"],
        data=assets["data"], components=assets["components"], model_digest=pinned["digest"], submitters=submitters,
        environment_definition=(assets["environment"] or {}).get("definition", "unpinned")).wire())))
    if staged.outcome != GateOutcome.PASSED:
        raise Ended(_STAGING_ENDS[GateOutcome(staged.outcome)], staged.message)

    yield from evidence.enter(PromotionPhase.PLANNING)
    made = yield from call(ctx, Activity.MAKE_PLAN, {
        "promotion": wanted.wire(), "model": registered["model"], "model_digest": pinned["digest"]["value"],
        "environment": registered["environment"],
        "environment_definition": (assets["environment"] or {}).get("definition", "unpinned"), "results": staged.results})
    plan = Plan.model_validate(made["plan"])
    yield from evidence.outcome("plan", {"plan": made["plan"], "hash": plan.hash},
                                plan_hash=plan.hash, deployment=plan.deployment)
    yield from _approve(ctx, wanted, evidence, plan, submitters)

    yield from evidence.enter(PromotionPhase.ROLLING_OUT)
    assert evidence.row is not None
    rolled = RolloutResult.read((yield from _child(ctx, evidence, "rollout", RolloutRequest(
        promotion=wanted, cursor=evidence.cursor, plan=plan, plan_hash=plan.hash, data=assets["data"],
        row=evidence.row).wire())))
    if rolled.outcome != PromotionPhase.SUCCEEDED:
        raise Ended(PromotionPhase(rolled.outcome), rolled.message)
    return rolled.message


def _read(ctx: task.OrchestrationContext, wanted: PromotionRequest) -> Steps:
    """Read the model itself: what the event said of it was only a hint."""
    payload = {"ref": wanted.source.model_dump()}
    for pause in (*READ_AGAIN_AFTER, None):
        try:
            return ModelVersion.model_validate((yield from call(ctx, Activity.READ_MODEL, payload))["model"])
        except StepFailed as failed:
            if failed.kind != "NotFound" or pause is None:
                raise
        yield ctx.create_timer(pause)
    raise AssertionError("the last attempt returns or raises")


def _register(
    ctx: task.OrchestrationContext, wanted: PromotionRequest, evidence: Evidence, digest: dict[str, Any],
    environment: dict[str, Any] | None,
) -> Steps:
    """Copy model and environment into the registry, read back, and compare; returns their asset ids."""
    registry = wanted.parsed_policy().registry
    model_id = yield from _share(ctx, evidence, "models", wanted.source, registry, digest["value"])
    environment_id = None
    if environment is not None:
        source = AssetRef.model_validate(environment["ref"])
        environment_id = yield from _share(ctx, evidence, "environments", source, registry, environment["definition"])
    return {"model": model_id, "environment": environment_id}


def _share(
    ctx: task.OrchestrationContext, evidence: Evidence, kind: str, source: AssetRef, registry: str, digest: str
) -> Steps:
    target = source if source.registry else AssetRef(name=source.name, version=source.version, registry=registry)
    payload = {"kind": kind, "source": source.model_dump(), "target": target.model_dump(), "digest": digest}
    if source.registry is None:
        yield from evidence.intent(f"share.{kind}", payload)
        yield from _copy(ctx, payload)
    compared = yield from call(ctx, Activity.COMPARE_COPY, payload)
    yield from evidence.outcome(f"share.{kind}", compared)
    if not compared["equal"]:
        raise Ended(PromotionPhase.ERRORED, f"{target} is not the copy of {source}: its digest is {compared['digest']}, "
                    f"the source's is {digest}; register a new version")
    return compared["id"]


def _copy(ctx: task.OrchestrationContext, payload: dict[str, Any]) -> Steps:
    """Start the copy and wait for it.

    A start whose answer was lost leaves a copy that we can't follow: if that one fails, nothing says so. Asking again
    after a while costs nothing when it is there or under way, and starts one that we can follow when it is not.
    """
    operation = ""
    for wait in SHARE_WAITS:
        started = yield from call(ctx, Activity.BEGIN_SHARE, payload)
        operation = started["operation"] or operation
        try:
            state = yield from poll(ctx, Activity.SHARED_STATE, {**payload, "operation": operation},
                                    lambda state: state["present"] or state["failure"], wait)
        except StepFailed as failed:
            if failed.kind != "Timeout" or wait is SHARE_WAITS[-1]:
                raise
            continue
        if state["failure"]:
            raise StepFailed(Activity.SHARED_STATE.value, "CopyFailed", f"{payload['target']['name']}: {state['failure']}")
        return


def _approve(
    ctx: task.OrchestrationContext, wanted: PromotionRequest, evidence: Evidence, plan: Plan, submitters: list[Submitter]
) -> Steps:
    policy = wanted.parsed_policy()
    rule = policy.production.approval
    if rule == "automatic":
        yield from evidence.fact("approval.automatic", {"plan_hash": plan.hash, "policy_hash": wanted.policy_hash})
        return
    assert rule is not None  # the policy's validation holds it; nothing is automatic by omission
    yield from evidence.enter(PromotionPhase.AWAITING_APPROVAL)
    opened = now(ctx)
    result = ApprovalResult.read((yield from _child(ctx, evidence, "approval", ApprovalRequest(
        promotion=wanted.id, attempt=wanted.attempt, plan=plan, plan_hash=plan.hash,
        rule=rule.model_dump(mode="json"), submitters=submitters, team=policy.team, opened_at=iso(opened),
        expires_at=iso(opened + rule.expires), cursor=evidence.cursor).wire())))
    if result.outcome == "rejected":
        raise Ended(PromotionPhase.REJECTED, f"rejected by {result.tally.rejected_by}: {result.tally.reason}")
    if result.outcome == "expired":
        raise Ended(PromotionPhase.EXPIRED, f"not approved before {iso(opened + rule.expires)}: "
                    f"{len(result.tally.approvals)} of {rule.quorum} approvals")


def _child(ctx: task.OrchestrationContext, evidence: Evidence, name: str, message: dict[str, Any]) -> Steps:
    """Run a sub-orchestration of this promotion and take the passport's cursor back from it."""
    try:
        # The SDK does not hand its own version on to sub-orchestrations.
        result = yield ctx.call_sub_orchestrator(
            name, input=message, instance_id=child_id(ctx.instance_id, name), version=ctx.version)
    except task.TaskFailedError as failure:
        yield from evidence.recover()
        raise child_failed(name, failure) from failure
    evidence.resume(Cursor.read(result["cursor"]))
    return result
