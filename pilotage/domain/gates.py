"""Gates: what a candidate must show in staging, and what we make of what it showed.

A gate is Passed, Failed (the model's fault), Inconclusive (not enough evidence: holds) or Errored
(ours or Azure's fault). The functions here take measurements and return verdicts; the activities
make the measurements.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from enum import StrEnum
from typing import Any

from pilotage.domain.assets import Frozen
from pilotage.domain.policy import MetricGate, SmokeGate


class GateOutcome(StrEnum):
    """Passed lets the model on; the three others hold it, for different reasons."""

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERRORED = "errored"


class GateResult(Frozen):
    """One gate's verdict with its evidence: aggregates and digests, never rows."""

    gate: str
    outcome: GateOutcome
    message: str
    evidence: dict[str, Any] = {}


class SampleAnswer(Frozen):
    """One sample request's answer: HTTP status, rows asked, rows predicted (None: not a JSON list), seconds."""

    status: int
    rows_asked: int
    rows_predicted: int | None
    finite: bool = True
    seconds: float = 0.0
    detail: str = ""


def judge_smoke(gate: SmokeGate, answers: Sequence[SampleAnswer]) -> GateResult:
    """Every sample request is answered 200 with one finite JSON prediction per row."""
    evidence: dict[str, Any] = {
        "requests": len(answers),
        "statuses": {str(code): sum(a.status == code for a in answers) for code in sorted({a.status for a in answers})},
        "slowest_seconds": round(max((a.seconds for a in answers), default=0.0), 3),
    }
    if len(answers) < gate.min_requests:
        return GateResult(gate="smoke", outcome=GateOutcome.INCONCLUSIVE, evidence=evidence,
                          message=f"{len(answers)} sample requests; the policy asks for {gate.min_requests}")
    for number, answer in enumerate(answers, start=1):
        where = f"sample request {number} of {len(answers)}"
        if answer.status != 200:
            problem = f"{where} was answered {answer.status}: {answer.detail[:300]}"
        elif answer.rows_predicted is None:
            problem = f"{where} was not answered with a JSON list of predictions: {answer.detail[:300]}"
        elif answer.rows_predicted != answer.rows_asked:
            problem = f"{where} has {answer.rows_asked} rows but {answer.rows_predicted} predictions"
        elif not answer.finite:
            problem = f"{where} was answered with predictions that are null, NaN or infinite"
        else:
            continue
        return GateResult(gate="smoke", outcome=GateOutcome.FAILED, message=problem, evidence=evidence)
    return GateResult(gate="smoke", outcome=GateOutcome.PASSED, evidence=evidence,
                      message=f"{len(answers)} sample requests answered, one finite prediction per row")


def compute_metric(metric: str, truth: Sequence[Any], predicted: Sequence[Any]) -> float:
    """mae and rmse in the label's unit, accuracy as a share of 1. Raises ValueError on unequal or empty input."""
    if not truth or len(truth) != len(predicted):
        raise ValueError(f"{len(truth)} labels and {len(predicted)} predictions: they must pair, and be more than none")
    if metric == "accuracy":
        return sum(_is_same(a, b) for a, b in zip(truth, predicted, strict=True)) / len(truth)
    errors = [float(b) - float(a) for a, b in zip(truth, predicted, strict=True)]
    if metric == "mae":
        return math.fsum(abs(e) for e in errors) / len(errors)
    if metric == "rmse":
        return math.sqrt(math.fsum(e * e for e in errors) / len(errors))
    raise ValueError(f"unknown metric {metric!r}: use mae, rmse or accuracy")


def _is_same(label: Any, predicted: Any) -> bool:
    """Numbers are compared as numbers (1 is 1.0), everything else as text: a file's "3" may be predicted as 3."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in (label, predicted)):
        return bool(label == predicted)
    return str(label) == str(predicted)


def judge_metric(gate: MetricGate, *, value: float, rows: int, holdout: str) -> GateResult:
    """Compare a computed metric with the policy's bounds. `holdout` is the data's digest."""
    evidence = {"metric": gate.metric, "value": round(value, 6) if math.isfinite(value) else str(value), "rows": rows,
                "max": gate.max, "min": gate.min, "holdout": holdout}
    name = f"metric:{gate.metric}"
    if rows < gate.min_rows:
        return GateResult(gate=name, outcome=GateOutcome.INCONCLUSIVE, evidence=evidence,
                          message=f"{rows} labelled rows; the policy asks for {gate.min_rows} or more")
    if not math.isfinite(value):
        return GateResult(gate=name, outcome=GateOutcome.FAILED, evidence=evidence,
                          message=f"{gate.metric} is {value}: the model's predictions are not numbers")
    if gate.max is not None and value > gate.max:
        return GateResult(gate=name, outcome=GateOutcome.FAILED, evidence=evidence,
                          message=f"{gate.metric} {value:.4g} is over the limit {gate.max:g} on {rows} rows")
    if gate.min is not None and value < gate.min:
        return GateResult(gate=name, outcome=GateOutcome.FAILED, evidence=evidence,
                          message=f"{gate.metric} {value:.4g} is under the limit {gate.min:g} on {rows} rows")
    return GateResult(gate=name, outcome=GateOutcome.PASSED, evidence=evidence,
                      message=f"{gate.metric} {value:.4g} is within its limit on {rows} rows")


def overall(results: Sequence[GateResult]) -> GateOutcome:
    """The verdict of a stage: Failed outweighs Errored, which outweighs Inconclusive; no gate is Errored."""
    outcomes = {result.outcome for result in results}
    for outcome in (GateOutcome.FAILED, GateOutcome.ERRORED, GateOutcome.INCONCLUSIVE):
        if outcome in outcomes:
            return outcome
    return GateOutcome.PASSED if outcomes else GateOutcome.ERRORED
