"""Deliveries, what became of them, and their counts.

An event is accepted when its deliveries are committed; a delivery is in one state, and each attempt is recorded
with the state that it led to. Counts change in the transaction that changes what they count.
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from emulator.event_grid.database import Database
from emulator.event_grid.retry import Outcome

_KEPT = 5000
"""Deliveries that are over and stay for the history; older ones are forgotten at the next start."""


class State(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    DEAD_LETTERING = "dead_lettering"
    """Given up; on its way to the dead-letter container."""
    DELIVERED = "delivered"
    DEAD_LETTERED = "dead_lettered"
    DROPPED = "dropped"


_OPEN = "state in ('pending', 'dead_lettering')"
"""A delivery that was dropped while it was attempted stays dropped."""
_COUNTED = {State.DELIVERED: "DeliverySuccessCount", State.DEAD_LETTERED: "DeadLetteredCount", State.DROPPED: "DroppedEventCount"}


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one subscription (its key). Times in UTC, virtual."""

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
    size: int
    """Bytes of the event as it is stored."""


class DeliveryStore:
    """Every change is on disk when its method returns."""

    def __init__(self, database: Database) -> None:
        self._db = database
        self._forget_old()

    def add(self, topic: str, items: Sequence[tuple[str, dict[str, Any]]], now: datetime, events: int, unmatched: int) -> None:
        """`events` were published to a topic, `unmatched` of them for nobody: (subscription, event) pairs, all or none."""
        at = now.timestamp()
        rows = [(topic, name, json.dumps(event), at, at) for name, event in items]
        matched = Counter(name for name, _ in items)

        def write(db: sqlite3.Connection) -> None:
            db.executemany("insert into delivery(topic, subscription, event, published, due) values(?,?,?,?,?)", rows)
            _count(db, "topic", topic, "PublishSuccessCount", "", events)
            _count(db, "topic", topic, "UnmatchedEventCount", "", unmatched)
            for name, number in matched.items():
                _count(db, "subscription", name, "MatchedEventCount", "", number)

        self._db.write(write)

    def refused(self, topic: str, reason: str) -> None:
        """A request to publish was not accepted."""
        self._db.write(lambda db: _count(db, "topic", topic, "PublishFailCount", reason, 1))

    def due(self, subscription: str, now: datetime, busy: Collection[int], limit: int) -> list[Delivery]:
        """Open deliveries whose time has come, oldest first, without those that are `busy`."""
        rows = self._db.read("select * from open_delivery where subscription=? and due<=? order by due, number limit ?",
                             subscription, now.timestamp(), limit + len(busy))
        return [_delivery(row) for row in rows if row[0] not in busy][:limit]

    def next_due(self, subscription: str, busy: Collection[int]) -> datetime | None:
        """When the next open delivery that is not `busy` is due."""
        rows = self._db.read("select number, due from open_delivery where subscription=? order by due limit ?",
                             subscription, len(busy) + 1)
        return next((datetime.fromtimestamp(due, UTC) for number, due in rows if number not in busy), None)

    def attempted(self, deliveries: Sequence[Delivery], outcome: Outcome, at: datetime,
                  then: Callable[[Delivery], tuple[State, datetime, str]]) -> None:
        """Record one attempt for all of its deliveries; `then` gives each one's state, when it is due again, and why it was given up."""
        ends = [(delivery, *then(delivery)) for delivery in deliveries]

        def write(db: sqlite3.Connection) -> None:
            for delivery, state, due, reason in ends:
                db.execute("insert into attempt values(?,?,?,?)", (delivery.number, at.timestamp(), outcome.status, outcome.word))
                changed = db.execute(
                    "update delivery set attempts=attempts+1, state=?, status=?, outcome=?, reason=?, attempted=?, due=? "  # noqa: S608
                    f"where number=? and {_OPEN}",
                    (state, outcome.status, outcome.word, reason, at.timestamp(), due.timestamp(), delivery.number)).rowcount
                if not outcome.delivered:
                    _count(db, "subscription", delivery.subscription, "DeliveryAttemptFailCount", outcome.word, 1)
                _count_end(db, delivery.subscription, state, reason, changed)

        self._db.write(write)

    def repeated(self, deliveries: Sequence[Delivery], outcome: Outcome, at: datetime) -> None:
        """A second sending of the same attempt, which only the history knows."""
        self._db.write(lambda db: db.executemany(
            "insert into attempt values(?,?,?,?)",
            [(delivery.number, at.timestamp(), outcome.status, outcome.word) for delivery in deliveries]))

    def move(self, delivery: Delivery, state: State, due: datetime, reason: str) -> None:
        """Change the state without an attempt."""
        def write(db: sqlite3.Connection) -> None:
            changed = db.execute(f"update delivery set state=?, due=?, reason=? where number=? and {_OPEN}",  # noqa: S608 - no input
                                 (state, due.timestamp(), reason, delivery.number)).rowcount
            _count_end(db, delivery.subscription, state, reason, changed)

        self._db.write(write)

    def drop_all(self, subscription: str, reason: str) -> None:
        """What a subscription had still to get is dropped."""
        self._drop("subscription=?", subscription, reason)

    def drop_others(self, subscriptions: Iterable[str]) -> None:
        """Deliveries of subscriptions that are no more have nowhere to go."""
        self._drop("subscription not in (select value from json_each(?))", json.dumps(list(subscriptions)), "SubscriptionDeleted")

    def _drop(self, which: str, parameter: str, reason: str) -> None:
        def write(db: sqlite3.Connection) -> None:
            open_ones = f"select subscription, count(*) from open_delivery where {which} group by 1"  # noqa: S608 - no input
            for name, number in db.execute(open_ones, (parameter,)).fetchall():
                _count(db, "subscription", name, "DroppedEventCount", reason, number)
            db.execute("update delivery set state='dropped', reason=? where number in "  # noqa: S608
                       f"(select number from open_delivery where {which})", (reason, parameter))

        self._db.write(write)

    def history(self, subscription: str | None, limit: int) -> list[tuple[Delivery, list[tuple[datetime, Outcome]]]]:
        """The newest deliveries and their attempts, newest last."""
        rows = self._db.read("select * from delivery where ?1 is null or subscription=?1 order by number desc limit ?2",
                             subscription, limit)
        found = [_delivery(row) for row in reversed(rows)]
        tries: dict[int, list[tuple[datetime, Outcome]]] = {delivery.number: [] for delivery in found}
        if found:
            for number, at, status, word in self._db.read("select * from attempt where delivery>=? order by rowid", found[0].number):
                if number in tries:
                    tries[number].append((datetime.fromtimestamp(at, UTC), Outcome(status, word)))
        return [(delivery, tries[delivery.number]) for delivery in found]

    def metrics(self, kind: str) -> dict[str, dict[str, dict[str, int]]]:
        """Of topics or subscriptions: name -> metric -> reason -> count."""
        found: dict[str, dict[str, dict[str, int]]] = {}
        for name, metric, reason, count in self._db.read("select name, metric, reason, count from metric where kind=?", kind):
            found.setdefault(name, {}).setdefault(metric, {})[reason] = count
        return found

    def _forget_old(self) -> None:
        def write(db: sqlite3.Connection) -> None:
            db.execute("delete from delivery where number not in (select number from open_delivery) "
                       "and number <= (select max(number) from delivery) - ?", (_KEPT,))
            db.execute("delete from attempt where delivery not in (select number from delivery)")

        self._db.write(write)


def _count(db: sqlite3.Connection, kind: str, name: str, metric: str, reason: str, number: int) -> None:
    if number:
        db.execute("insert into metric values(?,?,?,?,?) on conflict do update set count=count+excluded.count",
                   (kind, name, metric, reason, number))


def _count_end(db: sqlite3.Connection, subscription: str, state: State, reason: str, number: int) -> None:
    if state in _COUNTED:
        _count(db, "subscription", subscription, _COUNTED[state], reason, number)


def _delivery(row: tuple[Any, ...]) -> Delivery:
    number, topic, subscription, event, published, due, state, attempts, status, outcome, reason, attempted = row
    return Delivery(number, topic, subscription, json.loads(event), datetime.fromtimestamp(published, UTC),
                    datetime.fromtimestamp(due, UTC), State(state), attempts, status, outcome, reason,
                    datetime.fromtimestamp(attempted, UTC) if attempted else None, len(event))
