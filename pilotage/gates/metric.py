"""The metric gate: a metric that Pilotage computes itself, from the deployment's answers on a labelled holdout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pilotage.domain.figures import Interval, Intervals
from pilotage.domain.gate_specs import LOWER_IS_BETTER, MetricGate, result_name
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.gates import statistics, tables
from pilotage.gates.interface import Trial
from pilotage.gates.predictions import (
    Ask,
    Labelled,
    Unanswered,
    compute_metric,
    for_the_model,
    is_finite,
    is_number,
    labelled,
    predict,
)

CONFIDENCE = 0.95
RESAMPLES = 2_000


class Metric:
    """The limit decides on the value, as the policy's author reads it; the interval says how sure the value is."""

    kind: ClassVar[str] = "metric"
    version: ClassVar[str] = "1"
    compares: ClassVar[bool] = False
    spec: ClassVar[type[MetricGate]] = MetricGate

    def begin(self, trial: Trial, spec: MetricGate) -> GateResult:
        """Passed within the limits, Failed over them or without usable predictions, Inconclusive on too few rows."""
        data, holdout = trial.data(spec.holdout), _holdout(trial, spec)
        rows = len(holdout.rows)
        evidence: dict[str, Any] = {"metric": spec.metric, "rows": rows, "max": spec.max, "min": spec.min, "holdout": data.digest.value}

        def result(outcome: GateOutcome, message: str, figures: Sequence[Intervals] = ()) -> GateResult:
            return GateResult(gate=result_name(self.kind, spec), outcome=outcome, message=message, evidence=evidence, figures=list(figures),
                              severity=spec.severity, version=self.version,
                              inputs={"holdout": data.digest.value, "model": trial.model_digest.value})

        if rows < spec.min_rows:
            return result(GateOutcome.INCONCLUSIVE, f"{rows} labelled rows; the policy asks for {spec.min_rows} or more")
        try:
            predicted = predict(trial, *for_the_model(trial, holdout, data.id))
        except Unanswered as unanswered:
            evidence["status"] = unanswered.status
            return result(GateOutcome.FAILED, str(unanswered))
        if problem := unusable(spec.metric, predicted):
            return result(GateOutcome.FAILED, f"{spec.metric} can't be computed: {problem}")
        value = compute_metric(spec.metric, holdout.labels, predicted)
        sure = statistics.interval(spec.metric, holdout.labels, predicted, confidence=CONFIDENCE, resamples=RESAMPLES, seed=trial.seed)
        limits = [limit for limit in (spec.max, spec.min) if limit is not None]
        evidence |= {"value": round(value, 6), "low": round(sure.low, 6), "high": round(sure.high, 6), "confidence": CONFIDENCE,
                     "resamples": RESAMPLES, "limit_within_interval": any(sure.low <= limit <= sure.high for limit in limits)}
        figure = Intervals(title=f"{spec.metric} on the holdout", unit=unit(spec.metric),
                           rows=[Interval(label=f"version {trial.model.ref.version}", value=value, low=sure.low, high=sure.high,
                                          note=f"{rows} rows")],
                           marks={name: float(limit) for name, limit in (("max", spec.max), ("min", spec.min)) if limit is not None})
        told = f"{rows} rows ({CONFIDENCE:.0%} interval {sure.low:.4g} to {sure.high:.4g})"
        if spec.max is not None and value > spec.max:
            return result(GateOutcome.FAILED, f"{spec.metric} {value:.4g} is over the limit {spec.max:g} on {told}", [figure])
        if spec.min is not None and value < spec.min:
            return result(GateOutcome.FAILED, f"{spec.metric} {value:.4g} is under the limit {spec.min:g} on {told}", [figure])
        bounds = " and ".join(f"{word} {limit:g}" for word, limit in (("at most", spec.max), ("at least", spec.min)) if limit is not None)
        return result(GateOutcome.PASSED, f"{spec.metric} {value:.4g} is within its limit ({bounds}) on {told}", [figure])


    def asks(self, trial: Trial, spec: MetricGate) -> list[Ask]:
        """What `begin` will have predicted."""
        holdout = _holdout(trial, spec)
        return [Ask(for_the_model(trial, holdout, trial.data(spec.holdout).id))] if len(holdout.rows) >= spec.min_rows else []


def _holdout(trial: Trial, spec: MetricGate) -> Labelled:
    of = trial.data(spec.holdout).id
    return labelled(*tables.table(trial.files(spec.holdout), of), spec.target, spec.metric, of)


def unusable(metric: str, predicted: Sequence[Any]) -> str:
    """What keeps a metric from being computed, as the end of a sentence; empty when nothing does."""
    broken = sum(not is_finite(value) for value in predicted)
    if broken:
        return f"{broken} of {len(predicted)} predictions are null, NaN or infinite"
    # Beyond 1e150 a square is no number any more.
    foreign = sum(not is_number(value) or abs(value) > 1e150 for value in predicted) if metric in LOWER_IS_BETTER else 0
    if foreign:
        return f"{foreign} of {len(predicted)} predictions are not numbers that {metric} can use"
    return ""


def unit(metric: str) -> str:
    """What a figure's axis says."""
    return "in the label's unit" if metric in LOWER_IS_BETTER else "share of 1"
