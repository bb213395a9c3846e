"""Fires schedules in virtual time: each occurrence once, also over a crash.

When a schedule is due, one transaction writes the run it will make and moves the schedule on; only then is
the run submitted, under a name that follows from the occurrence, so that doing it again after a crash
changes nothing. Occurrences missed while the platform was down, or jumped over by its clock, are caught up
with one run, for the last of them (assumed: Azure documents no catching up).
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from emulator.azure_ml.errors import AzureMlError
from emulator.azure_ml.monitoring import triggers
from emulator.azure_ml.store import Resource, ResourceStore
from emulator.context import Clock

logger = logging.getLogger(__name__)

Submit = Callable[[Resource, str, datetime], Awaitable[None]]
"""Takes the schedule, the name of the run and the occurrence; may be called again for the same. Raises `AzureMlError`."""

CREATED = "_created"
"""A schedule's hidden key: when it was created, which a recurrence without a start counts from."""
_RETRY_SECONDS = 1.0
_KEPT = 1000
"""Runs that are remembered, to look up why one was not submitted: a schedule may fire each minute for years."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS schedule_times (schedule TEXT PRIMARY KEY, next REAL NOT NULL);
CREATE TABLE IF NOT EXISTS schedule_runs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    schedule TEXT NOT NULL,
    due REAL NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    error TEXT,
    UNIQUE (schedule, name)
);
CREATE INDEX IF NOT EXISTS schedule_runs_pending ON schedule_runs (sequence) WHERE state = 'pending';
"""


class Firing:
    """One task for all schedules; it sleeps until the next is due."""

    def __init__(self, store: ResourceStore, clock: Clock, submit: Submit) -> None:
        store.create_tables(_SCHEMA)
        self._store = store
        self._clock = clock
        self._submit = submit
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Submit what an earlier platform had decided to and not done, then go on."""
        self._task = asyncio.create_task(self._run(), name="schedules")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def arm(self, schedule: Resource, *, new: bool) -> None:
        """Work out when an enabled schedule runs next. Call it in the transaction of the change."""
        trigger, now = read_trigger(schedule), self._clock.now()
        body = schedule["properties"]["trigger"]
        upcoming = trigger.first() if new and triggers.starts_by_itself(body) else trigger.after(now)
        self.disarm(schedule["id"])
        if upcoming is not None:
            with self._store.transaction() as connection:
                connection.execute("INSERT INTO schedule_times VALUES (?, ?)", (schedule["id"].lower(), upcoming.timestamp()))
        self._wake.set()

    def disarm(self, schedule_id: str) -> None:
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM schedule_times WHERE schedule = ?", (schedule_id.lower(),))

    def forget(self, schedule_id: str) -> None:
        """A schedule is deleted: nothing of it is submitted any more."""
        self.disarm(schedule_id)
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM schedule_runs WHERE schedule = ?", (schedule_id.lower(),))

    def next_of(self, schedule_id: str) -> datetime | None:
        rows = self._store.query("SELECT next FROM schedule_times WHERE schedule = ?", (schedule_id.lower(),))
        return datetime.fromtimestamp(rows[0][0], UTC) if rows else None

    async def fire_now(self, schedule: Resource, due: datetime) -> str:
        """Run a schedule once, besides its times; returns the run's name. Raises `AzureMlError` when it can't be."""
        name = run_name(schedule, due, uuid.uuid4().hex)
        with self._store.transaction():
            self._decide(schedule["id"], due, name)
        await self._submit_one(schedule["id"], due, name, refuse=True)
        return name

    async def _run(self) -> None:
        while True:
            try:
                await self._submit_pending()
                self._decide_due()
                if self._pending():
                    continue
                await self._until(self._earliest())
            except Exception:
                logger.exception("schedules could not be fired; trying again")
                await asyncio.sleep(_RETRY_SECONDS)

    async def _until(self, when: datetime | None) -> None:
        """Until then, or until a schedule is changed."""
        self._wake.clear()
        waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._wake.wait())]
        if when is not None:
            waits.append(asyncio.ensure_future(self._clock.sleep_until(when)))
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _earliest(self) -> datetime | None:
        found = self._store.query("SELECT MIN(next) FROM schedule_times")[0][0]
        return datetime.fromtimestamp(found, UTC) if found is not None else None

    def _decide_due(self) -> None:
        """For each schedule that is due: write its run and move it on, together."""
        now = self._clock.now()
        for schedule_id, upcoming in self._store.query(
            "SELECT schedule, next FROM schedule_times WHERE next <= ? ORDER BY next", (now.timestamp(),)
        ):
            with self._store.transaction() as connection:
                schedule = self._store.get(schedule_id)
                self.disarm(schedule_id)
                if schedule is None:
                    continue
                trigger = read_trigger(schedule)
                first = datetime.fromtimestamp(upcoming, UTC)
                due = trigger.last(first, now) or first
                self._decide(schedule_id, due, run_name(schedule, due))
                following = trigger.after(max(due, now))
                if following is not None:
                    connection.execute("INSERT INTO schedule_times VALUES (?, ?)", (schedule_id, following.timestamp()))

    def _decide(self, schedule_id: str, due: datetime, name: str) -> None:
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO schedule_runs (schedule, due, name, state) VALUES (?, ?, ?, 'pending')",
                (schedule_id.lower(), due.timestamp(), name),
            )

    def _pending(self) -> list[tuple[str, float, str]]:
        return [
            (schedule_id, due, name)
            for schedule_id, due, name in self._store.query(
                "SELECT schedule, due, name FROM schedule_runs WHERE state = 'pending' ORDER BY sequence"
            )
        ]

    async def _submit_pending(self) -> None:
        for schedule_id, due, name in self._pending():
            await self._submit_one(schedule_id, datetime.fromtimestamp(due, UTC), name)

    async def _submit_one(self, schedule_id: str, due: datetime, name: str, *, refuse: bool = False) -> None:
        schedule = self._store.get(schedule_id)
        error: str | None = None
        refusal: AzureMlError | None = None
        if schedule is None:
            error = "the schedule was deleted"
        else:
            try:
                await self._submit(schedule, name, due)
            except AzureMlError as problem:
                error, refusal = f"{problem.code}: {problem.message}", problem
                logger.warning("schedule %s: %s was not submitted: %s", schedule["name"], name, error)
            except Exception as problem:  # one schedule that breaks must not hold up the others
                error, refusal = f"{type(problem).__name__}: {problem}", AzureMlError(str(problem), code="ServiceError", status=500)
                logger.exception("schedule %s: %s was not submitted", schedule["name"], name)
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE schedule_runs SET state = ?, error = ? WHERE schedule = ? AND name = ?",
                ("failed" if error else "submitted", error, schedule_id.lower(), name),
            )
            connection.execute(
                "DELETE FROM schedule_runs WHERE state != 'pending' AND sequence <= (SELECT MAX(sequence) FROM schedule_runs) - ?", (_KEPT,)
            )
        if refusal is not None and refuse:
            raise refusal


def read_trigger(schedule: Resource) -> triggers.Trigger:
    return triggers.parse(schedule["properties"]["trigger"], datetime.fromisoformat(schedule[CREATED]))


def display_name(schedule: Resource, due: datetime) -> str:
    """As documented: the schedule's name and the time that triggered it, `named-schedule-20210101T060000Z`."""
    return f"{schedule['name']}-{due.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def run_name(schedule: Resource, due: datetime, salt: str = "") -> str:
    """The same for the same occurrence of the same schedule; another when the schedule was made anew."""
    key = f"{schedule['id']}/{schedule[CREATED]}/{due.timestamp()}/{salt}".lower()
    digest = uuid.uuid5(uuid.NAMESPACE_URL, key).hex[:8]
    return f"{display_name(schedule, due)[-200:].lstrip('-_')}-{digest}"
