"""Every metric of a monitor against the formula it stands for, written out here a second time."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Image = Callable[..., Any]

DRIFT = "model_monitor.drift"
NUMERICAL = ("JensenShannonDistance", "NormalizedWassersteinDistance", "PopulationStabilityIndex", "TwoSampleKolmogorovSmirnovTest")
CATEGORICAL = ("JensenShannonDistance", "PopulationStabilityIndex", "PearsonsChiSquaredTest")

numbers = st.lists(st.integers(-1000, 1000).map(float) | st.floats(-1000, 1000, allow_subnormal=False), min_size=1, max_size=40)
texts = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40)
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def numerical(image: Image, metric: str, before: list[float], now: list[float]) -> float:
    return float(image(f"{DRIFT}:NUMERICAL:{metric}", before, now))


def categorical(image: Image, metric: str, before: list[str], now: list[str]) -> float:
    return float(image(f"{DRIFT}:CATEGORICAL:{metric}", before, now))


def js(before: list[int], now: list[int]) -> float:
    divergence = 0.0
    for count, other in zip(before, now, strict=True):
        p, q = count / sum(before), other / sum(now)
        divergence += sum(share * math.log2(2 * share / (p + q)) for share in (p, q) if share) / 2
    return math.sqrt(max(0.0, divergence))


def psi(before: list[int], now: list[int]) -> float:
    total = 0.0
    for count, other in zip(before, now, strict=True):
        p, q = (count + 1) / sum(before), (other + 1) / sum(now)
        total += (q - p) * math.log(q / p)
    return total


def wasserstein(before: list[float], now: list[float]) -> float:
    """The area between the two distribution functions."""
    points = sorted({*before, *now})
    area = 0.0
    for left, right in pairwise(points):
        p, q = (sum(value <= left for value in sample) / len(sample) for sample in (before, now))
        area += abs(p - q) * (right - left)
    return area


@pytest.mark.parametrize("metric", NUMERICAL)
@few
@given(sample=numbers)
def test_a_sample_does_not_differ_from_itself(image: Image, metric: str, sample: list[float]) -> None:
    expected = 1.0 if metric == "TwoSampleKolmogorovSmirnovTest" else 0.0
    assert numerical(image, metric, sample, list(reversed(sample))) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("metric", CATEGORICAL)
@few
@given(sample=texts)
def test_a_sample_of_texts_does_not_differ_from_itself(image: Image, metric: str, sample: list[str]) -> None:
    expected = 1.0 if metric == "PearsonsChiSquaredTest" else 0.0
    assert categorical(image, metric, sample, list(reversed(sample))) == pytest.approx(expected, abs=1e-7)


@few
@given(before=texts, now=texts)
def test_metrics_of_texts_are_their_formulas(image: Image, before: list[str], now: list[str]) -> None:
    known = sorted({*before, *now})
    counts = [[sample.count(value) for value in known] for sample in (before, now)]
    assert categorical(image, "JensenShannonDistance", before, now) == pytest.approx(js(*counts), abs=1e-7)
    assert categorical(image, "PopulationStabilityIndex", before, now) == pytest.approx(psi(*counts), abs=1e-9)


@few
@given(before=numbers, now=numbers)
def test_metrics_of_numbers_are_their_formulas(image: Image, before: list[float], now: list[float]) -> None:
    edges = image(f"{DRIFT}:edges", before, now)
    assert edges[0] <= min(*before, *now)
    assert edges[-1] >= max(*before, *now)
    if min(*before, *now) < max(*before, *now):
        assert len(edges) - 1 == math.ceil(math.log2(min(len(before), len(now))) + 1), "Sturges' rule"

    def counts(sample: list[float]) -> list[int]:
        last = len(edges) - 2
        return [
            sum(low <= value < high or (number == last and value == high) for value in sample)
            for number, (low, high) in enumerate(pairwise(edges))
        ]

    assert numerical(image, "JensenShannonDistance", before, now) == pytest.approx(js(counts(before), counts(now)), abs=1e-7)
    assert numerical(image, "PopulationStabilityIndex", before, now) == pytest.approx(psi(counts(before), counts(now)), abs=1e-9)
    spread = statistics.stdev(before) if len(before) > 1 else 0.0
    expected = wasserstein(before, now) / max(spread, 0.001)
    assert numerical(image, "NormalizedWassersteinDistance", before, now) == pytest.approx(expected, rel=1e-6, abs=1e-7)
    assert numerical(image, "TwoSampleKolmogorovSmirnovTest", before, now) == image("scipy.stats:ks_2samp", before, now)


@few
@given(before=texts, shift=st.integers(1, 100))
def test_samples_without_anything_in_common_are_one_apart(image: Image, before: list[str], shift: int) -> None:
    assert categorical(image, "JensenShannonDistance", before, ["x"] * shift) == pytest.approx(1.0)
    assert categorical(image, "PearsonsChiSquaredTest", before, ["x"] * shift) == 0.0


def test_values_worked_out_by_hand(image: Image) -> None:
    # Expected 10 and 10, seen 15 and 5: chi-squared is 25/10 + 25/10 = 5, whose p-value with one degree of freedom is known.
    seen = categorical(image, "PearsonsChiSquaredTest", ["a", "b"] * 10, ["a"] * 15 + ["b"] * 5)
    assert seen == pytest.approx(math.erfc(math.sqrt(5 / 2)))
    assert numerical(image, "NormalizedWassersteinDistance", [0.0, 2.0], [1.0, 3.0]) == pytest.approx(1 / math.sqrt(2))
    assert numerical(image, "NormalizedWassersteinDistance", [5.0, 5.0], [5.5, 5.5]) == pytest.approx(500.0), "a spread of at least 0.001"
    assert image(f"{DRIFT}:edges", [0.0, 0.0], [0.0]) == [-0.005, 0.005]
    assert image(f"{DRIFT}:edges", [-200.0], [-200.0]) == [-201.0, -199.0]
    # One bin; one added to its counts of 1 and 2: 2/1 against 3/2.
    assert numerical(image, "PopulationStabilityIndex", [0.0], [1.0, 1.0]) == pytest.approx((1.5 - 2) * math.log(1.5 / 2))


COLUMNS: list[tuple[str, list[Any], list[Any], dict[str, float]]] = [
    ("nothing wrong", [1, 2, 3], [1, 2], {"NullValueRate": 0, "DataTypeErrorRate": 0, "OutOfBoundsRate": 0}),
    ("one of four missing", [1, 2], [1, None, 2, 1], {"NullValueRate": 0.25, "DataTypeErrorRate": 0, "OutOfBoundsRate": 0}),
    ("a text among numbers", [1, 2], ["1", "oops", 2, 1], {"NullValueRate": 0, "DataTypeErrorRate": 0.25, "OutOfBoundsRate": 0}),
    ("below and above", [1.5, 2], [1, 1.5, 2, 3], {"NullValueRate": 0, "DataTypeErrorRate": 0, "OutOfBoundsRate": 0.5}),
    ("an unknown text", ["a", "b"], ["a", "c", None], {"NullValueRate": 0.33333, "DataTypeErrorRate": 0, "OutOfBoundsRate": 0.33333}),
    ("truth values", [True, False], [True, "false", "maybe", 1], {"NullValueRate": 0, "DataTypeErrorRate": 0.5}),
]


@pytest.mark.parametrize(("what", "reference", "production", "expected"), COLUMNS, ids=[column[0] for column in COLUMNS])
def test_data_quality(image: Image, what: str, reference: list[Any], production: list[Any], expected: dict[str, float]) -> None:
    columns = {"column": production}, {"column": reference}
    found = {name: image(f"model_monitor.quality:METRICS:{name}", *columns) for name in expected}
    assert found == expected


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("Accuracy", 0.6), ("Precision", (2 / 3 + 1 / 2) / 2), ("Recall", (2 / 3 + 1 / 2) / 2), ("MeanAbsoluteError", 0.4),
     ("MeanSquaredError", 0.4), ("RootMeanSquaredError", math.sqrt(0.4))],
)  # fmt: skip
def test_model_performance(image: Image, metric: str, expected: float) -> None:
    signal = {
        "type": "ModelPerformance",
        "thresholds": [{"metric": metric, "data_type": "", "value": 0.9}],
        "columns": {"prediction": "0", "target": "truth", "production_key": None, "reference_key": "id"},
    }
    predicted = [{"0": value, "correlationid": f"r_{number}"} for number, value in enumerate([1, 1, 1, 0, 0, 7])]
    truth = [{"truth": value, "id": f"r_{number}"} for number, value in enumerate([1, 1, 0, 0, 1])]
    rows = image("model_monitor.signals:compute", signal, {"frame": predicted}, {"frame": truth})
    assert rows[0]["metric_value"] == pytest.approx(expected), "the sixth prediction has no truth yet"
    assert rows[0]["metric_name"] == metric


def drift_signal(**settings: Any) -> dict[str, Any]:
    thresholds = [
        {"metric": "NormalizedWassersteinDistance", "data_type": "numerical", "value": 0.1},
        {"metric": "JensenShannonDistance", "data_type": "categorical", "value": 0.1},
    ]
    return {"type": "DataDrift", "thresholds": thresholds, **settings}


FRAME = [{"age": 20 + number, "height": 1.5 + number / 100, "level": number % 2, "city": "ab"[number % 2]} for number in range(60)]


def kinds(image: Image, **settings: Any) -> dict[str, str]:
    rows = image("model_monitor.signals:compute", drift_signal(**settings), {"frame": FRAME}, {"frame": FRAME})
    return {row["group"]: row["data_type"] for row in rows if row["group"]}


def test_features_and_their_types(image: Image) -> None:
    everything = {"age": "numerical", "height": "numerical", "level": "categorical", "city": "categorical"}
    assert kinds(image) == everything, "whole numbers of which few differ are categories"
    assert kinds(image, type_overrides={"level": "Numerical"}) == everything | {"level": "numerical"}
    assert kinds(image, features=["age"]) == {"age": "numerical"}
    assert kinds(image, features=10) == everything, "as many as there are need no ranking"


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"features": ["weight"]}, "weight"), ({"features": 2}, "importance"), ({"segment": {"feature": "sex", "values": ["f"]}}, "sex"),
     ({"segment": {"feature": "city", "values": ["z"]}}, "city"), ({"type_overrides": {"city": "numerical"}}, "city is numerical")],
)  # fmt: skip
def test_what_can_not_be_computed_says_why(image: Image, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(AssertionError, match=f"UnusableData.*{words}"):
        image("model_monitor.signals:compute", drift_signal(**settings), {"frame": FRAME}, {"frame": FRAME})


def test_a_segment_narrows_both_samples(image: Image) -> None:
    signal = drift_signal(segment={"feature": "city", "values": ["a"]})
    rows = image("model_monitor.signals:compute", signal, {"frame": FRAME}, {"frame": FRAME})
    assert [row["metric_value"] for row in rows[-2:]] == [30.0, 30.0]


def test_breaches_are_on_the_wrong_side_of_their_threshold(image: Image) -> None:
    def row(metric: str, value: float | None, threshold: float | None) -> dict[str, Any]:
        return {"group": "f", "metric_name": metric, "metric_value": value, "threshold_value": threshold}

    over = row("JensenShannonDistance", 0.3, 0.1)
    unlikely, inaccurate = row("TwoSampleKolmogorovSmirnovTest", 0.01, 0.05), row("Accuracy", 0.5, 0.9)
    fine = [row("JensenShannonDistance", 0.1, 0.1), row("PearsonsChiSquaredTest", 0.3, 0.05), row("Accuracy", 0.95, 0.9)]
    without = [row("NullValueRate", 1.0, None), row("NullValueRate", None, 0.0)]
    assert image("model_monitor.evaluate:breaches", [*fine, over, *without, unlikely, inaccurate]) == [over, unlikely, inaccurate]


def test_the_tag_says_what_the_documented_filter_looks_for(image: Image) -> None:
    row = {"group": "x", "metric_value": 0.5, "metric_name": "NullValueRate", "threshold_value": 0.1, "data_type": "numerical"}
    assert image("model_monitor.evaluate:message", "m_data_quality", [row]) == (
        "The signal 'm_data_quality' has failed due to one or more features violating metric thresholds.\n"
        "The feature names and their corresponding computed metric values violating the threshold are \n"
        """['{"group":"x","metric_value":0.5,"metric_name":"NullValueRate","threshold_value":0.1}']\n"""
    )
