"""Event Grid's memory in SQLite: deliveries and their attempts, subscriptions, and who has shaken hands.

An event is accepted when its deliveries are committed; a delivery is in one state, and each attempt is recorded
with the state that it led to.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from threading import Lock
from typing import Any

from emulator.event_grid.retry import Outcome

_KEPT = 5000
"""Deliveries that are over and stay for the history; older ones are forgotten at the next start."""
_SCHEMA = """
create table if not exists delivery(
  number integer primary key autoincrement, topic text not null, subscription text not null, event text not null,
  published real not null, due real not null, state text not null default 'pending', attempts integer not null default 0,
  status integer, outcome text not null default '', reason text not null default '', attempted real);
create index if not exists delivery_due on delivery(subscription, due) where state in ('pending', 'dead_lettering');
create view if not exists open_delivery as select * from delivery where state in ('pending', 'dead_lettering');
create table if not exists attempt(delivery integer not null, at real not null, status integer, outcome text not null);
create index if not exists attempt_delivery on attempt(delivery);
create table if not exists subscription(name text primary key, body text not null);
create table if not exists validation(endpoint text primary key, code text not null, validated integer not null default 0);
"""


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DEAD_LETTERING = "dead_lettering"
    """Given up; on its way to the dead-letter container."""
    DELIVERED = "delivered"
    DEAD_LETTERED = "dead_lettered"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one subscription. Times in UTC, virtual."""

    number: int
    topic: str
    subscription: str
    event: dict[str, Any]
    published: datetime
    due: datetime
    state: State
    attempts: int
    status: int | None
    """HTTP status of the last attempt; None: no answer."""
    outcome: str
    reason: str
    """Why it was given up."""
    attempted: datetime | None


class DeliveryStore:
    """Safe to use from several threads; every change is on disk when its method returns."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._lock = Lock()
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=full")
        self._db.executescript(_SCHEMA)
        self._forget_old()

    # --- deliveries ---------------------------------------------------------------------------------

    def add(self, items: Iterable[tuple[str, str, dict[str, Any]]], now: datetime) -> None:
        """(topic, subscription, event) triples, all or none."""
        at = now.timestamp()
        rows = [(topic, name, json.dumps(event), at, at) for topic, name, event in items]
        self._write(lambda db: db.executemany("insert into delivery(topic, subscription, event, published, due) values(?,?,?,?,?)", rows))

    def due(self, subscription: str, now: datetime, busy: set[int], limit: int) -> list[Delivery]:
        """Open deliveries whose time has come, oldest first, without those that are `busy`."""
        rows = self._read("select * from open_delivery where subscription=? and due<=? order by due, number limit ?",
                          subscription, now.timestamp(), limit + len(busy))
        return [_delivery(row) for row in rows if row[0] not in busy][:limit]

    def next_due(self, subscription: str, busy: set[int]) -> datetime | None:
        """When the next open delivery that is not `busy` is due."""
        rows = self._read("select number, due from open_delivery where subscription=? order by due limit ?",
                          subscription, len(busy) + 1)
        return next((datetime.fromtimestamp(due, UTC) for number, due in rows if number not in busy), None)

    def attempted(self, number: int, outcome: Outcome, at: datetime, state: State, due: datetime, reason: str = "") -> None:
        """Record an attempt and the state it led to, due again (or, when given up, to be dead-lettered) at `due`."""
        def write(db: sqlite3.Connection) -> None:
            db.execute("insert into attempt values(?,?,?,?)", (number, at.timestamp(), outcome.status, outcome.word))
            db.execute("update delivery set attempts=attempts+1, state=?, status=?, outcome=?, reason=?, attempted=?, due=? where number=?",
                       (state, outcome.status, outcome.word, reason, at.timestamp(), due.timestamp(), number))

        self._write(write)

    def move(self, number: int, state: State, due: datetime, reason: str) -> None:
        """Change the state without an attempt."""
        self._write(lambda db: db.execute("update delivery set state=?, due=?, reason=? where number=?",
                                          (state, due.timestamp(), reason, number)))

    def drop_others(self, subscriptions: Sequence[str]) -> None:
        """Deliveries of subscriptions that are no more have nowhere to go."""
        names = json.dumps(list(subscriptions))
        self._write(lambda db: db.execute(
            "update delivery set state='dropped', reason='SubscriptionDeleted' where number in "
            "(select number from open_delivery where subscription not in (select value from json_each(?)))", (names,)))

    def history(self, subscription: str | None, limit: int) -> list[tuple[Delivery, list[tuple[datetime, Outcome]]]]:
        """The newest deliveries and their attempts, newest last."""
        rows = self._read("select * from delivery where ?1 is null or subscription=?1 order by number desc limit ?2", subscription, limit)
        found = [_delivery(row) for row in reversed(rows)]
        tries: dict[int, list[tuple[datetime, Outcome]]] = {delivery.number: [] for delivery in found}
        if found:
            for number, at, status, word in self._read("select * from attempt where delivery>=? order by rowid", found[0].number):
                if number in tries:
                    tries[number].append((datetime.fromtimestamp(at, UTC), Outcome(status, word)))
        return [(delivery, tries[delivery.number]) for delivery in found]

    def _forget_old(self) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute("delete from delivery where number not in (select number from open_delivery) "
                       "and number <= (select max(number) from delivery) - ?", (_KEPT,))
            db.execute("delete from attempt where delivery not in (select number from delivery)")

        self._write(write)

    # --- subscriptions and their endpoints ----------------------------------------------------------

    def subscriptions(self) -> dict[str, str]:
        """Those made by the control API: name -> JSON."""
        return dict(self._read("select name, body from subscription"))

    def keep_subscription(self, name: str, body: str) -> None:
        self._write(lambda db: db.execute("insert or replace into subscription values(?,?)", (name, body)))

    def forget_subscription(self, name: str) -> bool:
        return self._write(lambda db: db.execute("delete from subscription where name=?", (name,))).rowcount > 0

    def is_validated(self, endpoint: str) -> bool:
        return bool(self._read("select 1 from validation where endpoint=? and validated", endpoint))

    def ask(self, endpoint: str, code: str) -> None:
        """The endpoint is being sent this code."""
        self._write(lambda db: db.execute("insert or replace into validation(endpoint, code) values(?,?)", (endpoint, code)))

    def validate(self, code: str) -> bool:
        """The code has come back; False when nobody was sent it."""
        return self._write(lambda db: db.execute("update validation set validated=1 where code=?", (code,))).rowcount > 0

    # --- the database -------------------------------------------------------------------------------

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _read(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(statement, parameters).fetchall()

    def _write[T](self, change: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock, self._db:
            self._db.execute("begin immediate")
            return change(self._db)


def _delivery(row: tuple[Any, ...]) -> Delivery:
    number, topic, subscription, event, published, due, state, attempts, status, outcome, reason, attempted = row
    return Delivery(number, topic, subscription, json.loads(event), datetime.fromtimestamp(published, UTC),
                    datetime.fromtimestamp(due, UTC), State(state), attempts, status, outcome, reason,
                    datetime.fromtimestamp(attempted, UTC) if attempted else None)
