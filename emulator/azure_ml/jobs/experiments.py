"""Experiments: the names that runs are gathered under. A run's name for one is enough to make it.

An experiment's id follows from its workspace and name, so that a run, its events and MLflow's clients mean the
same one; it can't be renamed, as in Azure ML.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from emulator.azure_ml.store import ResourceStore

_SCHEMA = """
CREATE TABLE IF NOT EXISTS experiments (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT NOT NULL,
    id TEXT NOT NULL,
    name TEXT NOT NULL,
    created INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    deleted INTEGER NOT NULL DEFAULT 0,
    tags TEXT NOT NULL DEFAULT '{}',
    UNIQUE (scope, id)
);
"""
_SELECT = "SELECT id, name, created, changed, deleted, tags FROM experiments WHERE scope = ?"

DEFAULT = "Default"
"""What a run belongs to that names no experiment; MLflow's clients call it `0`."""


@dataclass(slots=True)
class Experiment:
    id: str
    name: str
    created: int
    """Milliseconds of virtual time, as is `changed`."""
    changed: int
    deleted: bool = False
    tags: dict[str, str] = field(default_factory=dict)


def experiment_id(scope_id: str, name: str) -> str:
    """Stable for an experiment's name in a workspace; case does not count."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{scope_id}/experiments/{name}".lower()))


class Experiments:
    """The experiments of every workspace."""

    def __init__(self, store: ResourceStore) -> None:
        store.create_tables(_SCHEMA)
        self._store = store

    def ensure(self, scope_id: str, name: str, now: int) -> bool:
        """Make an experiment unless it is there; whether it was made."""
        with self._store.transaction() as connection:
            made = connection.execute(
                "INSERT OR IGNORE INTO experiments (scope, id, name, created, changed) VALUES (?, ?, ?, ?, ?)",
                (scope_id.lower(), experiment_id(scope_id, name), name, now, now),
            )
            return made.rowcount == 1

    def find(self, scope_id: str, identifier: str) -> Experiment | None:
        """The experiment with an id."""
        rows = self._store.query(_SELECT + " AND id = ?", (scope_id.lower(), identifier.lower()))
        return next(_read(rows), None)

    def all(self, scope_id: str) -> list[Experiment]:
        """A workspace's experiments, newest first."""
        rows = self._store.query(_SELECT + " ORDER BY sequence DESC", (scope_id.lower(),))
        return list(_read(rows))

    def save(self, scope_id: str, experiment: Experiment) -> None:
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE experiments SET changed = ?, deleted = ?, tags = ? WHERE scope = ? AND id = ?",
                (experiment.changed, experiment.deleted, json.dumps(experiment.tags), scope_id.lower(), experiment.id),
            )


def _read(rows: Iterable[tuple[Any, ...]]) -> Iterator[Experiment]:
    return (
        Experiment(identifier, name, created, changed, bool(deleted), json.loads(tags))
        for identifier, name, created, changed, deleted, tags in rows
    )
