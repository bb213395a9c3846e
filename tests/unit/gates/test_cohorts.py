"""Cohorts: how rows are split, and intervals of errors, ratios and rates that hold what they promise."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.errors import InvalidInput
from pilotage.gates import cohorts


@pytest.mark.parametrize(("value", "called"), [
    (None, "(missing)"), (float("nan"), "(missing)"), ("  ", "(missing)"), (1, "1"), (1.0, "1"), (1.5, "1.5"), (True, "True"), (" a ", "a"),
    (float("inf"), "inf"), (10**400, str(10**400))])
def test_names(value: Any, called: str) -> None:
    assert cohorts.name(value) == called


def test_split_and_cross() -> None:
    rows = [["m", 1], ["f", 2], ["m", 2.0], [None, 1]]
    sexes, ages = cohorts.split(["sex", "age"], rows, "sex", "h"), cohorts.split(["sex", "age"], rows, "age", "h")
    assert sexes == {"(missing)": [3], "f": [1], "m": [0, 2]}
    assert ages == {"1": [0, 3], "2": [1, 2]}
    assert cohorts.crossed(sexes, ages) == {"(missing) x 1": [3], "f x 2": [1], "m x 1": [0], "m x 2": [2]}


def test_too_many_values_are_to_be_binned() -> None:
    rows = [[at] for at in range(51)]
    assert len(cohorts.split(["age"], rows[:50], "age", "h")) == 50
    with pytest.raises(InvalidInput, match="age has 51 different values in h; the limit is 50: bin it"):
        cohorts.split(["age"], rows, "age", "h")


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2), st.integers(0, 2)), min_size=4, max_size=60),
       st.sampled_from(["mae", "rmse", "accuracy", "balanced_accuracy", "f1_macro"]))
def test_draws_lie_around_the_error_itself(rows: list[tuple[str, int, int]], metric: str) -> None:
    truth, said = [row[1] for row in rows], [row[2] for row in rows]
    places = cohorts.split(["c"], [[row[0]] for row in rows], "c", "h")
    drawn = cohorts.Errors(metric, truth, said, places, 200, seed=1)
    assert drawn.all.shape == (200,)
    assert set(drawn.of) == set(places)
    for draws in (drawn.all, *drawn.of.values()):
        assert np.isfinite(draws).all()
        assert draws.min() >= 0
    if len(places) == 1:
        assert np.allclose(drawn.all, next(iter(drawn.of.values())))
    again = cohorts.Errors(metric, truth, said, places, 200, seed=1)
    assert np.array_equal(drawn.all, again.all)


@pytest.mark.parametrize("metric", ["mae", "rmse", "accuracy", "f1_macro"])
def test_the_interval_of_a_ratio_covers_it(metric: str) -> None:
    """The cohort is as good as the others: 95 % intervals of its ratio hold 1 in about 95 % of 120 worlds."""
    held = 0
    for seed in range(120):
        draw = random.Random(seed)
        rows = [("a" if at < 80 else "b", at % 2, draw.gauss(at % 2, 0.5)) for at in range(400)]
        said = [row[2] if metric in ("mae", "rmse") else int(row[2] > 0.5) for row in rows]
        truth = [row[1] for row in rows]
        places = cohorts.split(["c"], [[row[0]] for row in rows], "c", "h")
        drawn = cohorts.Errors(metric, truth, said, places, 600, seed)
        errors = [cohorts.error(metric, [truth[at] for at in part], [said[at] for at in part]) for part in (places["a"], range(400))]
        low, high = cohorts.bounds(errors[0] / errors[1], cohorts.ratio(drawn.of["a"], drawn.all), 0.025, 80)
        held += low <= 1 <= high
    assert 107 <= held <= 120


def test_no_hit_at_all_is_not_certainty() -> None:
    draws = cohorts.rate([False] * 60, 4000, 1)
    assert 0.02 < np.quantile(draws, 0.975) < 0.06


def test_far_ends_reach_beyond_the_draws() -> None:
    draws = np.random.default_rng(1).normal(0, 1, 1000)
    low, high = cohorts.bounds(0.0, draws, 1e-7, 500)
    assert low < draws.min()
    assert high > draws.max()


def test_ratio_of_nothing() -> None:
    assert cohorts.ratio([0, 1, 2], [0, 0, 4]).tolist() == [1, float("inf"), 0.5]
