"""The SQLite file: instances, histories, inboxes, entities, delayed signals, timers of functions.

Every acknowledged change is one transaction with full synchronisation, so it survives a killed process and a
power loss. Only what a change touched is written: history rows are appended, never rewritten.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.testing import in_memory_backend as memory

from emulator.context import EmulatorError

VERSION = 1
_SCHEMA = """
create table instance(id text primary key, name text, status int, version text, input text, output text, custom_status text,
  created real, updated real, completed real, failure blob, tags text, generation int);
create table history(id text, seq int, event blob, primary key(id, seq)) without rowid;
create table inbox(id text, seq int, event blob, primary key(id, seq)) without rowid;
create table parent(id text primary key, parent text, task_id int);
create table start_at(id text primary key, due real);
create table entity(id text primary key, state text, modified real, locked_by text);
create table entity_op(id text, seq int, event blob, primary key(id, seq)) without rowid;
create table delayed(number integer primary key, entity text, due real, event blob);
"""


class NewerState(EmulatorError):
    """The durable state was written by a newer version of the local platform: use that one, or another state folder."""


def _stamp(moment: datetime | None) -> float | None:
    return moment.timestamp() if moment else None


def _moment(stamp: float | None) -> datetime | None:
    return datetime.fromtimestamp(stamp, UTC) if stamp is not None else None


class Journal:
    """Not thread-safe: the backend calls it under its lock."""

    def __init__(self, path: Path | None) -> None:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path or ":memory:", check_same_thread=False, isolation_level=None)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=full")
        found = self._db.execute("pragma user_version").fetchone()[0]
        if found > VERSION:
            raise NewerState(NewerState.__doc__)
        if found == 0:
            with self._db:
                self._db.executescript(f"begin; {_SCHEMA} pragma user_version={VERSION}; commit;")
        self._lengths: dict[str, int] = {}
        self.commits = 0

    def write(self, instances: Iterable[tuple[memory.OrchestrationInstance, int]], gone: Iterable[str],
              entities: Iterable[memory.EntityState], gone_entities: Iterable[str],
              parents: dict[str, tuple[str, int] | None], start_at: dict[str, datetime | None]) -> None:
        """One transaction: all of it, or nothing."""
        run = self._db.execute
        lengths: dict[str, int] = {}
        run("begin immediate")
        try:
            for instance_id in gone:
                for table in ("instance", "history", "inbox", "parent", "start_at"):
                    run(f"delete from {table} where id=?", (instance_id,))  # noqa: S608 (names from the tuple above)
                lengths[instance_id] = 0
            for instance, generation in instances:
                lengths[instance.instance_id] = self._write_instance(instance, generation, lengths)
            for entity in entities:
                self._write_entity(entity)
            for entity_id in gone_entities:
                run("delete from entity where id=?", (entity_id,))
                run("delete from entity_op where id=?", (entity_id,))
            for child, parent in parents.items():
                if parent is None:
                    run("delete from parent where id=?", (child,))
                else:
                    run("insert or replace into parent values(?,?,?)", (child, *parent))
            for instance_id, due in start_at.items():
                if due is None:
                    run("delete from start_at where id=?", (instance_id,))
                else:
                    run("insert or replace into start_at values(?,?)", (instance_id, due.timestamp()))
            run("commit")
        except BaseException:
            run("rollback")
            raise
        self._lengths.update(lengths)
        self.commits += 1

    def _write_instance(self, item: memory.OrchestrationInstance, generation: int, lengths: dict[str, int]) -> int:
        run, key = self._db.execute, item.instance_id
        stored = run("select generation from instance where id=?", (key,)).fetchone()
        run("insert or replace into instance values(?,?,?,?,?,?,?,?,?,?,?,?,?)", (
            key, item.name, item.status, item.version, item.input, item.output, item.custom_status, _stamp(item.created_at),
            _stamp(item.last_updated_at), _stamp(item.completed_at),
            item.failure_details.SerializeToString() if item.failure_details else None, json.dumps(item.tags) if item.tags else None,
            generation))
        begun = lengths.get(key, self._lengths.get(key, 0))
        if (stored is not None and stored[0] != generation) or len(item.history) < begun:
            # Continued as new, rewound or restarted: it is another history.
            run("delete from history where id=?", (key,))
            begun = 0
        self._db.executemany("insert into history values(?,?,?)",
                             [(key, n, item.history[n].SerializeToString()) for n in range(begun, len(item.history))])
        run("delete from inbox where id=?", (key,))
        self._db.executemany("insert into inbox values(?,?,?)", [
            (key, n, event.SerializeToString()) for n, event in enumerate([*item.dispatched_events, *item.pending_events])])
        return len(item.history)

    def _write_entity(self, entity: memory.EntityState) -> None:
        key = entity.instance_id
        self._db.execute("insert or replace into entity values(?,?,?,?)",
                         (key, entity.serialized_state, _stamp(entity.last_modified_at), entity.locked_by))
        self._db.execute("delete from entity_op where id=?", (key,))
        self._db.executemany("insert into entity_op values(?,?,?)", [
            (key, n, op.SerializeToString()) for n, op in enumerate([*entity.dispatched_operations, *entity.pending_operations])])

    def delay(self, entity: str, due: datetime, event: pb.HistoryEvent) -> int:
        """Keep a signal for later; returns its number."""
        cursor = self._db.execute("insert into delayed(entity, due, event) values(?,?,?)",
                                  (entity, due.timestamp(), event.SerializeToString()))
        return cursor.lastrowid or 0

    def undelay(self, number: int) -> None:
        self._db.execute("delete from delayed where number=?", (number,))

    # --- reading, once at start ---------------------------------------------------------------------

    def instances(self) -> list[tuple[memory.OrchestrationInstance, int]]:
        """Every instance with its history and inbox, and its generation."""
        found = []
        for row in self._db.execute("select * from instance").fetchall():
            item = memory.OrchestrationInstance(
                instance_id=row[0], name=row[1], status=row[2], version=row[3], input=row[4], output=row[5], custom_status=row[6],
                created_at=datetime.fromtimestamp(row[7], UTC), last_updated_at=datetime.fromtimestamp(row[8], UTC),
                completed_at=_moment(row[9]), tags=json.loads(row[11]) if row[11] else None,
                failure_details=pb.TaskFailureDetails.FromString(row[10]) if row[10] else None)
            item.history = self._events("history", row[0])
            item.pending_events = self._events("inbox", row[0])
            self._lengths[row[0]] = len(item.history)
            found.append((item, row[12]))
        return found

    def entities(self) -> list[memory.EntityState]:
        found = []
        for key, state, modified, locked_by in self._db.execute("select * from entity").fetchall():
            entity = memory.EntityState(instance_id=key, serialized_state=state, last_modified_at=datetime.fromtimestamp(modified, UTC),
                                        locked_by=locked_by)
            entity.pending_operations = self._events("entity_op", key)
            found.append(entity)
        return found

    def parents(self) -> dict[str, tuple[str, int]]:
        return {child: (parent, task_id) for child, parent, task_id in self._db.execute("select * from parent")}

    def start_times(self) -> dict[str, datetime]:
        return {key: datetime.fromtimestamp(due, UTC) for key, due in self._db.execute("select * from start_at")}

    def delayed(self) -> list[tuple[int, str, datetime, pb.HistoryEvent]]:
        rows = self._db.execute("select number, entity, due, event from delayed").fetchall()
        return [(number, entity, datetime.fromtimestamp(due, UTC), pb.HistoryEvent.FromString(event))
                for number, entity, due, event in rows]

    def _events(self, table: str, key: str) -> list[pb.HistoryEvent]:
        rows = self._db.execute(f"select event from {table} where id=? order by seq", (key,))  # noqa: S608 (our own table names)
        return [pb.HistoryEvent.FromString(event) for (event,) in rows]

    def close(self) -> None:
        self._db.close()
