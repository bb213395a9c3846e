"""`staging`: the candidate beside nothing else, its gates in parallel, its teardown always."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.deploying import absent, create_deployment, delete_deployment
from orchestrations.evidence import Evidence
from orchestrations.steps import StepFailed, Steps, answer, call, poll, start
from pilotage.domain.gates import GateOutcome, GateResult, overall
from pilotage.domain.names import staging_deployment
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.policy import Gate
from pilotage.messages import StagingRequest, StagingResult

ENDPOINT_TIMEOUT = timedelta(hours=1)


def staging(ctx: task.OrchestrationContext, request: dict) -> Steps:
    """Input StagingRequest; output StagingResult. Never fails with the candidate still deployed, if Azure lets us delete."""
    wanted = StagingRequest.read(request)
    stage = wanted.promotion.parsed_policy().staging
    evidence = Evidence(ctx, wanted.promotion.id, wanted.cursor, PromotionPhase.STAGING)
    target = {"workspace": stage.workspace, "endpoint": stage.target.endpoint,
              "name": staging_deployment(wanted.promotion.id)}
    yield from evidence.intent("staging.deploy", {**target, "model": wanted.model, "environment": wanted.environment})
    # No `finally`: a generator that is abandoned between turns never runs it. Teardown follows both ways out.
    try:
        results = yield from _test(ctx, wanted, evidence, target)
    except StepFailed as failed:
        results = [GateResult(gate=f"staging:{failed.activity}", outcome=GateOutcome.ERRORED, message=f"{failed.kind}: {failed}")]
    yield from evidence.outcome("staging.gates", {"results": [r.model_dump(mode="json") for r in results]})
    try:
        yield from delete_deployment(ctx, target)
        yield from evidence.outcome("staging.teardown", {**target, "state": "absent"})
    except StepFailed as failed:
        # The verdict stands; what is left carries the promotion's tag and the sweeper takes it.
        yield from evidence.outcome("staging.teardown", {**target, "state": "left to the sweeper", "error": f"{failed.kind}: {failed}"})
    verdict = overall(results)
    message = "; ".join(f"{r.gate}: {r.message}" for r in results if verdict is GateOutcome.PASSED or r.outcome is not GateOutcome.PASSED)
    return StagingResult(cursor=evidence.cursor, outcome=verdict.value, message=message,
                         results=[r.model_dump(mode="json") for r in results]).wire()


def _test(ctx: task.OrchestrationContext, wanted: StagingRequest, evidence: Evidence, target: dict[str, Any]) -> Steps:
    stage = wanted.promotion.parsed_policy().staging
    yield from call(ctx, Activity.BEGIN_ENDPOINT, {**target, "tags": {"pilotage-role": "staging"}})
    yield from poll(ctx, Activity.ENDPOINT_STATE, target, lambda state: state["settled"], ENDPOINT_TIMEOUT)
    deployed = yield from create_deployment(ctx, {
        **target, "model": wanted.model, "environment": wanted.environment, "instance_type": stage.target.instance_type,
        "instances": stage.target.instances, "tags": {"pilotage-promotion": wanted.promotion.id, "pilotage-role": "candidate"}})
    if absent(deployed) or deployed["deployment"]["provisioning_state"] != "Succeeded":
        why = "it disappeared" if absent(deployed) else deployed["deployment"]["error"]
        return [GateResult(gate="deploy", outcome=GateOutcome.FAILED, message=f"the candidate's deployment did not start: {why}")]
    yield from evidence.outcome("staging.deploy", {**target, "model": deployed["deployment"]["model"]})

    running = [(gate, _start(ctx, gate, wanted, target)) for gate in stage.gates]
    results = []
    for gate, pending in running:
        # One by one, though all run: a gate that errs must not hide the others' verdicts.
        try:
            result = yield from answer(_activity(gate), pending)
            results.append(GateResult.model_validate(result["result"]))
        except StepFailed as failed:
            results.append(GateResult(gate=gate.kind, outcome=GateOutcome.ERRORED, message=f"{failed.kind}: {failed}"))
    return results


def _activity(gate: Gate) -> Activity:
    return Activity.RUN_SMOKE if gate.smoke else Activity.RUN_METRIC


def _start(ctx: task.OrchestrationContext, gate: Gate, wanted: StagingRequest, target: dict[str, Any]) -> task.Task[Any]:
    text = gate.smoke.samples if gate.smoke else gate.metric.holdout if gate.metric else ""
    return start(ctx, _activity(gate), {
        **target, "gate": gate.model_dump(mode="json", exclude_none=True)[gate.kind], "data": wanted.data[text]})
