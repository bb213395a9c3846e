"""How sure a metric is on so many rows: bootstrap intervals of one model's metric and of the difference between two models.

The two are compared on the same rows, so rows are drawn in pairs: what makes a row hard for both does not blur the difference.
Rows are taken to be independent of each other. Everything is drawn from a seed: equal input, equal interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

from pilotage.domain.assets import Frozen
from pilotage.domain.gate_specs import LOWER_IS_BETTER
from pilotage.gates.predictions import _class, is_same

if TYPE_CHECKING:
    import numpy as np

Method = Literal["expanded", "percentile", "bca"]
"""expanded: percentiles a little further out, as Student's t is beyond the normal distribution: percentiles alone are too narrow
on few rows. docs/gates/champion.md has the error rates of all three."""
CELLS = 2_000_000
"""Numbers drawn at once: some 50 MB, whatever the rows and resamples."""


class Estimate(Frozen):
    """A value with its confidence interval, in the metric's unit."""

    value: float
    low: float
    high: float


class Comparison(Frozen):
    """Two models on the same rows."""

    champion: Estimate
    challenger: Estimate
    improvement: Estimate
    """What the challenger is better by: positive is better, whichever way the metric runs."""
    rows: int


def value(metric: str, truth: Sequence[Any], predicted: Sequence[Any]) -> float:
    """The metric itself, equal to `predictions.compute_metric`. Raises ValueError as it does."""
    return float(_sample(metric, truth, [predicted]).value()[0])


def interval(metric: str, truth: Sequence[Any], predicted: Sequence[Any], *, confidence: float = 0.95, resamples: int = 2_000,
             seed: int = 0, method: Method = "expanded") -> Estimate:
    """A metric of one model with its two-sided interval; mae and rmse need finite numbers.

    Raises ValueError on unequal or empty input and for an unknown metric.
    """
    sample = _sample(metric, truth, [predicted])
    return _estimate(sample, sample.draws(resamples, seed), lambda models: models[:, 0], confidence, method)


def difference(metric: str, truth: Sequence[Any], champion: Sequence[Any], challenger: Sequence[Any], *, confidence: float = 0.95,
               resamples: int = 2_000, seed: int = 0, method: Method = "expanded") -> Comparison:
    """Both models' metrics and the improvement, each with its two-sided interval. Raises ValueError as `interval` does."""
    sample = _sample(metric, truth, [champion, challenger])
    draws = sample.draws(resamples, seed)
    sign = -1.0 if metric in LOWER_IS_BETTER else 1.0
    return Comparison(champion=_estimate(sample, draws, lambda models: models[:, 0], confidence, method),
                      challenger=_estimate(sample, draws, lambda models: models[:, 1], confidence, method),
                      improvement=_estimate(sample, draws, lambda models: sign * (models[:, 1] - models[:, 0]), confidence, method),
                      rows=sample.rows)


class _Losses:
    """mae and rmse: a loss per row and model, and the metric is the mean of it, or its root."""

    def __init__(self, losses: np.ndarray, rooted: bool) -> None:
        import numpy as np

        # By model: draws then read along memory.
        self.losses, self.rooted, self.rows = np.asfortranarray(losses), rooted, len(losses)

    def _of(self, means: np.ndarray) -> np.ndarray:
        import numpy as np

        return np.sqrt(means) if self.rooted else means

    def value(self) -> np.ndarray:
        return self._of(self.losses.mean(axis=0))

    def draws(self, resamples: int, seed: int) -> np.ndarray:
        import numpy as np

        random = np.random.default_rng(seed)
        means = [np.stack([column[places].mean(axis=1) for column in self.losses.T], axis=1)
                 for size in _chunks(resamples, self.rows)
                 for places in [random.integers(0, self.rows, (size, self.rows), dtype=np.int32)]]
        return self._of(np.concatenate(means))

    def omitted(self) -> tuple[np.ndarray, np.ndarray]:
        """The metrics without each row, and how many rows each stands for."""
        import numpy as np

        means = (self.losses.sum(axis=0) - self.losses) / max(self.rows - 1, 1)
        return self._of(np.maximum(means, 0)), np.ones(self.rows)


class _Kinds:
    """Metrics of classes: rows with the same label and the same predictions are alike, so only how many there are of each kind is drawn."""

    def __init__(self, metric: str, codes: np.ndarray) -> None:
        """`codes`: rows x (label, prediction of each model), classes as numbers from 0; for accuracy, labels are 1 and a hit is 1."""
        import numpy as np

        kinds, self.counts = np.unique(codes, axis=0, return_counts=True)
        self.metric, self.rows, self.labels, self.said = metric, len(codes), kinds[:, 0], kinds[:, 1:]
        self.classes = int(codes.max()) + 1

    def _per_class(self, counts: np.ndarray, codes: np.ndarray, chosen: np.ndarray | None = None) -> np.ndarray:
        import numpy as np
        from scipy.sparse import csr_array

        ones = np.ones(len(codes)) if chosen is None else chosen.astype(float)
        return np.asarray(counts @ csr_array((ones, (np.arange(len(codes)), codes)), shape=(len(codes), self.classes)))

    def _of(self, counts: np.ndarray) -> np.ndarray:
        """resamples x kinds -> resamples x models."""
        import numpy as np

        if self.metric == "accuracy":
            return np.stack([counts @ (said == self.labels) / counts.sum(axis=1) for said in self.said.T], axis=1)
        labelled = self._per_class(counts, self.labels)
        columns = []
        for said in self.said.T:
            hits = self._per_class(counts, self.labels, said == self.labels)
            # Classes that nobody named, or that no row has, are not counted, as scikit-learn does.
            whole = labelled if self.metric == "balanced_accuracy" else (labelled + self._per_class(counts, said)) / 2
            scores = np.divide(hits, whole, out=np.zeros_like(hits), where=whole > 0)
            columns.append(scores.sum(axis=1) / (whole > 0).sum(axis=1))
        return np.stack(columns, axis=1)

    def value(self) -> np.ndarray:
        return self._of(self.counts[None].astype(float))[0]

    def draws(self, resamples: int, seed: int) -> np.ndarray:
        import numpy as np

        random, shares = np.random.default_rng(seed), self.counts / self.rows
        return np.concatenate([self._of(random.multinomial(self.rows, shares, size).astype(float))
                               for size in _chunks(resamples, max(len(shares), 2 * self.classes))])

    def omitted(self) -> tuple[np.ndarray, np.ndarray]:
        import numpy as np

        found, start = [], 0
        for size in _chunks(len(self.counts), max(len(self.counts), 2 * self.classes)):
            fewer = np.tile(self.counts.astype(float), (size, 1))
            fewer[np.arange(size), np.arange(start, start + size)] -= 1
            found.append(self._of(fewer))
            start += size
        return np.concatenate(found), self.counts.astype(float)


def _sample(metric: str, truth: Sequence[Any], models: Sequence[Sequence[Any]]) -> _Losses | _Kinds:
    import numpy as np

    for predicted in models:
        if not truth or len(truth) != len(predicted):
            raise ValueError(f"{len(truth)} labels and {len(predicted)} predictions: they must pair, and be more than none")
    if metric in ("mae", "rmse"):
        labels = np.asarray(truth, dtype=float)
        errors = np.stack([np.asarray(predicted, dtype=float) - labels for predicted in models], axis=1)
        return _Losses(np.abs(errors) if metric == "mae" else errors ** 2, rooted=metric == "rmse")
    if metric == "accuracy":
        hits = [[is_same(label, said) for label, said in zip(truth, predicted, strict=True)] for predicted in models]
        return _Kinds(metric, np.array([[True] * len(truth), *hits]).T.astype(int))
    if metric in ("balanced_accuracy", "f1_macro"):
        table = np.array([[_class(item) for item in column] for column in (truth, *models)], dtype=object)
        _, codes = np.unique(table.astype(str), return_inverse=True)
        return _Kinds(metric, codes.reshape(table.shape).T)
    raise ValueError(f"unknown metric {metric!r}: use mae, rmse, accuracy, balanced_accuracy or f1_macro")


def _chunks(resamples: int, width: int) -> Iterator[int]:
    size = max(1, CELLS // width)
    for start in range(0, resamples, size):
        yield min(size, resamples - start)


def _estimate(sample: _Losses | _Kinds, draws: np.ndarray, of: Callable[[np.ndarray], np.ndarray], confidence: float,
              method: Method) -> Estimate:
    import numpy as np

    found, drawn = float(of(sample.value()[None])[0]), of(draws)
    tail = (1 - confidence) / 2
    tails = (tail, 1 - tail)
    if method == "expanded" and sample.rows > 1:
        from scipy.stats import t

        reach = math.sqrt(sample.rows / (sample.rows - 1)) * float(t.ppf(1 - tail, sample.rows - 1))
        tails = (NormalDist().cdf(-reach), NormalDist().cdf(reach))
    elif method == "bca":
        tails = _bias_corrected(sample, found, drawn, of, tail)
    low, high = np.quantile(drawn, tails)
    return Estimate(value=found, low=float(low), high=float(high))


def _bias_corrected(sample: _Losses | _Kinds, found: float, drawn: np.ndarray, of: Callable[[np.ndarray], np.ndarray],
                    tail: float) -> tuple[float, float]:
    """BCa (Efron 1987): tails moved by the draws' bias and by the acceleration, which the jackknife tells."""
    omitted, weights = sample.omitted()
    without = of(omitted)
    gaps = (without * weights).sum() / weights.sum() - without
    scale = float((weights * gaps ** 2).sum()) ** 1.5
    acceleration = float((weights * gaps ** 3).sum()) / (6 * scale) if scale > 0 else 0.0
    normal = NormalDist()
    share = float((drawn < found).mean() + (drawn == found).mean() / 2)
    bias = normal.inv_cdf(min(max(share, 1 / (2 * len(drawn))), 1 - 1 / (2 * len(drawn))))

    def moved(at: float) -> float:
        reach = bias + normal.inv_cdf(at)
        return normal.cdf(bias + reach / (1 - acceleration * reach)) if acceleration * reach < 1 else 1.0

    return moved(tail), moved(1 - tail)
