"""`custom`: a team's own component measures something, and its metric keeps a limit."""

from __future__ import annotations

import math
from typing import ClassVar

from pilotage.domain.gate_specs import CustomGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.gates.component import failed_without_words, job_of, refuse_stopped, result, values_of
from pilotage.gates.interface import GateJob, JobOutcome, Trial
from pilotage.gates.predictions import is_number


class Custom:
    kind: ClassVar[str] = "custom"
    version: ClassVar[str] = "1"
    compares: ClassVar[bool] = False
    spec: ClassVar[type[CustomGate]] = CustomGate

    def begin(self, trial: Trial, spec: CustomGate) -> GateJob:
        return job_of(trial, spec, spec.output)

    def finish(self, trial: Trial, spec: CustomGate, job: JobOutcome) -> GateResult:
        """Raises Unavailable for a job that was stopped, OperationFailed for one that failed: neither says anything of the model."""
        refuse_stopped(job)
        if job.status != "Completed":
            raise failed_without_words(job, f"metric {spec.metric}")
        values = values_of(job)
        evidence = {"job": job.name, "metric": spec.metric, "max": spec.max, "min": spec.min}

        def told(outcome: GateOutcome, message: str) -> GateResult:
            return result(self.kind, self.version, trial, spec, outcome, message, evidence)

        if spec.metric not in values:
            others = ", ".join(sorted(values)[:10]) or "nothing"
            return told(GateOutcome.INCONCLUSIVE, f"{spec.component} told no {spec.metric}; it told {others}: "
                        f"log it, or write it as JSON into the output {spec.output}")
        value = values[spec.metric]
        if not is_number(value):
            return told(GateOutcome.INCONCLUSIVE, f"{spec.metric} of {spec.component} is {str(value)[:60]!r}, which is no number")
        evidence["value"] = value if math.isfinite(value) else str(value)
        if not math.isfinite(value):
            return told(GateOutcome.FAILED, f"{spec.metric} is {value}")
        if spec.max is not None and value > spec.max:
            return told(GateOutcome.FAILED, f"{spec.metric} {value:.6g} is over the limit {spec.max:g}")
        if spec.min is not None and value < spec.min:
            return told(GateOutcome.FAILED, f"{spec.metric} {value:.6g} is under the limit {spec.min:g}")
        return told(GateOutcome.PASSED, f"{spec.metric} {value:.6g} is within its limit")
