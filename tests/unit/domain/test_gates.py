"""Verdicts: Passed, Failed, Inconclusive, Errored; and the metrics behind them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.canonical import canonical_json
from pilotage.domain.gates import GateOutcome, GateResult, SampleAnswer, compute_metric, judge_metric, judge_smoke, overall
from pilotage.domain.policy import MetricGate, SmokeGate

SMOKE = SmokeGate(samples="azureml:s:1", min_requests=2)
GOOD = SampleAnswer(status=200, rows_asked=2, rows_predicted=2)


@pytest.mark.parametrize(("answers", "outcome", "says"), [
    ([GOOD, GOOD], "passed", "2 sample requests"),
    ([GOOD], "inconclusive", "the policy asks for 2"),
    ([], "inconclusive", "0 sample requests"),
    ([GOOD, GOOD.model_copy(update={"status": 500, "detail": "boom"})], "failed", "request 2 of 2 was answered 500: boom"),
    ([GOOD, GOOD.model_copy(update={"rows_predicted": None})], "failed", "not answered with a JSON list"),
    ([GOOD, GOOD.model_copy(update={"rows_predicted": 3})], "failed", "2 rows but 3 predictions"),
    ([GOOD, GOOD.model_copy(update={"finite": False})], "failed", "null, NaN or infinite"),
])
def test_smoke(answers: list[SampleAnswer], outcome: str, says: str) -> None:
    result = judge_smoke(SMOKE, answers)
    assert result.outcome == outcome
    assert says in result.message


def metric_gate(**bounds: Any) -> MetricGate:
    return MetricGate(metric="mae", holdout="azureml:h:1", target="y", **bounds)


@pytest.mark.parametrize(("bounds", "value", "rows", "outcome"), [
    ({"max": 10}, 10.0, 100, "passed"),
    ({"max": 10}, 10.0001, 100, "failed"),
    ({"min": 0.9}, 0.9, 100, "passed"),
    ({"min": 0.9}, 0.8999, 100, "failed"),
    ({"min": 0, "max": 1}, -0.1, 100, "failed"),
    ({"max": 10}, 1.0, 99, "inconclusive"),
    ({"max": 10, "min_rows": 1}, 1.0, 1, "passed"),
    ({"max": 10}, math.nan, 100, "failed"),
    ({"min": 0}, math.inf, 100, "failed"),
    ({"max": 10}, math.nan, 5, "inconclusive"),
])
def test_metric(bounds: dict[str, Any], value: float, rows: int, outcome: str) -> None:
    result = judge_metric(metric_gate(**bounds), value=value, rows=rows, holdout="sha256:1")
    assert result.outcome == outcome
    assert json.loads(canonical_json(result.model_dump(mode="json")))["evidence"]["holdout"] == "sha256:1"


@pytest.mark.parametrize(("metric", "truth", "predicted", "value"), [
    ("mae", [1, 2, 3], [2, 2, 1], 1.0),
    ("rmse", [0, 0], [3, 4], math.sqrt(12.5)),
    ("accuracy", ["a", "b"], ["a", "c"], 0.5),
    ("accuracy", [1, 2], [1.0, 3.0], 0.5),
    ("accuracy", ["3", True], [3, "True"], 1.0),
    ("accuracy", [1], [True], 0.0),
])
def test_metrics(metric: str, truth: list[Any], predicted: list[Any], value: float) -> None:
    assert compute_metric(metric, truth, predicted) == pytest.approx(value)


@pytest.mark.parametrize(("metric", "truth", "predicted"), [("mae", [], []), ("mae", [1], [1, 2]), ("f1", [1], [1])])
def test_what_cannot_be_computed_is_a_value_error(metric: str, truth: list[Any], predicted: list[Any]) -> None:
    with pytest.raises(ValueError):
        compute_metric(metric, truth, predicted)


NUMBERS = st.floats(-1e6, 1e6)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=1, max_size=20)


@given(PAIRS)
def test_mean_errors_have_their_laws(pairs: list[tuple[float, float]]) -> None:
    truth, predicted = [a for a, _ in pairs], [b for _, b in pairs]
    mae, rmse = compute_metric("mae", truth, predicted), compute_metric("rmse", truth, predicted)
    assert 0 <= mae <= rmse * (1 + 1e-9) + 1e-9
    assert compute_metric("mae", predicted, truth) == mae
    assert compute_metric("mae", truth, truth) == compute_metric("rmse", truth, truth) == 0
    assert compute_metric("mae", truth[::-1], predicted[::-1]) == mae, "the order of rows does not matter"
    assert compute_metric("accuracy", truth, truth) == 1


RESULTS = st.lists(st.builds(lambda outcome: GateResult(gate="g", outcome=outcome, message=""), st.sampled_from(GateOutcome)), max_size=6)


@given(RESULTS, st.randoms(use_true_random=False))
def test_a_stage_passes_only_when_every_gate_did(results: list[GateResult], random: Any) -> None:
    shuffled = list(results)
    random.shuffle(shuffled)
    assert overall(shuffled) is overall(results)
    assert (overall(results) is GateOutcome.PASSED) is (bool(results) and all(r.outcome is GateOutcome.PASSED for r in results))


def test_the_models_fault_outweighs_ours() -> None:
    def result(outcome: GateOutcome) -> GateResult:
        return GateResult(gate="g", outcome=outcome, message="")

    assert overall([result(GateOutcome.ERRORED), result(GateOutcome.FAILED)]) is GateOutcome.FAILED
    assert overall([result(GateOutcome.INCONCLUSIVE), result(GateOutcome.ERRORED)]) is GateOutcome.ERRORED
    assert overall([]) is GateOutcome.ERRORED, "a stage without gates showed nothing"
