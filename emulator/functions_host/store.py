"""What the host itself must not forget: keys of functions and the timers' last runs. SQLite, written before it is acknowledged."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from pathlib import Path

from emulator.errors import EmulatorError

VERSION = 1
_SCHEMA = """
create table key(scope text, name text, value text not null, primary key(scope, name)) without rowid;
create table timer(name text primary key, schedule text not null, last text, next text not null, updated text not null) without rowid;
"""


class NewerHostState(EmulatorError):
    """The host's state was written by a newer version of the local platform: use that one, or another state folder."""


class HostStore:
    """Used from the event loop's thread only: the rows are few and small."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None)
        path.chmod(0o600)
        self._db.execute("pragma journal_mode=wal")
        self._db.execute("pragma synchronous=full")
        found = self._db.execute("pragma user_version").fetchone()[0]
        if found > VERSION:
            raise NewerHostState(NewerHostState.__doc__)
        if found == 0:
            self._db.executescript(f"begin; {_SCHEMA} pragma user_version={VERSION}; commit;")

    def keys(self, scope: str) -> dict[str, str]:
        return dict(self._db.execute("select name, value from key where scope=? order by name", (scope,)).fetchall())

    def set_key(self, scope: str, name: str, value: str) -> None:
        self._db.execute("insert or replace into key values(?,?,?)", (scope, name, value))

    def delete_key(self, scope: str, name: str) -> bool:
        return self._db.execute("delete from key where scope=? and name=?", (scope, name)).rowcount > 0

    def timer(self, name: str) -> tuple[str, datetime | None, datetime | None, datetime] | None:
        """Schedule, last run, next run (None when it never comes again) and when that was written."""
        row = self._db.execute("select schedule, last, next, updated from timer where name=?", (name,)).fetchone()
        if row is None:
            return None
        last, upcoming, updated = (datetime.fromisoformat(text) if text else None for text in row[1:])
        return (row[0], last, upcoming, updated) if updated is not None else None

    def set_timer(self, name: str, schedule: str, last: datetime | None, upcoming: datetime | None, updated: datetime) -> None:
        self._db.execute("insert or replace into timer values(?,?,?,?,?)", (
            name, schedule, last.isoformat() if last else None, upcoming.isoformat() if upcoming else "", updated.isoformat()))

    def close(self) -> None:
        self._db.close()
