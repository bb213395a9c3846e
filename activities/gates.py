"""Activities that measure: a gate begins, its job (if it needs one) ends elsewhere, it finishes; and the rollout's check."""

from __future__ import annotations

import logging
from datetime import datetime
from typing import Any

from activities.effect import effect
from pilotage.bootstrap import app
from pilotage.domain.assets import Submitter
from pilotage.domain.gates import GateResult
from pilotage.domain.policy import ApprovalRule, PromotionPolicy
from pilotage.domain.waivers import apply_waivers
from pilotage.gates.carrying import carried, may_carry
from pilotage.gates.measuring import Measurement
from pilotage.gates.moving import JobRules
from pilotage.messages import GateRequest

log = logging.getLogger("pilotage.gates")


@effect
def begin_gate(payload: dict) -> dict:
    """GateRequest -> {"result": GateResult} at once, or carried over; or {"job", "workspace"} that must end first."""
    measurement = _measurement(payload)
    gates = app().ledger.gates
    if (earlier := gates.recall(measurement.key)) is not None:
        result, promotion = earlier
        if promotion != measurement.wanted.promotion and gates.read(result.report) is not None:
            return {"result": carried(result, promotion, measurement.spec.severity).model_dump(mode="json")}
    found = measurement.begin()
    if isinstance(found, GateResult):
        return {"result": _keep(measurement, found)}
    measurement.submit(app().jobs, found)
    return {"result": None, "job": measurement.job, "workspace": measurement.workspace}


@effect
def finish_gate(payload: dict) -> dict:
    """GateRequest -> {"result": GateResult}: judged by what the job wrote."""
    measurement = _measurement(payload)
    return {"result": _keep(measurement, measurement.finish(measurement.outcome(app().jobs)))}


@effect
def apply_waivers_to(payload: dict) -> dict:
    """{"policy", "model", "version", "results", "submitters", "at"} -> {"results"}: those that a valid waiver covers say so."""
    policy = PromotionPolicy.from_wire(payload["policy"])
    rule = policy.production.approval
    results = apply_waivers(
        [GateResult.model_validate(result) for result in payload["results"]],
        app().ledger.waivers.of(policy.name, payload["model"], payload["version"]), model=payload["model"], version=payload["version"],
        rule=rule if isinstance(rule, ApprovalRule) else None, at=datetime.fromisoformat(payload["at"]),
        submitters=[Submitter.model_validate(submitter) for submitter in payload["submitters"]])
    return {"results": [result.model_dump(mode="json") for result in results]}


@effect
def run_check(payload: dict) -> dict:
    """GateRequest of a smoke gate -> {"result": GateResult}: the rollout's look at its new deployment. Nothing is carried over."""
    measurement = _measurement(payload)
    found = measurement.begin()
    assert isinstance(found, GateResult)  # smoke needs no job
    return {"result": app().ledger.gates.keep(found, measurement.wanted.promotion).model_dump(mode="json")}


def _measurement(payload: dict) -> Measurement:
    this = app()
    told = this.settings
    rules = JobRules(limit=told.gates_data_limit, environment=told.gates_environment, compute=told.gates_compute)
    return Measurement.of(GateRequest.read(payload), this.registry, this.deployments, this.clock, rules)


def _keep(measurement: Measurement, result: GateResult) -> dict[str, Any]:
    """Evidence first, then the note that it may stand for equal measurements: a crash between the two only costs a repeat."""
    gates = app().ledger.gates
    kept = gates.keep(result, measurement.wanted.promotion)
    if may_carry(kept):
        gates.remember(measurement.key, kept, measurement.wanted.promotion)
    log.info("gate %s of %s: %s: %s", kept.gate, measurement.wanted.promotion, kept.outcome, kept.message)
    return kept.model_dump(mode="json")
