"""`staging`: the candidate beside nothing else, its gates in parallel, its teardown always."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.deploying import absent, create_deployment, delete_deployment
from orchestrations.evidence import Evidence, iso, now
from orchestrations.gate import gate_request
from orchestrations.steps import StepFailed, Steps, call, child_failed, poll
from pilotage.domain.gate_specs import ALONE
from pilotage.domain.gates import GateOutcome, GateResult, overall
from pilotage.domain.names import child_id, gate_job, staging_deployment
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
    message = "; ".join(f"{r.gate}: {r.message}" for r in results if verdict is GateOutcome.PASSED or r.blocks)
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

    results = yield from _run_gates(ctx, wanted, target)
    return (yield from _apply_waivers(ctx, wanted, results))


def _run_gates(ctx: task.OrchestrationContext, wanted: StagingRequest, target: dict[str, Any]) -> Steps:
    """Gates side by side, those that must have the deployment to themselves after the others. One that errs hides no other's verdict;
    with `fail_fast` the first failure ends the wait for the rest."""
    stage = wanted.promotion.parsed_policy().staging
    found: dict[str, GateResult] = {}
    for alone in (False, True):
        wave = [gate for gate in stage.gates if (gate.kind in ALONE) is alone]
        if not (stage.fail_fast and _failed(found)):
            yield from _wave(ctx, wanted, target, wave, found, stage.fail_fast)
    for gate in stage.gates:
        if gate.name not in found:
            found[gate.name] = GateResult(gate=gate.name, outcome=GateOutcome.INCONCLUSIVE, severity=gate.spec.severity,
                                          message="stopped, because another gate had failed (fail_fast)")
            yield from call(ctx, Activity.CANCEL_JOB, {"workspace": stage.workspace, "name": gate_job(wanted.promotion.id, gate.name)})
    return [found[gate.name] for gate in stage.gates]


def _wave(ctx: task.OrchestrationContext, wanted: StagingRequest, target: dict[str, Any], gates: list[Gate], found: dict[str, GateResult],
          fail_fast: bool) -> Steps:
    pending = {gate.name: _start(ctx, gate, wanted, target) for gate in gates}
    while waiting := [name for name in pending if name not in found]:
        yield task.when_any([pending[name] for name in waiting])
        for name in waiting:
            if pending[name].is_complete:
                found[name] = _result(name, pending[name])
        if fail_fast and _failed(found):
            return


def _failed(found: dict[str, GateResult]) -> bool:
    return any(result.blocks and result.outcome is GateOutcome.FAILED for result in found.values())


def _start(ctx: task.OrchestrationContext, gate: Gate, wanted: StagingRequest, target: dict[str, Any]) -> task.Task[Any]:
    """Begin one gate as a sub-orchestration: it waits for its job, and for its timeout, by itself."""
    stage = wanted.promotion.parsed_policy().staging
    message = gate_request(gate.kind, gate.name, gate.spec, wanted.promotion, stage, target, model=wanted.model, data=wanted.data,
                           model_digest=wanted.model_digest, environment=wanted.environment, components=wanted.components,
                           environment_definition=wanted.environment_definition)
    # The SDK does not hand its own version on to sub-orchestrations.
    return ctx.call_sub_orchestrator("gate", input=message, instance_id=child_id(ctx.instance_id, f"gate-{gate.name}"), version=ctx.version)


def _result(name: str, ended: task.Task[Any]) -> GateResult:
    try:
        return GateResult.model_validate(ended.get_result()["result"])
    except task.TaskFailedError as failure:
        failed = child_failed("gate", failure)
        return GateResult(gate=name, outcome=GateOutcome.ERRORED, message=f"{failed.kind}: {failed}")


def _apply_waivers(ctx: task.OrchestrationContext, wanted: StagingRequest, results: list[GateResult]) -> Steps:
    if not any(result.blocks and result.outcome is GateOutcome.FAILED for result in results):
        return results
    answered = yield from call(ctx, Activity.APPLY_WAIVERS, {
        "policy": wanted.promotion.policy, "model": wanted.promotion.source.name, "version": wanted.promotion.source.version,
        "results": [result.model_dump(mode="json") for result in results], "at": iso(now(ctx)),
        "submitters": [submitter.model_dump() for submitter in wanted.submitters]})
    return [GateResult.model_validate(result) for result in answered["results"]]
