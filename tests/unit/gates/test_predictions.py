"""What models are sent of a holdout; metrics computed from predictions: their values, and their laws."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.errors import InvalidInput
from pilotage.gates.predictions import Labelled, compute_metric, for_the_model, predict
from tests.support.trial import FakeTrial
from tests.unit.gates.test_signature import mlmodel


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


HOLDOUT = Labelled(features=["p0", "p1", "ink", "p2", "p3"], rows=[[1, 2, "dark", 3, 4], [5, 6, "pale", 7, 8]], labels=[0, 1])


def _trial(inputs: Any) -> FakeTrial:
    return FakeTrial(artifact_files={"MLmodel": mlmodel(inputs)})


def _tensor(*shape: int) -> Any:
    return [{"type": "tensor", "tensor-spec": {"dtype": "float64", "shape": [-1, *shape]}}]


@pytest.mark.parametrize(("shape", "rows"), [((4,), [[1, 2, 3, 4], [5, 6, 7, 8]]), ((2, 2), [[[1, 2], [3, 4]], [[5, 6], [7, 8]]])])
def test_a_tensor_is_made_of_the_numbers_and_sent_in_its_shape(shape: tuple[int, ...], rows: list[Any]) -> None:
    trial = _trial(_tensor(*shape))
    sent = for_the_model(trial, HOLDOUT, "h")
    assert (sent.features, sent.rows, sent.tensor) == (["p0", "p1", "p2", "p3"], rows, True)
    assert predict(trial, *sent) == [0.0, 0.0]
    assert json.loads(trial.asked[0][0]) == {"input_data": rows}


def test_columns_are_those_of_the_signature_in_its_order() -> None:
    inputs = [{"name": name, "type": "long", "required": True} for name in ("p3", "p0")]
    sent = for_the_model(_trial(inputs), HOLDOUT, "h")
    assert (sent.features, sent.rows, sent.tensor) == (["p3", "p0"], [[4, 1], [8, 5]], False)


@pytest.mark.parametrize(("inputs", "says"), [
    (_tensor(5), "has 4 columns of numbers, and the model takes a tensor of 5"),
    ([{"name": "q", "type": "long", "required": True}], "has no column q, which the model's signature requires"),
])
def test_a_holdout_that_does_not_fit_is_ours_to_mend(inputs: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        for_the_model(_trial(inputs), HOLDOUT, "h")
