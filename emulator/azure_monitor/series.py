"""Time series from observations: split by dimensions, cut into grains, aggregated."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from emulator.azure_ml.request_metrics import ScoredRequest
from emulator.azure_monitor.definitions import Metric
from emulator.azure_monitor.query import Query

MINUTE = timedelta(minutes=1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Observation:
    """A value at a time, of something that the dimensions name."""

    time: datetime
    value: float
    dimensions: Mapping[str, str]


Samples = list[tuple[datetime, float]]


def observed(request: ScoredRequest) -> Observation:
    """A request with its latency, and the dimensions of endpoints and deployments alike."""
    status = str(request.status)
    return Observation(datetime.fromisoformat(request.time), request.latency_ms, {
        "deployment": request.deployment, "statusCode": status, "statusCodeClass": f"{status[0]}xx",
        "modelStatusCode": "" if request.model_status is None else str(request.model_status), "envoy_response_code": status})


def series(metric: Metric, observations: Iterable[Observation], query: Query) -> list[dict[str, Any]]:
    """The metric's time series as a query's answer has them: one for each combination of the dimensions that its filter names."""
    split = [clause.dimension for clause in query.clauses]
    groups: dict[tuple[str, ...], list[Observation]] = defaultdict(list)
    for item in observations:
        values = [item.dimensions.get(name, "") for name in split]
        if query.start <= item.time < query.end and all(clause.takes(v) for clause, v in zip(query.clauses, values, strict=True)):
            groups[tuple(values)].append(item)
    if not split:
        groups.setdefault((), [])  # an endpoint without requests has a series without values
    found = [(key, _samples(metric, items)) for key, items in sorted(groups.items())]
    if query.order_by is not None:
        name, descending = query.order_by
        found.sort(key=lambda pair: _AGGREGATE[name]([value for _, value in pair[1]]), reverse=descending)
    if split:
        found = found[:query.top]
    aggregations = query.aggregations or metric.aggregations[:1]
    return [{
        "metadatavalues": [{"name": {"value": name, "localizedValue": name}, "value": value}
                           for name, value in zip(split, key, strict=True)],
        **({} if query.metadata_only else {"data": _points(samples, query, aggregations)})} for key, samples in found]


def percentile(values: list[float], rank: int) -> float:
    """The nearest rank: the smallest value that at least `rank` percent of all are not above.

    >>> percentile([4.0, 1.0, 3.0, 2.0], 50), percentile([4.0, 1.0, 3.0, 2.0], 95)
    (2.0, 4.0)
    """
    ordered = sorted(values)
    return ordered[max(0, math.ceil(rank / 100 * len(ordered)) - 1)]


def _samples(metric: Metric, items: list[Observation]) -> Samples:
    """What Azure Monitor takes in each minute. Latencies are samples of their own; counts and percentiles one a minute."""
    if metric.measure not in ("requests", "percentile"):
        return [(item.time, item.value) for item in items]
    minutes: dict[datetime, list[float]] = defaultdict(list)
    for item in items:
        minutes[_floor(item.time, MINUTE)].append(item.value)
    if metric.measure == "requests":
        return [(minute, float(len(values))) for minute, values in minutes.items()]
    return [(minute, percentile(values, metric.percentile)) for minute, values in minutes.items()]


def _points(samples: Samples, query: Query, aggregations: tuple[str, ...]) -> list[dict[str, Any]]:
    """One point a grain; a grain without samples has its time only."""
    first = query.start if query.interval == "FULL" else _floor(query.start, query.grain)
    grains: dict[int, list[float]] = defaultdict(list)
    for time, value in samples:
        grains[(time - first) // query.grain].append(value)
    points = []
    for number in range(math.ceil((query.end - first) / query.grain)):
        values = grains.get(number)
        point: dict[str, Any] = {"timeStamp": (first + number * query.grain).strftime("%Y-%m-%dT%H:%M:%SZ")}
        if values:
            point |= {name.lower(): _AGGREGATE[name](values) for name in aggregations}
        points.append(point)
    return points


def _floor(moment: datetime, grain: timedelta) -> datetime:
    return moment - (moment - _EPOCH) % grain


_AGGREGATE: dict[str, Callable[[list[float]], float]] = {
    "Average": lambda values: sum(values) / len(values) if values else 0.0,
    "Minimum": lambda values: min(values, default=0.0),
    "Maximum": lambda values: max(values, default=0.0),
    "Total": sum,
    "Count": lambda values: float(len(values)),
}
