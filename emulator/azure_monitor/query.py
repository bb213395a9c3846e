"""What a metrics query asks for: names, time span, grain, aggregations and filter of `GET {resource}/.../metrics`.

Source: learn.microsoft.com/rest/api/monitor/metrics/list. Every refusal is Azure's 400 `BadRequest`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from emulator.azure_monitor.definitions import AGGREGATIONS, GRAINS, METRICS, RETENTION, Metric
from emulator.errors import EmulatorError

POINTS = 20_000
"""Points of time that one answer may have; Azure has such a bound too, and does not document it."""
_NAMES = 20
_TOP = 10
_CLAUSE = re.compile(r"\s*(?P<dimension>[A-Za-z_][\w ]*?)\s+(?P<operator>eq|ne)\s+'(?P<value>(?:[^']|'')*)'\s*", re.IGNORECASE)
_JOIN = re.compile(r"(and|or)\b", re.IGNORECASE)
_DURATION = re.compile(r"^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$")


class BadQuery(EmulatorError):
    """The query can't be answered; the message says why in Azure's words, as far as they are known."""


@dataclass(frozen=True, slots=True)
class Clause:
    """`deployment eq 'blue'`; `*` is any value, and several `eq` of one dimension are alternatives."""

    dimension: str
    wanted: tuple[str, ...]
    unwanted: tuple[str, ...]

    def takes(self, value: str) -> bool:
        value = value.lower()
        return (not self.wanted or "*" in self.wanted or value in self.wanted) and value not in self.unwanted


@dataclass(frozen=True, slots=True)
class Query:
    metrics: tuple[Metric, ...]
    start: datetime
    end: datetime
    """UTC; the time span does not hold its end."""
    grain: timedelta
    interval: str
    """The grain as it was asked for: `PT5M`, or `FULL` for the whole span."""
    aggregations: tuple[str, ...]
    """As asked for; empty: each metric's own."""
    clauses: tuple[Clause, ...]
    top: int
    order_by: tuple[str, bool] | None
    """An aggregation, and whether the greatest comes first."""
    metadata_only: bool


def parse(query: Mapping[str, str], namespace: str, now: datetime) -> Query:
    """Raises BadQuery."""
    asked = {name.lower(): value for name, value in query.items()}
    metrics = _metrics(asked.get("metricnames", ""), namespace)
    if (named := asked.get("metricnamespace")) and named.lower() != namespace.lower():
        raise BadQuery(f"Failed to find metric configuration for provider: {_provider(named)}, resource Type: {_type(named)}")
    start, end = _timespan(asked.get("timespan"), now)
    interval = (asked.get("interval") or "PT1M").upper()
    if interval != "FULL" and interval not in GRAINS:
        raise BadQuery(f"Detected invalid time grain input: {asked['interval']}, supported ones are: {','.join(GRAINS)}")
    grain = GRAINS.get(interval, end - start)
    if (end - start) / grain > POINTS:
        raise BadQuery(f"The time span {_text(start)}/{_text(end)} has more than {POINTS} points of {interval}: ask for fewer.")
    return Query(metrics, start, end, grain, interval, _aggregations(asked.get("aggregation", "")),
                 _clauses(asked.get("$filter", ""), metrics), _top(asked.get("top")), _order(asked.get("orderby")),
                 asked.get("resulttype", "").lower() == "metadata")


def _metrics(text: str, namespace: str) -> tuple[Metric, ...]:
    known = {metric.name.lower(): metric for metric in METRICS.get(namespace, ())}
    # A comma inside a name would be sent as %2: no name here has one.
    names = [name.strip() for name in text.split(",") if name.strip()] or [metric.name for metric in METRICS.get(namespace, ())[:1]]
    for name in names:
        if name.lower() not in known:
            raise BadQuery(f"Failed to find metric configuration for provider: {_provider(namespace)}, resource Type: {_type(namespace)},"
                           f" metric: {name}, Valid metrics: {','.join(metric.name for metric in known.values())}")
    if len(names) > _NAMES:
        raise BadQuery(f"Requested metrics count: {len(names)} has exceeded the limit: {_NAMES}")
    return tuple(known[name.lower()] for name in dict.fromkeys(names))


def _provider(namespace: str) -> str:
    return namespace.partition("/")[0]


def _type(namespace: str) -> str:
    return namespace.partition("/")[2]


def _timespan(text: str | None, now: datetime) -> tuple[datetime, datetime]:
    """`start/end`, `start/duration`, `duration/end` or a duration until now; the last hour when nothing is said."""
    try:
        first, separator, second = (text or "PT1H").partition("/")
        if not separator:
            end = now
            start = end - duration(first)
        elif second.upper().startswith("P"):
            start = _instant(first)
            end = start + duration(second)
        else:
            end = _instant(second)
            start = end - duration(first) if first.upper().startswith("P") else _instant(first)
    except (ValueError, OverflowError) as problem:
        raise BadQuery(f"Detected invalid timespan input: {text} ({problem})") from None
    if start >= end:
        raise BadQuery(f"The start time {_text(start)} must be before the end time {_text(end)}.")
    if start < now - RETENTION:
        raise BadQuery(f"The start time {_text(start)} is older than the retention of {RETENTION.days} days.")
    return start, end


def _instant(text: str) -> datetime:
    moment = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def duration(text: str) -> timedelta:
    """An ISO 8601 duration of days and less; raises ValueError."""
    match = _DURATION.match(text.strip().upper())
    if match is None or not any(match.groups()):
        raise ValueError(f"{text!r} is not an ISO 8601 duration")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def _aggregations(text: str) -> tuple[str, ...]:
    known = {name.lower(): name for name in AGGREGATIONS}
    names = [name.strip().lower() for name in text.split(",") if name.strip().lower() not in ("", "none")]  # `None` is one of Azure's
    for name in names:
        if name not in known:
            raise BadQuery(f"Detected invalid aggregation type input: {name}, supported ones are: {','.join(AGGREGATIONS)}")
    return tuple(known[name] for name in dict.fromkeys(names))


def _clauses(text: str, metrics: tuple[Metric, ...]) -> tuple[Clause, ...]:
    """The filter by dimension. `or` stands between values of one dimension only, as Azure has it."""
    named: dict[str, dict[str, list[str]]] = {}
    rest, before, joined = text.strip(), "", ""
    while rest or joined:
        found = _CLAUSE.match(rest)
        if found is None:
            raise BadQuery(f"Invalid filter: {text}. Write dimension eq 'value', joined by and, or by or for one dimension.")
        dimension = found["dimension"].lower()
        if joined == "or" and dimension != before:
            raise BadQuery(f"Invalid filter: {text}. The logical 'or' operator cannot separate two different metadata names.")
        for metric in metrics:
            if dimension not in (name.lower() for name in metric.dimensions):
                raise BadQuery(f"Metric: {metric.name} does not support requested dimension combination: {dimension},"
                               f" supported ones are: {','.join(metric.dimensions)}")
        named.setdefault(dimension, {"eq": [], "ne": []})[found["operator"].lower()].append(found["value"].replace("''", "'").lower())
        rest, before, joined = rest[found.end():], dimension, ""
        if rest:
            join = _JOIN.match(rest)
            if join is None:
                raise BadQuery(f"Invalid filter: {text}. Clauses are joined by and, or by or for one dimension.")
            rest, joined = rest[join.end():], join[1].lower()
    names = {name.lower(): name for metric in metrics for name in metric.dimensions}
    return tuple(Clause(names[key], tuple(values["eq"]), tuple(values["ne"])) for key, values in named.items())


def _top(text: str | None) -> int:
    if text is None:
        return _TOP
    if not text.isascii() or not text.isdecimal() or int(text[:9]) == 0:
        raise BadQuery(f"Detected invalid top input: {text}, it is a number from 1")
    return int(text[:9])


def _order(text: str | None) -> tuple[str, bool] | None:
    """`average desc`; `sum` is another name of the total."""
    if not text:
        return None
    name, _, direction = text.strip().lower().partition(" ")
    known = {"sum": "Total", **{item.lower(): item for item in AGGREGATIONS}}
    if name not in known or direction.strip() not in ("", "asc", "desc"):
        raise BadQuery(f"Detected invalid orderby input: {text}, write an aggregation, and asc or desc")
    return known[name], direction.strip() == "desc"


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
