"""Event Grid's SQLite file: one writer at a time, every change on disk when its transaction ends, a schema that migrates."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

_VERSION = 2
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
create table if not exists handshake(
  code text primary key, endpoint text not null, asked real not null, validated integer not null default 0);
create index if not exists handshake_endpoint on handshake(endpoint);
create table if not exists topic(kind text not null, name text not null collate nocase, body text not null, primary key(kind, name));
create table if not exists access_key(topic text not null collate nocase, name text not null, key text not null, primary key(topic, name));
create table if not exists metric(
  kind text not null, name text not null, metric text not null, reason text not null, count integer not null,
  primary key(kind, name, metric, reason)) without rowid;
"""
_FROM_1 = """
insert or ignore into handshake select code, endpoint, 0, validated from validation;
drop table validation;
"""


class Database:
    """Safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._lock = Lock()
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=full")
        try:
            self._migrate()
        except sqlite3.Error:
            self.close()  # undoes what it had begun
            raise

    def read(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._db.execute(statement, parameters).fetchall()

    def write[T](self, change: Callable[[sqlite3.Connection], T]) -> T:
        """One transaction: durable when this returns, undone when `change` raises."""
        with self._lock, self._db:
            self._db.execute("begin immediate")
            return change(self._db)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def _migrate(self) -> None:
        """In one transaction: a start that is killed leaves the old schema whole."""
        (version,) = self._db.execute("pragma user_version").fetchone()
        if version >= _VERSION:
            return
        # The first schema had no number: its table of handshakes tells it.
        is_first = self._db.execute("select 1 from sqlite_master where name='validation'").fetchone() is not None
        self._db.executescript(f"begin immediate;{_SCHEMA}{_FROM_1 if is_first else ''}pragma user_version={_VERSION};commit;")
