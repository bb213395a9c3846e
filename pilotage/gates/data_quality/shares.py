"""What the report shows of the data: missing values by column, and drift of inputs from the training data."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from pilotage.domain.figures import Interval, Intervals
from pilotage.gates.data_contract import DataContract
from pilotage.gates.data_quality.rules import Rows, category
from pilotage.gates.predictions import is_number

TOLD = 20
"""Columns in a figure, the worst first."""
DRIFT_BINS = 10


def nulls(columns: Sequence[str], rows: Rows, contract: DataContract | None) -> Intervals:
    """Share of missing values by column, the largest first, with Wilson's interval."""
    found = []
    for at, name in enumerate(columns):
        count = sum(row[at] is None or (isinstance(row[at], float) and math.isnan(row[at])) for row in rows)
        low, high = _wilson(count, len(rows))
        rule = contract.columns.get(name) if contract else None
        note = f"{count} of {len(rows)}" + ("" if rule is None else f", at most {rule.max_null_share:g} allowed")
        found.append(Interval(label=name[:60], value=count / max(len(rows), 1), low=low, high=high, note=note))
    found.sort(key=lambda one: (-one.value, one.label))
    return Intervals(title="Missing values by column", unit="share of 1", rows=found[:TOLD])


def _wilson(count: int, of: int, reach: float = 1.96) -> tuple[float, float]:
    if not of:
        return 0.0, 1.0
    share, square = count / of, reach * reach
    middle = (share + square / (2 * of)) / (1 + square / of)
    half = reach * math.sqrt(share * (1 - share) / of + square / (4 * of * of)) / (1 + square / of)
    return max(0.0, middle - half), min(1.0, middle + half)


def drift(columns: Sequence[str], rows: Rows, trained_columns: Sequence[str], trained: Rows,
          seed: int) -> list[Interval]:
    """Population stability index of each column that both tables have, the largest first, with a 95 % bootstrap interval.

    Numbers fall into tenths of the training data, other values into its 20 most frequent ones and the rest; missing is a bin of its own.
    """
    import numpy as np

    random = np.random.default_rng(seed)
    found = []
    for name in dict.fromkeys(columns):
        if name not in trained_columns or not rows or not trained:
            continue
        here, there = ([row[list(names).index(name)] for row in table] for names, table in ((columns, rows), (trained_columns, trained)))
        counts = _binned(there, here)
        drawn = [random.multinomial(part.sum(), part / part.sum(), 500) for part in counts]
        value = float(_psi(*(part[None] for part in counts))[0])
        low, high = np.quantile(_psi(*drawn), [0.025, 0.975])
        found.append(Interval(label=name[:60], value=value, low=min(float(low), value), high=max(float(high), value)))
    return sorted(found, key=lambda one: (-one.value, one.label))


def _psi(expected: Any, found: Any) -> Any:
    """Half a row more in every bin: an empty one has no logarithm."""
    import numpy as np

    p, q = ((part + 0.5) / (part + 0.5).sum(axis=1, keepdims=True) for part in (expected, found))
    return ((q - p) * np.log(q / p)).sum(axis=1)


def _binned(expected: Sequence[Any], found: Sequence[Any]) -> list[Any]:
    import numpy as np

    numbers = [value for value in expected if _is_finite(value)]
    if len(numbers) * 2 > sum(value is not None for value in expected):
        edges = np.unique(np.quantile(np.array(numbers, dtype=float), np.linspace(0, 1, DRIFT_BINS + 1)[1:-1]))
        bins: Callable[[Any], int] = partial(_tenth, edges.tolist())
        size = len(edges) + 2
    else:
        counted = Counter(category(value) for value in expected if value is not None)
        common = {name: at for at, (name, _) in enumerate(counted.most_common(20))}
        bins = partial(_kind, common)
        size = len(common) + 1
    return [np.bincount([size if value is None else bins(value) for value in table], minlength=size + 1) for table in (expected, found)]


def _is_finite(value: Any) -> bool:
    return is_number(value) and abs(value) < 1e300


def _tenth(edges: Sequence[float], value: Any) -> int:
    """What is no finite number has a bin of its own."""
    return bisect_left(edges, value) if _is_finite(value) else len(edges) + 1


def _kind(common: Mapping[str, int], value: Any) -> int:
    return common.get(category(value), len(common))
