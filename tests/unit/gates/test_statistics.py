"""Bootstrap intervals, and the metrics on coded classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.domain.gate_specs import LOWER_IS_BETTER
from pilotage.gates.predictions import compute_metric
from pilotage.gates.statistics import Method, difference, interval, value

LABELS = st.sampled_from(["a", "b", 1, 1.0, 2, 0, "2", True])
NUMBERS = st.floats(-1e6, 1e6)
METHODS: list[Method] = ["expanded", "percentile", "bca"]


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true", "ignore:A single label was found")
@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["mae", "rmse", "accuracy", "balanced_accuracy", "f1_macro"]))
def test_every_metric_equals_the_one_that_gates_report(data: st.DataObject, metric: str) -> None:
    cell = NUMBERS if metric in LOWER_IS_BETTER else LABELS
    rows: list[tuple[Any, Any]] = data.draw(st.lists(st.tuples(cell, cell), min_size=1, max_size=30))
    truth, predicted = [row[0] for row in rows], [row[1] for row in rows]
    assert value(metric, truth, predicted) == pytest.approx(compute_metric(metric, truth, predicted), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("metric", ["mae", "rmse", "accuracy", "balanced_accuracy", "f1_macro"])
def test_swapping_the_models_turns_the_improvement_round(metric: str, method: Method) -> None:
    random = np.random.default_rng(4)
    truth, one, other = random.integers(0, 3, (3, 120)).tolist()
    there = difference(metric, truth, one, other, seed=7, method=method, resamples=400)
    back = difference(metric, truth, other, one, seed=7, method=method, resamples=400)
    assert there.improvement.value == pytest.approx(-back.improvement.value)
    assert there.improvement.low < there.improvement.value < there.improvement.high
    assert there.champion.value == pytest.approx(interval(metric, truth, one, method=method, resamples=400).value)
    if metric in LOWER_IS_BETTER:  # rows are drawn by place there, kinds of rows in the order of their classes
        assert there.champion.low == pytest.approx(back.challenger.low)


def test_the_interval_of_a_mean_is_students() -> None:
    random = np.random.default_rng(5)
    errors = np.abs(random.normal(10, 2, 300))
    found = interval("mae", [0.0] * 300, errors.tolist(), resamples=20_000)
    reach = 1.968 * errors.std(ddof=1) / np.sqrt(300)
    assert (found.low, found.high) == pytest.approx((errors.mean() - reach, errors.mean() + reach), abs=0.02)


def test_equal_seeds_draw_alike_and_more_confidence_is_wider() -> None:
    truth, one, other = np.random.default_rng(6).normal(size=(3, 200)).tolist()
    assert difference("rmse", truth, one, other, seed=3) == difference("rmse", truth, one, other, seed=3)
    wide = difference("rmse", truth, one, other, confidence=0.99, seed=3).improvement
    narrow = difference("rmse", truth, one, other, confidence=0.8, seed=3).improvement
    assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(("metric", "truth", "predicted"), [("mae", [], []), ("accuracy", [1], [1, 2]), ("auc", [1], [1])])
def test_what_can_not_be_measured_is_refused(metric: str, truth: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match=r"must pair|unknown metric 'auc'"):
        interval(metric, truth, predicted)


def test_one_row_has_an_interval_without_width() -> None:
    for method in METHODS:
        found = interval("mae", [1.0], [3.0], method=method, resamples=200)
        assert (found.low, found.value, found.high) == (2.0, 2.0, 2.0)
