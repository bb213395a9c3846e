"""The SQLite file: instances, histories, inboxes, entities, delayed signals, start times.

Every acknowledged change is part of one transaction with full synchronisation, so it survives a killed process and a
power loss. Only what a change touched is written: history and inbox rows are appended, never rewritten. A batch is
prepared under the backend's lock and written outside of it, so that changes which come meanwhile share the next one.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.testing import in_memory_backend as memory

from emulator.durable.schema import NewerState, UnusableState, bring_up_to_date

__all__ = ["Batch", "Journal", "NewerState", "UnusableState"]
_INSTANCE_TABLES = ("instance", "history", "inbox", "parent", "start_at")


def _stamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def _moment(stamp: float | None) -> datetime | None:
    return datetime.fromtimestamp(stamp, UTC) if stamp is not None else None


@dataclass
class Batch:
    """Statements of one transaction. `now` stamps events that have no time yet."""

    now: datetime
    statements: list[tuple[str, Sequence[tuple[Any, ...]]]] = field(default_factory=list)
    instances: list[str] = field(default_factory=list)
    entities: list[str] = field(default_factory=list)

    def add(self, statement: str, *rows: tuple[Any, ...]) -> None:
        if rows:
            self.statements.append((statement, rows))

    def text(self, event: pb.HistoryEvent) -> bytes:
        """The event as it is kept. The test backend leaves most events without a time; a history has one for each."""
        if not event.timestamp.seconds:
            event.timestamp.FromDatetime(self.now)
        return event.SerializeToString()


@dataclass
class _Inbox:
    """Events of one instance or entity that are in the file, by object, with their row numbers."""

    rows: list[tuple[pb.HistoryEvent, int]] = field(default_factory=list)

    def save(self, batch: Batch, table: str, key: str, events: list[pb.HistoryEvent]) -> None:
        """Make the file's rows these events; what stays in place costs nothing."""
        known = {id(event): number for event, number in self.rows}
        staying = list(itertools.takewhile(lambda event: id(event) in known, events))
        numbers = [known[id(event)] for event in staying]
        if numbers != sorted(numbers) or any(id(event) in known for event in events[len(staying):]):
            staying, numbers = [], []  # in another order: all anew
        gone = set(known.values()) - set(numbers)
        if gone and not numbers:
            batch.add(f"delete from {table} where id=?", (key,))  # noqa: S608 (our own table names, here and below)
        else:
            batch.add(f"delete from {table} where id=? and seq=?", *((key, number) for number in gone))  # noqa: S608
        first = numbers[-1] + 1 if numbers else 0
        arrived = list(enumerate(events[len(staying):], first))
        batch.add(f"insert into {table} values(?,?,?)", *((key, number, batch.text(event)) for number, event in arrived))
        self.rows = [*zip(staying, numbers, strict=True), *((event, number) for number, event in arrived)]


@dataclass
class _Stored:
    generation: int
    length: int = 0
    """Events of the history that are in the file."""
    inbox: _Inbox = field(default_factory=_Inbox)


class Journal:
    """Preparing is done under the backend's lock, writing under its commit lock."""

    def __init__(self, path: Path | None) -> None:
        """`path` None keeps all in memory. Raises NewerState, UnusableState."""
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None, timeout=1.0)
        try:
            # One process owns the file: two hosts on one state would each undo what the other does.
            self._db.execute("pragma locking_mode=exclusive")
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=full")
            bring_up_to_date(self._db)
        except NewerState:
            self._db.close()
            raise
        except sqlite3.OperationalError as error:
            self._db.close()
            if "locked" not in str(error):
                raise UnusableState(f"{path}: {error}") from error
            raise UnusableState(f"{path} is in use by another process: stop that one, or use another state folder") from error
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise UnusableState(f"{path} is damaged or not a database ({error}): move it away, or use another state folder") from error
        self._stored: dict[str, _Stored] = {}
        self._operations: dict[str, _Inbox] = {}
        self._numbers = itertools.count(1)

    # --- preparing ----------------------------------------------------------------------------------

    def instance(self, batch: Batch, item: memory.OrchestrationInstance, generation: int, inbox: list[pb.HistoryEvent],
                 parent: str | None, scheduled: datetime | None) -> None:
        """`inbox`: the events that are not part of the history yet."""
        key, stored = item.instance_id, self._stored.get(item.instance_id)
        batch.instances.append(key)
        changing = (item.status, item.output, item.custom_status, _stamp(item.last_updated_at), _stamp(item.completed_at),
                    item.failure_details.SerializeToString() if item.failure_details else None)
        if stored is None or stored.generation != generation or len(item.history) < stored.length:
            # New, or continued as new, rewound or restarted: it is another history.
            stored = self._stored[key] = _Stored(generation)
            batch.add("delete from history where id=?", (key,))
            batch.add("delete from inbox where id=?", (key,))
            batch.add(
                "insert or replace into instance(status, output, custom_status, updated, completed, failure, id, name, version, input,"
                " created, tags, generation, parent, scheduled) values(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
                (*changing, key, item.name, item.version, item.input, _stamp(item.created_at),
                 json.dumps(item.tags) if item.tags else None, generation, parent, _stamp(scheduled)))
        else:
            batch.add("update instance set status=?, output=?, custom_status=?, updated=?, completed=?, failure=? where id=?",
                      (*changing, key))
        batch.add("insert into history values(?,?,?)", *(
            (key, number, batch.text(item.history[number])) for number in range(stored.length, len(item.history))))
        stored.length = len(item.history)
        stored.inbox.save(batch, "inbox", key, inbox)

    def no_instance(self, batch: Batch, key: str) -> None:
        self._stored.pop(key, None)
        for table in _INSTANCE_TABLES:
            batch.add(f"delete from {table} where id=?", (key,))  # noqa: S608 (from the tuple above)

    def entity(self, batch: Batch, entity: memory.EntityState) -> None:
        key = entity.instance_id
        batch.entities.append(key)
        batch.add("insert or replace into entity values(?,?,?,?)",
                  (key, entity.serialized_state, _stamp(entity.last_modified_at), entity.locked_by))
        if key not in self._operations:
            batch.add("delete from entity_op where id=?", (key,))
        self._operations.setdefault(key, _Inbox()).save(
            batch, "entity_op", key, [*entity.dispatched_operations, *entity.pending_operations])

    def no_entity(self, batch: Batch, key: str) -> None:
        self._operations.pop(key, None)
        batch.add("delete from entity where id=?", (key,))
        batch.add("delete from entity_op where id=?", (key,))

    def parent(self, batch: Batch, child: str, parent: tuple[str, int] | None) -> None:
        if parent is None:
            batch.add("delete from parent where id=?", (child,))
        else:
            batch.add("insert or replace into parent values(?,?,?)", (child, *parent))

    def start_at(self, batch: Batch, key: str, due: datetime | None) -> None:
        if due is None:
            batch.add("delete from start_at where id=?", (key,))
        else:
            batch.add("insert or replace into start_at values(?,?)", (key, due.timestamp()))

    def delay(self, batch: Batch, number: int, signal: tuple[str, datetime, pb.HistoryEvent] | None) -> None:
        """Keep a signal for later under its number; None: it was delivered."""
        if signal is None:
            batch.add("delete from delayed where number=?", (number,))
        else:
            entity, due, event = signal
            batch.add("insert or replace into delayed values(?,?,?,?)", (number, entity, due.timestamp(), batch.text(event)))

    def number(self) -> int:
        """Another number for a delayed signal."""
        return next(self._numbers)

    # --- writing ------------------------------------------------------------------------------------

    def write(self, batch: Batch) -> None:
        """One transaction: all of it, or nothing. Raises sqlite3.Error; what the batch touched is then written whole next time."""
        self._db.execute("begin immediate")
        try:
            for statement, rows in batch.statements:
                self._db.executemany(statement, rows)
            self._db.execute("commit")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("rollback")
            raise

    def forget(self, batch: Batch) -> None:
        """The batch is not in the file: nothing is known of what it touched. Under the backend's lock."""
        for key in batch.instances:
            self._stored.pop(key, None)
        for key in batch.entities:
            self._operations.pop(key, None)

    # --- reading, once at start ---------------------------------------------------------------------

    def instances(self) -> list[tuple[memory.OrchestrationInstance, int, str | None, datetime | None]]:
        """Every instance with its history and inbox, its generation, its parent's id and when it was to start."""
        histories, inboxes, found = self._events("history"), self._events("inbox"), []
        for row in self._db.execute(
                "select id, name, status, version, input, output, custom_status, created, updated, completed, failure, tags, generation,"
                " parent, scheduled from instance order by created, id"):
            item = memory.OrchestrationInstance(
                instance_id=row[0], name=row[1], status=row[2], version=row[3], input=row[4], output=row[5], custom_status=row[6],
                created_at=datetime.fromtimestamp(row[7], UTC), last_updated_at=datetime.fromtimestamp(row[8], UTC),
                completed_at=_moment(row[9]), tags=json.loads(row[11]) if row[11] else None,
                failure_details=pb.TaskFailureDetails.FromString(row[10]) if row[10] else None)
            item.history = [event for event, _ in histories.get(row[0], ())]
            inbox = inboxes.get(row[0], [])
            item.pending_events = [event for event, _ in inbox]
            self._stored[row[0]] = _Stored(row[12], len(item.history), _Inbox(inbox))
            found.append((item, row[12], row[13], _moment(row[14])))
        return found

    def entities(self) -> list[memory.EntityState]:
        operations, found = self._events("entity_op"), []
        for key, state, modified, locked_by in self._db.execute("select id, state, modified, locked_by from entity"):
            entity = memory.EntityState(instance_id=key, serialized_state=state, last_modified_at=datetime.fromtimestamp(modified, UTC),
                                        locked_by=locked_by)
            self._operations[key] = _Inbox(operations.get(key, []))
            entity.pending_operations = [event for event, _ in self._operations[key].rows]
            found.append(entity)
        return found

    def parents(self) -> dict[str, tuple[str, int]]:
        return {child: (parent, task_id) for child, parent, task_id in self._db.execute("select id, parent, task_id from parent")}

    def start_times(self) -> dict[str, datetime]:
        return {key: datetime.fromtimestamp(due, UTC) for key, due in self._db.execute("select id, due from start_at")}

    def delayed(self) -> list[tuple[int, str, datetime, pb.HistoryEvent]]:
        rows = self._db.execute("select number, entity, due, event from delayed order by number").fetchall()
        self._numbers = itertools.count(max((row[0] for row in rows), default=0) + 1)
        return [(number, entity, datetime.fromtimestamp(due, UTC), pb.HistoryEvent.FromString(event))
                for number, entity, due, event in rows]

    def _events(self, table: str) -> dict[str, list[tuple[pb.HistoryEvent, int]]]:
        found: dict[str, list[tuple[pb.HistoryEvent, int]]] = {}
        rows: Iterable[tuple[str, int, bytes]] = self._db.execute(f"select id, seq, event from {table} order by id, seq")  # noqa: S608
        for key, number, event in rows:
            found.setdefault(key, []).append((pb.HistoryEvent.FromString(event), number))
        return found

    def close(self) -> None:
        self._db.close()
