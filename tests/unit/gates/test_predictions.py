"""Metrics computed from predictions: their values, and their laws."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.gates.predictions import compute_metric


@pytest.mark.parametrize(("metric", "truth", "predicted", "value"), [
    ("mae", [1, 2, 3], [2, 2, 1], 1.0),
    ("rmse", [0, 0], [3, 4], math.sqrt(12.5)),
    ("accuracy", ["a", "b"], ["a", "c"], 0.5),
    ("accuracy", [1, 2], [1.0, 3.0], 0.5),
    ("accuracy", ["3", True], [3, "True"], 1.0),
    ("accuracy", [1], [True], 0.0),
    ("balanced_accuracy", ["a", "a", "a", "b"], ["a", "a", "b", "b"], (2 / 3 + 1) / 2),
    ("f1_macro", ["3", 4], [3, 4], 1.0),
])
def test_metrics(metric: str, truth: list[Any], predicted: list[Any], value: float) -> None:
    assert compute_metric(metric, truth, predicted) == pytest.approx(value)


@pytest.mark.parametrize(("metric", "truth", "predicted"), [("mae", [], []), ("mae", [1], [1, 2]), ("f2", [1], [1])])
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
