"""What runs log: metrics with their whole history, and parameters. Written through MLflow, shown by run history too.

A metric logged twice with the same value, time and step is there once, so that a client may repeat a request whose
answer was lost. The latest of a metric is the one of the greatest step, then time, then value: MLflow's rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from emulator.azure_ml.store import ResourceStore

_SCHEMA = """
CREATE TABLE IF NOT EXISTS run_metrics (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT NOT NULL,
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    value NOT NULL,
    timestamp INTEGER NOT NULL,
    step INTEGER NOT NULL,
    UNIQUE (scope, run, key, timestamp, step, value)
);
CREATE TABLE IF NOT EXISTS run_latest_metrics (
    scope TEXT NOT NULL,
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    value NOT NULL,
    timestamp INTEGER NOT NULL,
    step INTEGER NOT NULL,
    PRIMARY KEY (scope, run, key)
);
CREATE TABLE IF NOT EXISTS run_params (
    scope TEXT NOT NULL,
    run TEXT NOT NULL,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (scope, run, key)
);
"""


_LATEST = "SELECT key, value, timestamp, step FROM run_latest_metrics WHERE scope = ? AND run = ?"
_HISTORY = "SELECT key, value, timestamp, step FROM run_metrics WHERE scope = ? AND run = ?"


@dataclass(frozen=True, slots=True)
class Metric:
    key: str
    value: float
    timestamp: int
    """Milliseconds, as the client says."""
    step: int = 0

    @property
    def order(self) -> tuple[int, int, float]:
        return self.step, self.timestamp, -math.inf if math.isnan(self.value) else self.value


class ParameterChanged(Exception):
    """A parameter keeps its first value. `args`: its key, the value it has, the value asked for."""


class Measurements:
    """Runs are known by their workspace's id and their name, without regard to case."""

    def __init__(self, store: ResourceStore) -> None:
        store.create_tables(_SCHEMA)
        self._store = store

    def log(self, scope_id: str, run: str, metrics: Iterable[Metric] = (), params: Iterable[tuple[str, str]] = ()) -> None:
        """Write all or nothing; raises `ParameterChanged`."""
        owner = (scope_id.lower(), run.lower())
        with self._store.transaction() as connection:
            for key, value in params:
                connection.execute("INSERT OR IGNORE INTO run_params VALUES (?, ?, ?, ?)", (*owner, key, value))
                [(kept,)] = connection.execute(
                    "SELECT value FROM run_params WHERE scope = ? AND run = ? AND key = ?", (*owner, key)
                ).fetchall()
                if kept != value:
                    raise ParameterChanged(key, kept, value)
            latest: dict[str, Metric] = {}
            for metric in metrics:
                connection.execute(
                    "INSERT OR IGNORE INTO run_metrics (scope, run, key, value, timestamp, step) VALUES (?, ?, ?, ?, ?, ?)",
                    (*owner, metric.key, _stored(metric.value), metric.timestamp, metric.step),
                )
                if metric.key not in latest or metric.order > latest[metric.key].order:
                    latest[metric.key] = metric
            for metric in latest.values():
                before = self._select(_LATEST + " AND key = ?", (*owner, metric.key))
                if not before or metric.order > before[0].order:
                    connection.execute(
                        "INSERT OR REPLACE INTO run_latest_metrics VALUES (?, ?, ?, ?, ?, ?)",
                        (*owner, metric.key, _stored(metric.value), metric.timestamp, metric.step),
                    )

    def latest(self, scope_id: str, run: str) -> list[Metric]:
        """The latest of every metric, by key."""
        return self._select(_LATEST + " ORDER BY key", (scope_id.lower(), run.lower()))

    def history(self, scope_id: str, run: str, key: str, offset: int = 0, limit: int = -1) -> list[Metric]:
        """All values of a metric by step, then time; `limit` -1 for all of them."""
        return self._select(
            _HISTORY + " AND key = ? ORDER BY step, timestamp, sequence LIMIT ? OFFSET ?",
            (scope_id.lower(), run.lower(), key, limit, offset),
        )  # fmt: skip

    def params(self, scope_id: str, run: str) -> dict[str, str]:
        rows = self._store.query(
            "SELECT key, value FROM run_params WHERE scope = ? AND run = ? ORDER BY key", (scope_id.lower(), run.lower())
        )
        return dict(rows)

    def _select(self, statement: str, parameters: tuple[Any, ...]) -> list[Metric]:
        rows = self._store.query(statement, parameters)
        return [Metric(key, float(value), timestamp, step) for key, value, timestamp, step in rows]


def _stored(value: float) -> float | str:
    """SQLite keeps no NaN: what is not finite is kept as text."""
    return value if math.isfinite(value) else str(value)


def json_number(value: float) -> float | str:
    """A number as protobuf's JSON writes it: JSON itself knows none that is not finite."""
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def when(milliseconds: int) -> str:
    """A metric's time in ISO 8601; what no calendar has is 1970."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00Z"
