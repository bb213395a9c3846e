"""Runs as they are kept: every change of status is written together with the events it emits.

A run is a command or a pipeline; a pipeline's steps are child runs of it. A run's resource has everything
that is needed to go on with it after a crash: what it executes (`spec`, resolved when it was submitted)
and how far it came. An index beside the resources finds a pipeline's steps and the runs that go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from emulator.azure_ml.errors import NotFound
from emulator.azure_ml.events import Outbox
from emulator.azure_ml.jobs import experiments
from emulator.azure_ml.jobs.experiments import Experiments
from emulator.azure_ml.resource import Scope
from emulator.azure_ml.store import ResourceStore
from emulator.context import Clock

TERMINAL = frozenset({"Completed", "Failed", "Canceled"})
TRACKED = "tracked"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS runs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    parent TEXT,
    status TEXT NOT NULL,
    UNIQUE (scope, name)
);
CREATE INDEX IF NOT EXISTS runs_by_parent ON runs (scope, parent, sequence);
"""


@dataclass(slots=True)
class Run:
    scope_id: str
    name: str
    kind: str
    """`command`, `pipeline`, or `tracked`: a run that an MLflow client keeps, which the platform only records."""
    spec: dict[str, Any]
    """What it executes: see `submission.py`."""
    created_by: dict[str, str]
    """`object_id` and `name` of who submitted the root run."""
    created: str
    """ISO 8601, virtual time."""
    experiment: str = "Default"
    display_name: str = ""
    parent: str | None = None
    root: str = ""
    step: str | None = None
    """Its name in the parent pipeline."""
    status: str = "NotStarted"
    tags: dict[str, str] = field(default_factory=dict)
    properties: dict[str, str] = field(default_factory=dict)
    description: str | None = None
    hidden: bool = False
    started: str | None = None
    ended: str | None = None
    error: dict[str, str] | None = None
    """`code` and `message`, when it failed."""
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    """Name -> `{"type", "uri"}`, once it has written them."""
    attempts: int = 0
    """How often its process was started: more than once after a crash of the platform."""
    cancel_requested: bool = False
    body: dict[str, Any] = field(default_factory=dict)
    """The properties of the ARM request that made it (root runs only)."""

    @property
    def terminal(self) -> bool:
        return self.status in TERMINAL

    @property
    def id(self) -> str:
        return f"{self.scope_id}/jobs/{self.name}"

    @property
    def run_type(self) -> str:
        """`runType` of events and run history."""
        if self.kind == "pipeline":
            return "azureml.PipelineRun"
        if self.kind == TRACKED:
            return "mlflow"
        return "azureml.StepRun" if self.parent else "commandjob"


class Runs:
    """The runs of every workspace. Names are compared without regard to case."""

    def __init__(self, store: ResourceStore, events: Outbox, clock: Clock) -> None:
        store.create_tables(_SCHEMA)
        self._store = store
        self._events = events
        self._clock = clock
        self.experiments = Experiments(store)
        self._name_experiments()

    def milliseconds(self) -> int:
        """Virtual time since 1970."""
        return int(self._clock.now().timestamp() * 1000)

    def now(self) -> str:
        return self._clock.now().isoformat().replace("+00:00", "Z")

    def find(self, scope_id: str, name: str) -> Run | None:
        resource = self._store.get(f"{scope_id}/jobs/{name}")
        return Run(**resource["run"]) if resource else None

    def get(self, scope_id: str, name: str) -> Run:
        """Raises `NotFound` in Azure's words."""
        run = self.find(scope_id, name)
        if run is None:
            raise NotFound(f"Run with id {name} was not found.", code="UserError")
        return run

    def children(self, run: Run) -> list[Run]:
        """A pipeline's steps, in the order they were added."""
        statement = "SELECT scope, name FROM runs WHERE scope = ? AND parent = ? ORDER BY sequence"
        return self._select(statement, run.scope_id.lower(), run.name.lower())

    def roots(self, scope_id: str) -> list[Run]:
        """A workspace's runs without a parent, newest first."""
        statement = "SELECT scope, name FROM runs WHERE scope = ? AND parent IS NULL ORDER BY sequence DESC"
        return self._select(statement, scope_id.lower())

    def all(self, scope_id: str) -> list[Run]:
        """A workspace's runs, steps and runs of MLflow clients among them, newest first."""
        rows = self._store.query(
            "SELECT body FROM runs JOIN resources ON resources.id = runs.scope || '/jobs/' || runs.name"
            " WHERE scope = ? ORDER BY runs.sequence DESC",
            (scope_id.lower(),),
        )
        return [Run(**json.loads(body)["run"]) for (body,) in rows]

    def unfinished(self) -> list[Run]:
        """Root runs of every workspace that the platform executes and that have not ended, oldest first."""
        found = self._select(
            "SELECT scope, name FROM runs WHERE parent IS NULL"
            " AND status NOT IN ('Completed', 'Failed', 'Canceled') ORDER BY sequence"
        )
        return [run for run in found if run.kind != TRACKED]

    def _select(self, statement: str, *parameters: str) -> list[Run]:
        return [self.get(scope, name) for scope, name in self._store.query(statement, parameters)]

    def add(self, run: Run, scope: Scope) -> Run:
        """Write a new run and emit its first status; an existing one of that name is returned as it is."""
        with self._store.transaction() as connection:
            existing = self.find(run.scope_id, run.name)
            if existing is not None:
                return existing
            self.experiments.ensure(run.scope_id, run.experiment, self.milliseconds())
            connection.execute(
                "INSERT INTO runs (scope, name, parent, status) VALUES (?, ?, ?, ?)",
                (run.scope_id.lower(), run.name.lower(), run.parent.lower() if run.parent else None, run.status),
            )
            self._write(run)
            self._emit_status(run, scope)
        return run

    def change(self, run: Run, mutate: Callable[[Run], None]) -> Run:
        """Read, `mutate` in place and write in one transaction, for everything but the status."""
        with self._store.transaction():
            current = self.get(run.scope_id, run.name)
            mutate(current)
            self._write(current)
        return current

    def set_status(self, run: Run, scope: Scope, status: str, error: dict[str, str] | None = None) -> Run:
        """Move a run on and emit its events; a run that has ended stays as it ended."""
        with self._store.transaction():
            current = self.get(run.scope_id, run.name)
            # What an MLflow client keeps it may take up again.
            if current.status == status or (current.terminal and current.kind != TRACKED):
                return current
            current.status = status
            current.error = error
            current.ended = None
            if status == "Running" and current.started is None:
                current.started = self.now()
            if status in TERMINAL:
                current.ended = self.now()
            self._write(current)
            self._emit_status(current, scope)
            if status == "Completed":
                self._events.emit(scope, "RunCompleted", _subject(current), _facts(current))
        return current

    def _name_experiments(self) -> None:
        """Runs kept by a platform that had no table of experiments yet have theirs from now on."""
        if self._store.query("SELECT 1 FROM experiments LIMIT 1"):
            return
        with self._store.transaction():
            for (scope_id,) in self._store.query("SELECT DISTINCT scope FROM runs"):
                for run in reversed(self.all(scope_id)):
                    self.experiments.ensure(run.scope_id, run.experiment, self.milliseconds())

    def _write(self, run: Run) -> None:
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE runs SET status = ? WHERE scope = ? AND name = ?",
                (run.status, run.scope_id.lower(), run.name.lower()),
            )
            # `properties.outputs` is where `locations.py` looks for `azureml://jobs/<name>/outputs/<output>`.
            self._store.put(
                run.id, {"id": run.id, "name": run.name, "properties": {"outputs": run.outputs}, "run": asdict(run)}
            )

    def _emit_status(self, run: Run, scope: Scope) -> None:
        # The documented sample says "failed" where Azure ML's word is Failed: the enum in camelCase.
        status = run.status[:1].lower() + run.status[1:]
        self._events.emit(scope, "RunStatusChanged", _subject(run), {**_facts(run), "runStatus": status})


def experiment_id(run: Run) -> str:
    return experiments.experiment_id(run.scope_id, run.experiment)


def _subject(run: Run) -> str:
    return f"experiments/{experiment_id(run)}/runs/{run.name}"


def _facts(run: Run) -> dict[str, Any]:
    return {
        "experimentId": experiment_id(run),
        "experimentName": run.experiment,
        "runId": run.name,
        "runType": run.run_type,
        "runTags": run.tags,
        "runProperties": run.properties,
    }
