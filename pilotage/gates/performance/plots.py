"""The two figures of a load: how latencies are spread, and how they went over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from pilotage.domain.figures import Figure, Histogram, Line, Lines
from pilotage.gates.performance.load import Sent

BINS = 30
MOMENTS = 24
"""Time bins at most; each holds at least ten requests, so that its p95 is more than its slowest one."""


def figures(sent: Sequence[Sent], limits: Mapping[str, float], values: Mapping[str, float]) -> list[Figure]:
    """`limits` and `values`: percentile's name -> milliseconds. No figure without an answer."""
    timed = [one for one in sent if one.answered or one.timed_out]
    if not timed:
        return []
    return [_histogram(timed, limits, values), _over_time(timed, limits)]


def _histogram(timed: Sequence[Sent], limits: Mapping[str, float], values: Mapping[str, float]) -> Histogram:
    answered = [1000 * one.latency for one in timed if one.answered]
    late = [1000 * one.latency for one in timed if one.timed_out]
    marks = {f"limit of {name}": limit for name, limit in limits.items()} | dict(values)
    shown = [*answered, *late, *marks.values()]
    # Latencies spread over powers of ten: even steps of their logarithm show the bulk and the tail alike.
    low, high = math.log10(max(min(shown), 0.01) * 0.98), math.log10(max(max(shown), 0.01) * 1.02)
    edges = [10 ** (low + (high - low) * step / BINS) for step in range(BINS + 1)]
    series = {"answered": _count(answered, low, high)} | ({"timed out": _count(late, low, high)} if late else {})
    return Histogram(title="Latency from the intended time of sending", unit="ms", edges=[float(f"{edge:.5g}") for edge in edges],
                     series=series, marks={label: float(f"{value:.5g}") for label, value in marks.items()})


def _count(values: Sequence[float], low: float, high: float) -> list[int]:
    counts = [0] * BINS
    for value in values:
        at = int((math.log10(max(value, 0.01)) - low) / (high - low) * BINS)
        counts[min(max(at, 0), BINS - 1)] += 1
    return counts


def _over_time(timed: Sequence[Sent], limits: Mapping[str, float]) -> Lines:
    bins = max(1, min(MOMENTS, len(timed) // 10))
    end = max(one.due for one in timed) or 1.0
    grouped: list[list[float]] = [[] for _ in range(bins)]
    for one in timed:
        grouped[min(int(one.due / end * bins), bins - 1)].append(1000 * one.latency)
    lines = []
    for label, share in (("p50", 0.5), ("p95", 0.95)):
        points = [(round((place + 0.5) * end / bins, 3), float(f"{sorted(group)[math.ceil(share * len(group)) - 1]:.5g}"))
                  for place, group in enumerate(grouped) if group]
        lines.append(Line(label=label, points=points))
    return Lines(title="Latency over time", x_label="seconds since the start of the load", y_label="ms", lines=lines,
                 marks={f"limit of {name}": limit for name, limit in limits.items()})
