"""`contract`: sample requests fit the model's signature, and the endpoint answers what the model itself predicts, row for row.

A request whose columns are merely in another order is answered 200 with plausible numbers; so status codes prove nothing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

from pilotage.domain.assets import Frozen
from pilotage.domain.figures import Histogram
from pilotage.domain.gate_specs import ContractGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput, OperationFailed
from pilotage.gates.interface import GateJob, JobInput, JobOutcome, Trial
from pilotage.gates.predictions import equal, is_number, predictions
from pilotage.gates.signature import misfits, read_signature
from pilotage.gates.tables import requests

PROGRAM = "offline"
COMMAND = ("python predict.py --model ${{inputs.model}} --samples ${{inputs.samples}} --max-rows ${{inputs.max_rows}} "
           "--result ${{outputs.result}}")


class Contract:
    """Compares in two steps: the requests with the signature at once; the answers with the model's own, once a job has predicted them."""

    kind: ClassVar[str] = "contract"
    version: ClassVar[str] = "2"
    compares: ClassVar[bool] = False
    spec: ClassVar[type[ContractGate]] = ContractGate

    def begin(self, trial: Trial, spec: ContractGate) -> GateResult | GateJob:
        try:
            signature = read_signature(trial)
        except InvalidInput as error:  # nothing of ours, nor of Azure's: the model was saved so
            return self._result(trial, spec, GateOutcome.FAILED, str(error))
        if signature is None or not (signature.columns or signature.tensors):
            return self._result(trial, spec, GateOutcome.INCONCLUSIVE, "the model has no signature, so nothing says what a request must "
                                "look like: save it with mlflow.models.infer_signature(...)")
        asked = [request for request, _ in requests(trial.files(spec.samples), spec.samples)]
        evidence: dict[str, Any] = {"requests": len(asked), "signature": {
            "columns": {column.name: column.type for column in signature.columns[:100]},
            "tensors": [tensor.model_dump() for tensor in signature.tensors]}}
        if not asked:
            return self._result(trial, spec, GateOutcome.INCONCLUSIVE, f"{spec.samples} holds no sample request", evidence)
        found = {number: problems for number, request in enumerate(asked, start=1) if (problems := misfits(signature, request))}
        if found:
            first, problems = next(iter(found.items()))
            evidence["misfits"] = {f"request {number}": [str(problem) for problem in told] for number, told in list(found.items())[:5]}
            more = f" ({len(found)} of {len(asked)} requests do not fit)" if len(found) > 1 else ""
            return self._result(trial, spec, GateOutcome.FAILED, f"sample request {first} does not fit the model's signature: {problems[0]}"
                                f"{more}; mend {spec.samples}, or what made the model", evidence)
        data = trial.data(spec.samples)
        return GateJob(
            program=PROGRAM, command=COMMAND, environment=trial.environment, compute=spec.compute, inputs={
                "model": JobInput(type=trial.model.type, value=trial.model.id), "samples": JobInput(type=data.type, value=data.id),
                "max_rows": JobInput(type="integer", value=str(spec.max_rows))})

    def finish(self, trial: Trial, spec: ContractGate, job: JobOutcome) -> GateResult:
        """Raises OperationFailed when the job ended without a word of the model: that is Azure's failure, or ours."""
        written = dict(job.files)
        if "failure.json" in written:
            told = json.loads(written["failure.json"])
            return self._result(trial, spec, GateOutcome.FAILED, f"in its own environment the model could not {told['phase']}: "
                                f"{told['error']}", {"job": job.name, "versions": told["versions"]})
        if job.status != "Completed" or not {"summary.json", "predictions.jsonl"} <= set(written):
            raise OperationFailed(f"job {job.name} ended {job.status} and wrote no predictions: {job.message or 'see its log'}")
        summary = json.loads(written["summary.json"])
        offline = [json.loads(line)["predictions"] for line in written["predictions.jsonl"].splitlines()]
        if len(offline) != (wanted := _asked(trial, spec)):
            raise OperationFailed(f"job {job.name} predicted {len(offline)} of {wanted} sample requests: what it left out is not compared")
        evidence = {"job": job.name, "versions": summary["versions"], "reads_columns_by_place": summary["reads_by_place"]}
        return self._compared(trial, spec, offline, evidence)

    def _compared(self, trial: Trial, spec: ContractGate, offline: Sequence[Any], evidence: dict[str, Any]) -> GateResult:
        compared = Comparison(relative=spec.relative_tolerance, absolute=spec.absolute_tolerance)
        for number, ((request, rows), expected) in enumerate(
                zip(requests(trial.files(spec.samples), spec.samples), offline, strict=False), start=1):
            answer = trial.score(json.dumps(request).encode())
            values = predictions(answer)
            if answer.status != 200 or values is None:
                return self._result(trial, spec, GateOutcome.FAILED, f"sample request {number} was answered {answer.status}: "
                                    f"{answer.body[:300]}", evidence)
            if not isinstance(expected, list) or len(values) != len(expected):
                own = len(expected) if isinstance(expected, list) else "no list of"
                return self._result(trial, spec, GateOutcome.FAILED, f"sample request {number} has {rows} rows: the endpoint answered "
                                    f"{len(values)} predictions, the model itself {own}", evidence)
            compared = compared.over(number, values, expected)
        evidence |= {"rows": compared.rows, "different": compared.different, "largest_difference": compared.largest,
                     "tolerance": {"relative": spec.relative_tolerance, "absolute": spec.absolute_tolerance}}
        figures = compared.figures()
        if compared.different:
            return self._result(trial, spec, GateOutcome.FAILED, "the endpoint answers otherwise than the model itself for "
                                f"{compared.different} of {compared.rows} rows (first: {compared.first}): it serves another model, another "
                                "environment, or reads the columns otherwise", evidence, figures)
        return self._result(trial, spec, GateOutcome.PASSED, f"{compared.rows} rows of {len(offline)} sample requests fit the signature, "
                            "and the endpoint answers what the model itself predicts", evidence, figures)

    def _result(self, trial: Trial, spec: ContractGate, outcome: GateOutcome, message: str, evidence: dict[str, Any] | None = None,
                figures: Sequence[Histogram] = ()) -> GateResult:
        return GateResult(gate=self.kind, outcome=outcome, message=message, evidence=evidence or {}, figures=list(figures),
                          version=self.version, inputs={spec.samples: trial.data(spec.samples).digest.value})


def _asked(trial: Trial, spec: ContractGate) -> int:
    """How many sample requests the job predicts: as many as it takes to have `max_rows` rows."""
    asked = rows = 0
    for _, count in requests(trial.files(spec.samples), spec.samples):
        if rows >= spec.max_rows:
            break
        asked, rows = asked + 1, rows + count
    return asked


class Comparison(Frozen):
    """Predictions of two sides so far."""

    relative: float
    absolute: float
    rows: int = 0
    different: int = 0
    largest: float = 0.0
    """Largest difference of two numbers."""
    first: str = ""
    """The first difference, in words."""
    gaps: list[float] = []

    def over(self, request: int, values: Sequence[Any], expected: Sequence[Any]) -> Comparison:
        """With the rows of one more request."""
        differing, largest, first, gaps = self.different, self.largest, self.first, list(self.gaps)
        for row, (one, other) in enumerate(zip(values, expected, strict=True), start=1):
            gap = gap_of(one, other)
            gaps.append(gap if math.isfinite(gap) else 0.0)
            largest = max(largest, gap) if math.isfinite(gap) else largest
            if not equal(one, other, self.relative, self.absolute):
                differing += 1
                first = first or f"request {request}, row {row}: the endpoint {_shown(one)}, the model {_shown(other)}"
        return self.model_copy(update={"rows": self.rows + len(values), "different": differing, "largest": largest, "first": first,
                                       "gaps": gaps})

    def figures(self) -> list[Histogram]:
        """How far apart the numbers are; none when they are equal."""
        if not self.gaps or max(self.gaps) == 0:
            return []
        edges = [max(self.gaps) * step / 10 for step in range(11)]
        counts = [sum(low <= gap < high for gap in self.gaps) for low, high in pairwise(edges)]
        counts[-1] += sum(gap == edges[-1] for gap in self.gaps)
        return [Histogram(title="Endpoint against the model itself: absolute difference of each row", edges=edges, series={"rows": counts})]


def gap_of(one: Any, other: Any) -> float:
    """Largest difference of the numbers in two predictions; 0 where there are none to compare."""
    if is_number(one) and is_number(other):
        return abs(one - other)
    if isinstance(one, list) and isinstance(other, list):
        return max((gap_of(a, b) for a, b in zip(one, other, strict=False)), default=0.0)
    if isinstance(one, dict) and isinstance(other, dict):
        return max((gap_of(one[name], other[name]) for name in one.keys() & other.keys()), default=0.0)
    return 0.0


def _shown(value: Any) -> str:
    return f"{value:.6g}" if is_number(value) else json.dumps(value)[:60]
