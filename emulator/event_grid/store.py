"""Deliveries in SQLite: an event is accepted when its deliveries are committed, and forgotten when they are over."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any

_SCHEMA = """
create table if not exists delivery(
  number integer primary key autoincrement, topic text not null, subscription text not null, event text not null,
  published real not null, due real not null, attempts integer not null default 0, state text not null default 'pending',
  outcome text not null default '', status integer, attempted real);
create index if not exists delivery_due on delivery(state, due);
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one subscription. Times in UTC, virtual."""

    number: int
    topic: str
    subscription: str
    event: dict[str, Any]
    published: datetime
    due: datetime
    attempts: int
    state: str
    outcome: str
    status: int | None
    attempted: datetime | None


class DeliveryStore:
    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._lock = Lock()
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=full")
        self._db.executescript(_SCHEMA)

    def add(self, items: Iterable[tuple[str, str, dict[str, Any]]], now: datetime) -> None:
        """(topic, subscription, event) triples, all or none."""
        at = now.timestamp()
        with self._lock, self._db:
            self._db.execute("begin immediate")
            self._db.executemany("insert into delivery(topic, subscription, event, published, due) values(?,?,?,?,?)",
                                 [(topic, name, json.dumps(event), at, at) for topic, name, event in items])

    def due(self, now: datetime, busy: set[int], limit: int) -> list[Delivery]:
        with self._lock:
            rows = self._db.execute("select * from delivery where state='pending' and due<=? order by due, number limit ?",
                                    (now.timestamp(), limit + len(busy))).fetchall()
        return [_delivery(row) for row in rows if row[0] not in busy][:limit]

    def next_due(self, busy: set[int]) -> datetime | None:
        with self._lock:
            rows = self._db.execute("select number, due from delivery where state='pending' order by due limit ?",
                                    (len(busy) + 1,)).fetchall()
        return next((datetime.fromtimestamp(due, UTC) for number, due in rows if number not in busy), None)

    def settle(self, number: int, *, state: str, outcome: str, status: int | None, attempted: datetime,
               due: datetime | None = None) -> None:
        """Record an attempt. `state` is pending (with the next due time), delivered, dropped or dead_lettered."""
        with self._lock, self._db:
            self._db.execute(
                "update delivery set attempts=attempts+1, state=?, outcome=?, status=?, attempted=?, due=coalesce(?, due) where number=?",
                (state, outcome, status, attempted.timestamp(), due.timestamp() if due else None, number))

    def history(self, subscription: str | None = None, limit: int = 500) -> list[Delivery]:
        """Newest last."""
        where, parameters = ("where subscription=?", [subscription]) if subscription else ("", [])
        with self._lock:
            rows = self._db.execute(f"select * from delivery {where} order by number desc limit ?", [*parameters, limit]).fetchall()  # noqa: S608
        return [_delivery(row) for row in reversed(rows)]

    def close(self) -> None:
        with self._lock:
            self._db.close()


def _delivery(row: tuple[Any, ...]) -> Delivery:
    number, topic, subscription, event, published, due, attempts, state, outcome, status, attempted = row
    return Delivery(number, topic, subscription, json.loads(event), datetime.fromtimestamp(published, UTC),
                    datetime.fromtimestamp(due, UTC), attempts, state, outcome, status,
                    datetime.fromtimestamp(attempted, UTC) if attempted else None)
