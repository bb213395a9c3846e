"""Distances and tests between a reference and a production sample, as Azure's monitoring components compute them.

The definitions are those of `data_drift_compute_metrics` in github.com/Azure/azureml-assets: a common
histogram with Sturges' number of bins for numbers, counts of values for categories, base-2 logarithms for
the Jensen-Shannon distance, one added to every count for the population stability index. For the two
tests the metric is the p-value, and a value *below* the threshold is a breach.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.stats import chisquare, ks_2samp, wasserstein_distance

Floats = Sequence[float]
Values = Sequence[object]


def edges(reference: Floats, production: Floats) -> list[float]:
    """The bins of the histogram that both samples share: equally wide, as many as Sturges' rule gives the smaller sample."""
    low, high = min(min(reference), min(production)), max(max(reference), max(production))
    if low == high:
        margin = 0.005 if low == 0 else abs(low * 0.005)
        return [low - margin, low + margin]
    bins = math.ceil(math.log2(min(len(reference), len(production))) + 1)
    return [float(edge) for edge in np.linspace(low, high, bins + 1)]


def histograms(reference: Floats, production: Floats) -> tuple[list[int], list[int]]:
    """Both samples' counts in their common bins; the last bin has its upper edge."""
    common = edges(reference, production)
    before, now = (np.histogram(sample, common)[0].tolist() for sample in (reference, production))
    return before, now


def value_counts(reference: Values, production: Values) -> tuple[list[int], list[int]]:
    """Both samples' counts of every value that either has, compared as text."""
    before, now = (Counter(str(value) for value in sample) for sample in (reference, production))
    known = sorted(set(before) | set(now))
    return [before[value] for value in known], [now[value] for value in known]


def jensen_shannon(reference: Sequence[int], production: Sequence[int]) -> float:
    """Between two lists of counts; from 0 (the same shares) to 1 (nothing in common)."""
    distance = float(jensenshannon(reference, production, base=2))
    # Rounding can make the divergence of equal shares a tiny negative number, whose root is not a number.
    return 0.0 if math.isnan(distance) else distance


def population_stability_index(reference: Sequence[int], production: Sequence[int]) -> float:
    """Between two lists of counts, with one added to each count, so that an empty bin does not make it infinite."""
    before = (np.asarray(reference) + 1) / sum(reference)
    now = (np.asarray(production) + 1) / sum(production)
    return float(np.sum((now - before) * np.log(now / before)))


def normalized_wasserstein(reference: Floats, production: Floats) -> float:
    """The earth mover's distance in standard deviations of the reference (of at least 0.001)."""
    spread = float(np.std(reference, ddof=1)) if len(reference) > 1 else 0.0
    return float(wasserstein_distance(reference, production)) / max(spread, 0.001)


def kolmogorov_smirnov(reference: Floats, production: Floats) -> float:
    """The p-value of the two-sample test that both come from one distribution."""
    return float(ks_2samp(reference, production).pvalue)


def chi_squared(reference: Sequence[int], production: Sequence[int]) -> float:
    """The p-value of Pearson's test that production's counts have the reference's shares."""
    expected = np.asarray(reference) / sum(reference) * sum(production)
    if len(expected) == 1:
        return 1.0  # one value in both: nothing can differ
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a value the reference never had: a certain difference, p = 0
        return float(chisquare(production, expected).pvalue)


NUMERICAL: dict[str, Callable[[Floats, Floats], float]] = {
    "JensenShannonDistance": lambda reference, production: jensen_shannon(*histograms(reference, production)),
    "NormalizedWassersteinDistance": normalized_wasserstein,
    "PopulationStabilityIndex": lambda reference, production: population_stability_index(*histograms(reference, production)),
    "TwoSampleKolmogorovSmirnovTest": kolmogorov_smirnov,
}
CATEGORICAL: dict[str, Callable[[Values, Values], float]] = {
    "JensenShannonDistance": lambda reference, production: jensen_shannon(*value_counts(reference, production)),
    "PopulationStabilityIndex": lambda reference, production: population_stability_index(*value_counts(reference, production)),
    "PearsonsChiSquaredTest": lambda reference, production: chi_squared(*value_counts(reference, production)),
}
