"""Timer triggers: NCRONTAB in virtual time, past-due runs caught up once, no double fire after a restart."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from croniter import croniter

from emulator.context import EmulatorError
from emulator.durable.virtual_time import OffsetClock
from emulator.functions_host.runtime import Function, InvocationFailed

log = logging.getLogger("emulator.timers")


class InvalidSchedule(EmulatorError):
    """A timer's schedule can't be read; the message names the function."""


def schedule_of(function: Function) -> str:
    """The six-field expression, with %SETTING% filled in; raises InvalidSchedule."""
    text = str(function.trigger["schedule"])
    for name in re.findall(r"%(\w+)%", text):
        if name not in os.environ:
            raise InvalidSchedule(f"{function.name}: the schedule names the setting {name}, which is not set")
    text = re.sub(r"%(\w+)%", lambda match: os.environ[match[1]], text).strip()
    if len(text.split()) == 5:
        text = f"0 {text}"
    if len(text.split()) != 6 or not croniter.is_valid(text, second_at_beginning=True):
        raise InvalidSchedule(f"{function.name}: {text!r} is not an NCRONTAB expression of six fields")
    return text


class Timers:
    """Keeps each timer's last run in a file, as the real host keeps it in storage."""

    def __init__(self, functions: list[Function], clock: OffsetClock, path: Path,
                 invoke: Callable[[Function, dict[str, Any]], Awaitable[None]]) -> None:
        self._schedules = {function.name: (function, schedule_of(function)) for function in functions}
        self._clock, self._path, self._invoke = clock, path, invoke
        self._last: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}
        self._moved = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(function, schedule), name=f"timer {function.name}")
                       for function, schedule in self._schedules.values()]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def time_moved(self) -> None:
        self._moved.set()
        self._moved = asyncio.Event()

    async def fire(self, function: Function, past_due: bool = False) -> None:
        """Run it now. The run is kept before it starts: a timer is at most once a slot, and its work idempotent."""
        now = self._clock.now()
        last = self._last.get(function.name)
        self._last[function.name] = now.isoformat()
        self._save()
        upcoming = self._next(self._schedules[function.name][1], now)
        try:
            await self._invoke(function, {
                "IsPastDue": past_due, "Schedule": {"AdjustForDST": True},
                "ScheduleStatus": {"Last": last or now.isoformat(), "Next": upcoming.isoformat(), "LastUpdated": last or now.isoformat()}})
        except InvocationFailed as failed:
            log.error("timer %s failed: %s\n%s", function.name, failed, failed.stack)

    async def _run(self, function: Function, schedule: str) -> None:
        begun = self._last.get(function.name)
        # The first start begins at now; a later one where the last run was, so that what was missed runs once, at once.
        since = datetime.fromisoformat(begun) if begun else self._clock.now()
        if function.trigger.get("runOnStartup"):
            await self.fire(function)
            since = self._clock.now()
        while True:
            due = self._next(schedule, since)
            late = due < self._clock.now()
            await self._until(due)
            await self.fire(function, past_due=late)
            since = max(due, self._clock.now())

    def _next(self, schedule: str, since: datetime) -> datetime:
        return croniter(schedule, since.astimezone(UTC), second_at_beginning=True).get_next(datetime)

    async def _until(self, due: datetime) -> None:
        while (left := due.timestamp() - self._clock.timestamp()) > 0:
            try:
                await asyncio.wait_for(self._moved.wait(), timeout=left)
            except TimeoutError:
                continue

    def _save(self) -> None:
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._last))
        os.replace(temporary, self._path)
