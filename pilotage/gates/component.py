"""What gates that run a team's own component as a job share: its inputs, its ending, its output."""

from __future__ import annotations

import json
from typing import Any

from pilotage.domain.gate_specs import ComponentGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import OperationFailed, Unavailable
from pilotage.gates.interface import GateJob, JobInput, JobOutcome, Trial

STOPPED = ("Canceled", "NotResponding")


def job_of(trial: Trial, spec: ComponentGate, output: str) -> GateJob:
    """The component with its inputs: data assets by their pinned ids, everything else as it is written."""
    inputs = {name: JobInput(type=trial.data(text).type, value=trial.data(text).id) if text.startswith("azureml:")
              else JobInput(type="string", value=text) for name, text in spec.inputs.items()}
    return GateJob(component=spec.component, output=output, inputs=inputs, compute=spec.compute)


def refuse_stopped(job: JobOutcome) -> None:
    """A job that somebody or something stopped says nothing of the model. Raises Unavailable, so that it is asked for again."""
    if job.status in STOPPED:
        raise Unavailable(f"job {job.name} ended {job.status}: {job.message or 'somebody or something stopped it'}")


def failed_without_words(job: JobOutcome, wanted: str) -> OperationFailed:
    return OperationFailed(f"job {job.name} ended {job.status} and wrote no {wanted}: {job.message or 'see its log'}")


def values_of(job: JobOutcome) -> dict[str, Any]:
    """Metrics: those that were logged, and those of every JSON object in the output, which are what the component declares."""
    found: dict[str, Any] = dict(job.metrics)
    for path, content in job.files:
        if path.endswith(".json") or "." not in path.rsplit("/", 1)[-1]:
            try:
                value = json.loads(content)
            except ValueError:
                continue
            if isinstance(value, dict):
                found |= value
    return found


def result(kind: str, version: str, trial: Trial, spec: ComponentGate, outcome: GateOutcome, message: str,
           evidence: dict[str, Any]) -> GateResult:
    return GateResult(gate=kind, outcome=outcome, message=message, evidence=evidence, version=version, inputs={
        text: trial.data(text).digest.value for text in spec.data().values()})
