"""The metric gate: the limit decides on the value, and the interval says how sure it is."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.domain.gate_specs import MetricGate
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.errors import InvalidInput
from pilotage.gates.metric import Metric
from tests.support.trial import FakeTrial, Model, Refused, Row

HOLDOUT = "azureml:holdout@latest"


def judged(model: Model, *, rows: int = 200, **given: Any) -> GateResult:
    text = "x,kind,y\n" + "\n".join(f"{at},{'ab'[at % 2]},{2 * at}" for at in range(rows))
    spec = MetricGate.model_validate({"metric": "mae", "holdout": HOLDOUT, "target": "y"} | given)
    return Metric().begin(FakeTrial(candidate=model, assets={HOLDOUT: [("h.csv", text.encode())]}), spec)


def off(rows: list[Row]) -> list[float]:
    return [2 * row["x"] + row["x"] % 5 for row in rows]  # a mean error of 2


def refusing(rows: list[Row]) -> list[float]:
    raise Refused(424, "the model raised")


@pytest.mark.parametrize(("model", "given", "outcome", "words"), [
    (off, {"max": 2.5}, GateOutcome.PASSED, "mae 2 is within its limit (at most 2.5) on 200 rows (95% interval"),
    (off, {"max": 2}, GateOutcome.PASSED, "within"),
    (off, {"max": 1.9}, GateOutcome.FAILED, "mae 2 is over the limit 1.9 on 200 rows"),
    (off, {"min": 2.1}, GateOutcome.FAILED, "mae 2 is under the limit 2.1"),
    (off, {"max": 9, "min_rows": 201}, GateOutcome.INCONCLUSIVE, "200 labelled rows; the policy asks for 201 or more"),
    (lambda rows: [None] * len(rows), {"max": 9}, GateOutcome.FAILED, "200 of 200 predictions are null, NaN or infinite"),
    (lambda rows: [float("nan")] * len(rows), {"min": 0, "metric": "accuracy"}, GateOutcome.FAILED, "NaN"),
    (lambda rows: ["many"] * len(rows), {"max": 9}, GateOutcome.FAILED, "are not numbers that mae can use"),
    (refusing, {"max": 9}, GateOutcome.FAILED, "were answered 424"),
    (lambda rows: [1.0], {"max": 9}, GateOutcome.FAILED, "with 1 predictions"),
    (lambda rows: [row["kind"] for row in rows], {"metric": "accuracy", "min": 0.9}, GateOutcome.FAILED, "accuracy 0 is under"),
])
def test_the_limit_decides(model: Model, given: dict[str, Any], outcome: GateOutcome, words: str) -> None:
    result = judged(model, **given)
    assert result.outcome is outcome
    assert words in result.message
    assert result.gate == f"metric:{given.get('metric', 'mae')}"


def test_the_interval_is_evidence_and_a_figure() -> None:
    result = judged(off, max=2.05, severity="warn")
    assert result.evidence["low"] < result.evidence["value"] == 2 < result.evidence["high"]
    assert result.evidence["limit_within_interval"] is True
    assert result.severity == "warn"
    (figure,) = result.figures
    assert figure.kind == "intervals"
    assert figure.marks == {"max": 2.05}
    assert judged(off, max=2.05, severity="warn") == result


def test_a_missing_label_column_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"has no column 'label'.*mend the gate's target"):
        judged(off, max=1, target="label")
