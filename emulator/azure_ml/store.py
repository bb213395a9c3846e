"""The resources of Azure ML in SQLite: one JSON document per ARM id, one transaction per change.

Ids are compared without regard to case, as Azure Resource Manager does, and kept as first written.
Every commit is on disk before the call returns (`synchronous=FULL`), so an answer given to a client
survives `kill -9`. Methods are safe from any thread and short; a transaction spans several of them.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from emulator.context import EmulatorError

Resource = dict[str, Any]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    collection TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS resources_by_collection ON resources (collection, sequence);
"""


class UnknownResource(EmulatorError):
    """A change was asked for a resource that isn't there."""


class ResourceStore:
    """`resource_id` is an ARM id or any other path; a collection is its part before the last `/`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=FULL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def create_tables(self, script: str) -> None:
        """Add a module's own tables (`CREATE ... IF NOT EXISTS` statements only)."""
        with self._lock:
            self._connection.executescript(script)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Everything inside commits together or not at all; transactions nest into the outermost.

        Holds the store's lock: no awaiting inside.
        """
        with self._lock:
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield self._connection
            except BaseException:
                if self._depth == 1:
                    self._connection.execute("ROLLBACK")
                raise
            else:
                if self._depth == 1:
                    self._connection.execute("COMMIT")
            finally:
                self._depth -= 1

    def query(self, statement: str, parameters: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """Rows of a module's own tables."""
        with self._lock:
            return self._connection.execute(statement, parameters).fetchall()

    def get(self, resource_id: str) -> Resource | None:
        """The resource, or None."""
        rows = self.query("SELECT body FROM resources WHERE id = ?", (resource_id.lower(),))
        return json.loads(rows[0][0]) if rows else None

    def put(self, resource_id: str, resource: Resource) -> bool:
        """Write the whole resource; True when it did not exist."""
        key = resource_id.lower()
        with self.transaction() as connection:
            changed = connection.execute(
                "UPDATE resources SET body = ? WHERE id = ?", (json.dumps(resource), key)
            )
            if changed.rowcount:
                return False
            connection.execute(
                "INSERT INTO resources (id, collection, body) VALUES (?, ?, ?)",
                (key, key.rpartition("/")[0], json.dumps(resource)),
            )
            return True

    def delete(self, resource_id: str) -> list[str]:
        """Remove a resource and everything below it; the ids removed, in lower case."""
        key = resource_id.lower()
        # '0' is the character after '/', so this is the range of the children, wildcards or not.
        with self.transaction() as connection:
            rows = connection.execute(
                "DELETE FROM resources WHERE id = ? OR (id > ? AND id < ?) RETURNING id",
                (key, key + "/", key + "0"),
            ).fetchall()
        return [row[0] for row in rows]

    def children(self, collection_id: str) -> list[Resource]:
        """The direct items of a collection (`.../models`), oldest first."""
        rows = self.query(
            "SELECT body FROM resources WHERE collection = ? ORDER BY sequence",
            (collection_id.lower().rstrip("/"),),
        )
        return [json.loads(row[0]) for row in rows]

    def change(self, resource_id: str, mutate: Callable[[Resource], None]) -> Resource:
        """Read, `mutate` in place and write in one transaction; raises `UnknownResource`."""
        with self.transaction():
            resource = self.get(resource_id)
            if resource is None:
                raise UnknownResource(resource_id)
            mutate(resource)
            self.put(resource_id, resource)
            return resource
