"""Cohorts: rows that share a value of a sensitive column, their errors and rates, and how sure those are.

Everything is drawn from a seed, each cohort for itself (cohort sizes are kept), so that the errors of a cohort, of all rows
and of two cohorts come from the same draws and their ratio and difference have intervals of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, NamedTuple

from pilotage.domain.gate_specs import LOWER_IS_BETTER, FairnessLimit
from pilotage.errors import InvalidInput
from pilotage.gates import statistics
from pilotage.gates.predictions import is_number, is_same

if TYPE_CHECKING:
    import numpy as np

MISSING = "(missing)"
MAX_COHORTS = 50
LABEL_LENGTH = 40
RATES = {"demographic_parity": ("selection",), "equal_opportunity": ("true positive",),
         "equalized_odds": ("true positive", "false positive")}
"""What each of fairlearn's measures compares."""
Places = dict[str, list[int]]
"""Cohort -> its rows."""


def split(columns: Sequence[str], rows: Sequence[Sequence[Any]], sensitive: str, of: str) -> Places:
    """The cohorts of a column, sorted. Missing values are one. Raises InvalidInput for an unknown column and for too many values."""
    if sensitive not in columns:
        raise InvalidInput(f"sensitive: the holdout {of} has no column {sensitive} (it has {', '.join(columns)}): "
                           f"mend the gate's sensitive")
    at = list(columns).index(sensitive)
    found: Places = {}
    for place, row in enumerate(rows):
        found.setdefault(name(row[at]), []).append(place)
    if len(found) > MAX_COHORTS:
        raise InvalidInput(f"sensitive: {sensitive} has {len(found)} different values in {of}; the limit is {MAX_COHORTS}: "
                           f"bin it (such as age into age groups) in the holdout and name the binned column")
    return dict(sorted(found.items()))


def name(value: Any) -> str:
    """What a cohort is called: 1 and 1.0 are one, empty text is missing."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    if is_number(value):
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return str(value).strip() or MISSING


def short(label: str) -> str:
    return label if len(label) <= LABEL_LENGTH else f"{label[:LABEL_LENGTH - 3]}..."


def are_foreign(truth: Sequence[Any], said: Sequence[Any]) -> bool:
    """Whether classes are answered in other words than the labels: no answer is any label."""
    labels, answers = ({name(value): value for value in values}.values() for values in (truth, said))
    return not any(is_same(label, answer) for answer in answers for label in labels)


def crossed(one: Places, other: Places) -> Places:
    """Cohorts of two columns together; those without a row are left out."""
    where = {place: label for label, places in other.items() for place in places}
    found: Places = {}
    for label, places in one.items():
        for place in places:
            found.setdefault(f"{label} x {where[place]}", []).append(place)
    return dict(sorted(found.items()))


def error(metric: str, truth: Sequence[Any], predicted: Sequence[Any]) -> float:
    """mae and rmse as they are; of the metrics where more is better, what is missing to 1."""
    value = statistics.value(metric, truth, predicted)
    return value if metric in LOWER_IS_BETTER else 1 - value


class Errors:
    """Draws of the errors of cohorts that part all rows, and of all rows: `resamples` numbers each."""

    def __init__(self, metric: str, truth: Sequence[Any], predicted: Sequence[Any], places: Places, resamples: int, seed: int) -> None:
        self.metric, self.places = metric, places
        self.sizes = {label: len(rows) for label, rows in places.items()}
        self.of = _rates(truth, predicted, places, resamples, seed) if metric == "accuracy" else {}
        if metric in LOWER_IS_BETTER:
            self._losses(truth, predicted, resamples, seed)
        elif metric == "accuracy":
            self.all = self._mean(self.of)
        else:
            self._scores(truth, predicted, resamples, seed)

    def _mean(self, draws: Mapping[str, np.ndarray]) -> np.ndarray:
        import numpy as np

        total = sum(self.sizes.values())
        return np.asarray(sum(draws[label] * (size / total) for label, size in self.sizes.items()))

    def _losses(self, truth: Sequence[Any], predicted: Sequence[Any], resamples: int, seed: int) -> None:
        import numpy as np

        for order, (label, rows) in enumerate(self.places.items()):
            sample = statistics._sample(self.metric, [truth[at] for at in rows], [[predicted[at] for at in rows]])
            self.of[label] = sample.draws(resamples, seed + order)[:, 0]
        rooted = self.metric == "rmse"
        mean = self._mean({label: draws ** 2 if rooted else draws for label, draws in self.of.items()})
        self.all = np.sqrt(mean) if rooted else mean

    def _scores(self, truth: Sequence[Any], predicted: Sequence[Any], resamples: int, seed: int) -> None:
        """balanced_accuracy and f1_macro are no means of rows: how many rows of each kind (label, prediction) is drawn, and added up."""
        import numpy as np

        sample = statistics._sample(self.metric, truth, [predicted])
        assert isinstance(sample, statistics._Kinds)
        kind = {pair: at for at, pair in enumerate(zip(sample.labels.tolist(), sample.said[:, 0].tolist(), strict=True))}
        coded = [kind[pair] for pair in _codes(truth, predicted)]
        random = np.random.default_rng(seed)
        drawn: dict[str, list[np.ndarray]] = {label: [] for label in self.places}
        total = []
        for size in statistics._chunks(resamples, max(len(kind), 2 * sample.classes)):
            summed = np.zeros((size, len(kind)))
            for label, rows in self.places.items():
                shares = np.bincount([coded[at] for at in rows], minlength=len(kind)) / len(rows)
                counts = random.multinomial(len(rows), shares, size).astype(float)
                drawn[label].append(1 - sample._of(counts)[:, 0])
                summed += counts
            total.append(1 - sample._of(summed)[:, 0])
        self.of = {label: np.concatenate(parts) for label, parts in drawn.items()}
        self.all = np.concatenate(total)


def _codes(truth: Sequence[Any], predicted: Sequence[Any]) -> list[tuple[int, int]]:
    """Classes as the numbers that `statistics` gives them."""
    import numpy as np

    table = np.array([[statistics._class(item) for item in column] for column in (truth, predicted)], dtype=object).astype(str)
    _, codes = np.unique(table, return_inverse=True)
    labels, said = codes.reshape(table.shape)
    return list(zip(labels.tolist(), said.tolist(), strict=True))


def _rates(truth: Sequence[Any], predicted: Sequence[Any], places: Places, resamples: int, seed: int) -> dict[str, np.ndarray]:
    wrong = [not is_same(label, said) for label, said in zip(truth, predicted, strict=True)]
    return {label: rate([wrong[at] for at in rows], resamples, seed + order) for order, (label, rows) in enumerate(places.items())}


def rate(hits: Sequence[bool], resamples: int, seed: int) -> np.ndarray:
    """Draws of a share, by Jeffreys: a bootstrap of no hit at all would be sure that the share is 0."""
    import numpy as np

    count = sum(hits)
    return np.random.default_rng(seed).beta(count + 0.5, len(hits) - count + 0.5, resamples)


def bounds(value: float, draws: np.ndarray, tail: float, rows: int) -> tuple[float, float]:
    """Interval that leaves `tail` out at each end, expanded as Student's t for few rows, as in `statistics`.

    Where less than five draws lie beyond an end, they can't tell it, and the wider of their end and the normal one is taken.
    """
    import numpy as np
    from scipy.stats import t

    reach = math.sqrt(rows / max(rows - 1, 1)) * float(t.ppf(1 - tail, max(rows - 1, 1)))
    out = NormalDist().cdf(-reach)
    low, high = (float(end) for end in np.quantile(draws, [out, 1 - out]))
    if out * len(draws) < 5:
        spread = float(draws.std())
        low, high = min(low, value - reach * spread), max(high, value + reach * spread)
    return min(low, value), max(high, value)


def ratio(over: Any, under: Any) -> Any:
    """over / under; none over none is 1."""
    import numpy as np

    over, under = np.asarray(over, dtype=float), np.asarray(under, dtype=float)
    return np.divide(over, under, out=np.where(over > 0, np.inf, 1.0), where=under > 0)


class Compared(NamedTuple):
    """One comparison with a limit."""

    of: str
    """The limit's name in the policy."""
    told: str
    value: float
    draws: Callable[[], np.ndarray]
    """Made when asked for: hundreds of comparisons would fill the memory."""
    rows: int
    limit: float
    at_most: bool
    """Otherwise the limit is a lower one."""


class Judged(NamedTuple):
    """A comparison with its interval."""

    test: Compared
    low: float
    high: float

    @property
    def is_over(self) -> bool:
        test = self.test
        return test.value > test.limit if test.at_most else test.value < test.limit

    @property
    def surely_over(self) -> bool:
        return self.low > self.test.limit if self.test.at_most else self.high < self.test.limit

    @property
    def surely_within(self) -> bool:
        return self.high <= self.test.limit if self.test.at_most else self.low >= self.test.limit

    @property
    def order(self) -> tuple[bool, bool, float]:
        """The worst first."""
        gap = self.test.value - self.test.limit
        return not self.surely_over, not self.is_over, -gap if self.test.at_most else gap


class Decision(NamedTuple):
    """A limit on decisions, and for each row whether the label and the model say `favourable`."""

    limit: FairnessLimit
    truth: list[bool]
    said: list[bool]

    @property
    def rates(self) -> tuple[str, ...]:
        return next(rates for start, rates in RATES.items() if self.limit.measure.startswith(start))

    def rows_of(self, rate: str, judged: Places, min_cohort: int) -> dict[str, list[bool]]:
        """Cohort -> what the model says of the rows that the rate is of; without cohorts that have too few of them."""
        wanted = {"selection": None, "true positive": True, "false positive": False}[rate]
        found = {label: [self.said[at] for at in places if wanted is None or self.truth[at] is wanted] for label, places in judged.items()}
        return {label: said for label, said in found.items() if len(said) >= min_cohort}


def labels_of(places: Places, rows: int) -> list[str]:
    """The cohort of each row; empty for rows that are in none."""
    labels = [""] * rows
    for label, found in places.items():
        for at in found:
            labels[at] = label
    return labels
