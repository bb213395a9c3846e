"""`promotion`: one model version's way from its registration into production, or to where it stopped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.evidence import Evidence, first_row, iso, now
from orchestrations.holding import hold
from orchestrations.steps import PATIENT, StepFailed, Steps, call, child_failed, poll
from orchestrations.telling import tell
from pilotage.domain.assets import AssetRef, ModelVersion, Submitter
from pilotage.domain.gates import GateOutcome
from pilotage.domain.names import child_id
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.plan import Plan, plan_differences
from pilotage.domain.policy import ApprovalRule
from pilotage.messages import (
    VOTE_EVENT,
    ApprovalRequest,
    ApprovalResult,
    Cursor,
    PromotionRequest,
    RolloutRequest,
    RolloutResult,
    StagingRequest,
    StagingResult,
    rollout_step,
)

# The event may arrive before the version can be read everywhere: look again, a bounded number of times.
READ_AGAIN_AFTER = (timedelta(seconds=5), timedelta(seconds=30), timedelta(minutes=2), timedelta(minutes=10))
SHARE_WAITS = (timedelta(minutes=10), timedelta(minutes=110))
"""How long a copy may take, and after which of it we ask for it again."""

MOST_ROUNDS = 10
"""Times that a plan may change while it is being decided on, before somebody must look into it."""

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
    yield from evidence.close()
    yield from _anchor(ctx, wanted, evidence)
    return {"phase": phase.value, "message": message}


def _anchor(ctx: task.OrchestrationContext, wanted: PromotionRequest, evidence: Evidence) -> Steps:
    """Put the closing entry's digest where whoever could change the ledger can't: on the registry's model. The phase stays as it is."""
    source, registry = wanted.source, wanted.parsed_policy().registry
    target = source if source.registry else AssetRef(name=source.name, version=source.version, registry=registry)
    try:
        yield from call(ctx, Activity.ANCHOR_PASSPORT, {
            "promotion": wanted.id, "target": target.model_dump(), "digest": evidence.cursor.previous}, PATIENT)
    except StepFailed:
        return  # after hours of trying: it is owed, and the sweeper goes on


def _promote(ctx: task.OrchestrationContext, wanted: PromotionRequest, evidence: Evidence) -> Steps:
    yield from evidence.enter(PromotionPhase.RESOLVING)
    model = yield from _read(ctx, wanted)
    missing = wanted.parsed_policy().match.missing_tags(model.tags)
    if missing:
        raise Ended(PromotionPhase.SKIPPED, "the version does not carry the policy's tags: " + ", ".join(missing))
    pinned = yield from call(ctx, Activity.PIN_MODEL, {"model": model.model_dump(mode="json"), "promotion": wanted.id})
    assets = yield from call(ctx, Activity.PIN_ASSETS, {"policy": wanted.policy})
    submitters = [Submitter.model_validate(s) for s in pinned["submitters"]]
    yield from evidence.outcome("pin", {
        "model": {"id": model.id, "type": model.type, "digest": pinned["digest"], "created_by": model.created_by, "job": model.job},
        "submitters": pinned["submitters"], **assets,
    }, submitters=submitters, case=model.tags.get("pilotage.case"))

    yield from evidence.enter(PromotionPhase.REGISTERING)
    registered = yield from _register(ctx, wanted, evidence, pinned["digest"], assets["environment"])

    about = {"model": registered["model"], "model_digest": pinned["digest"]["value"], "environment": registered["environment"],
             "environment_definition": (assets["environment"] or {}).get("definition", "unpinned")}
    staging = wanted.parsed_policy().staging
    if staging.approval is not None:
        yield from _agree(ctx, wanted, evidence, "staging", about, [], submitters)
    elif staging.windows is not None:
        yield from hold(ctx, wanted, evidence, "staging", "rollout")

    yield from evidence.enter(PromotionPhase.STAGING)
    staged = StagingResult.read((yield from _child(ctx, evidence, "staging", StagingRequest(
        promotion=wanted, cursor=evidence.cursor, model=registered["model"], environment=registered["environment"],
        data=assets["data"], components=assets["components"], model_digest=pinned["digest"], submitters=submitters,
        environment_definition=about["environment_definition"]).wire())))
    if staged.outcome != GateOutcome.PASSED:
        raise Ended(_STAGING_ENDS[GateOutcome(staged.outcome)], staged.message)

    agreed = None
    for number in range(1, MOST_ROUNDS + 1):
        agreed = yield from _agree(ctx, wanted, evidence, "production", about, staged.results, submitters, agreed)
        yield from evidence.enter(PromotionPhase.ROLLING_OUT, rollouts=number)
        assert evidence.row is not None
        rolled = RolloutResult.read((yield from _child(ctx, evidence, rollout_step(number), RolloutRequest(
            promotion=wanted, cursor=evidence.cursor, plan=agreed.plan, plan_hash=agreed.plan.hash, data=assets["data"],
            row=evidence.row, glass_broken=agreed.glass_broken).wire(), "rollout")))
        if rolled.outcome == PromotionPhase.SUCCEEDED:
            return rolled.message
        if rolled.outcome != PromotionPhase.PLANNING:
            raise Ended(PromotionPhase(rolled.outcome), rolled.message)
        # Production changed while it stood in the queue: what was approved is not what would happen.
    raise Ended(PromotionPhase.HELD, f"{rolled.message}; this happened {MOST_ROUNDS} times: find out who else changes it")


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


@dataclass(frozen=True)
class _Agreed:
    """A plan that may be carried out, and how that came."""

    plan: Plan
    round: int
    glass_broken: bool


def _agree(
    ctx: task.OrchestrationContext, wanted: PromotionRequest, evidence: Evidence, stage: str, about: dict[str, Any],
    results: list[dict[str, Any]], submitters: list[Submitter], before: _Agreed | None = None
) -> Steps:
    """Plan a stage and have exactly that plan approved; returns what may be carried out now.

    The plan is made again after people and windows were waited for: one that has changed is put before them anew, and
    what they said of the other is void.
    """
    policy = wanted.parsed_policy()
    rule = (policy.staging if stage == "staging" else policy.production).approval
    assert rule is not None  # the policy's validation holds it; nothing is automatic by omission
    superseded = ctx.wait_for_external_event(VOTE_EVENT)
    first = before.round + 1 if before else 1
    plan = yield from _plan(ctx, wanted, evidence, stage, about, results, than=before.plan if before else None)
    changed = plan_differences(before.plan, plan) if before else []
    if before is not None and before.plan.hash == plan.hash:
        return before
    for round_ in range(first, first + MOST_ROUNDS):
        glass = False
        if rule == "automatic":
            yield from evidence.fact("approval.automatic", {"stage": stage, "plan_hash": plan.hash, "policy_hash": wanted.policy_hash})
        else:
            yield from hold(ctx, wanted, evidence, stage, "approval", [superseded])
            glass = yield from _approve(ctx, wanted, evidence, stage, round_, plan, rule, submitters, changed)
        if not glass:
            yield from hold(ctx, wanted, evidence, stage, "rollout")
        again = yield from _plan(ctx, wanted, evidence, stage, about, results, than=plan)
        if again.hash == plan.hash:
            return _Agreed(plan, round_, glass)
        changed, plan = plan_differences(plan, again), again
    raise Ended(PromotionPhase.HELD, f"the plan changed {MOST_ROUNDS} times while it was decided on, last: {'; '.join(changed)[:500]};"
                " find out who else changes production, and retry the promotion")


def _plan(
    ctx: task.OrchestrationContext, wanted: PromotionRequest, evidence: Evidence, stage: str, about: dict[str, Any],
    results: list[dict[str, Any]], than: Plan | None = None
) -> Steps:
    """Make a stage's plan and write it down, unless it is the one before."""
    if than is None:
        yield from evidence.enter(PromotionPhase.PLANNING)
    made = yield from call(ctx, Activity.MAKE_PLAN, {"promotion": wanted.wire(), "stage": stage, **about, "results": results})
    plan = Plan.model_validate(made["plan"])
    if than is not None and plan.hash == than.hash:
        return plan
    changed = {"changed": plan_differences(than, plan), "voids": than.hash} if than is not None else {}
    yield from evidence.outcome("plan", {"stage": stage, "plan": made["plan"], "hash": plan.hash, **changed}, plan_hash=plan.hash,
                                **({"deployment": plan.deployment} if stage == "production" else {}))
    return plan


def _approve(
    ctx: task.OrchestrationContext, wanted: PromotionRequest, evidence: Evidence, stage: str, round_: int, plan: Plan,
    rule: ApprovalRule, submitters: list[Submitter], changed: list[str]
) -> Steps:
    """Put a plan before its voters; returns whether the glass was broken for it."""
    policy = wanted.parsed_policy()
    yield from evidence.enter(PromotionPhase.AWAITING_APPROVAL)
    opened = now(ctx)
    asked = ApprovalRequest(
        promotion=wanted.id, stage=stage, round=round_, plan=plan, plan_hash=plan.hash, rule=rule.model_dump(mode="json"),
        submitters=submitters, team=policy.team, policy=policy.name, model=wanted.source.name, version=wanted.source.version,
        channels=policy.notify, changed=changed, opened_at=iso(opened), expires_at=iso(opened + rule.expires), cursor=evidence.cursor)
    result = ApprovalResult.read((yield from _child(ctx, evidence, asked.step, asked.wire(), "approval")))
    if result.outcome == "approved":
        return result.tally.glass_broken
    told = {"rejected": f"rejected by {result.tally.rejected_by}: {result.tally.reason}",
            "superseded": f"superseded by {result.by}, a newer version for the same endpoint",
            "expired": f"not approved before {asked.expires_at}: {len(result.tally.approvals)} of {rule.quorum} approvals"
                       + (f"; missing: {', '.join(result.tally.missing)}" if result.tally.missing else "")}[result.outcome]
    tell(ctx, wanted, "superseded" if result.outcome == "superseded" else "decided",
         f"{wanted.source.name}:{wanted.source.version} is {result.outcome}", told, {"plan": plan.hash}, key=f"{stage}/{round_}")
    raise Ended(PromotionPhase(result.outcome), told)


def _child(ctx: task.OrchestrationContext, evidence: Evidence, name: str, message: dict[str, Any], kind: str = "") -> Steps:
    """Run a sub-orchestration of this promotion and take the passport's cursor back from it.

    `kind` is the orchestration, where one is run several times under different names.
    """
    try:
        # The SDK does not hand its own version on to sub-orchestrations.
        result = yield ctx.call_sub_orchestrator(
            kind or name, input=message, instance_id=child_id(ctx.instance_id, name), version=ctx.version)
    except task.TaskFailedError as failure:
        yield from evidence.recover()
        raise child_failed(name, failure) from failure
    evidence.resume(Cursor.read(result["cursor"]))
    return result
