"""The layout of the durable state's file, and the way from each older one to the present.

`PRAGMA user_version` says which one a file has. The steps to the present version and the new number are one transaction:
a process that dies on the way leaves the old file, and the next one begins again.
"""

from __future__ import annotations

import sqlite3

from emulator.errors import EmulatorError

VERSION = 2
_FIRST = """
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
_SECOND = """
alter table instance add column parent text;
alter table instance add column scheduled real;
update instance set parent = (select parent.parent from parent where parent.id = instance.id);
update instance set scheduled = (select due from start_at where start_at.id = instance.id);
"""
MIGRATIONS = {1: _FIRST, 2: _SECOND}
"""Version: statements that lead to it from the one before. A released step is never changed: files were made by it."""


class NewerState(EmulatorError):
    """The durable state was written by a newer version of the local platform: use that one, or another state folder."""


class UnusableState(EmulatorError):
    """The durable state's file can't be used; the text says why and what to do."""


def bring_up_to_date(db: sqlite3.Connection) -> int:
    """Give the file the present layout; returns the version it had (0: it was empty). Raises NewerState."""
    db.execute("begin immediate")
    try:
        found = int(db.execute("pragma user_version").fetchone()[0])
        if found > VERSION:
            raise NewerState(f"{NewerState.__doc__} (its layout is {found}, this version knows {VERSION})")
        for version in range(found + 1, VERSION + 1):
            for statement in filter(str.strip, MIGRATIONS[version].split(";")):
                db.execute(statement)
        db.execute(f"pragma user_version={VERSION}")
        db.execute("commit")
    except BaseException:
        if db.in_transaction:
            db.execute("rollback")
        raise
    return found
