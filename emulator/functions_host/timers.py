"""Timer triggers in virtual time: what was missed runs once, at once; a slot whose run has ended never runs again.

The rules are those of the host's TimerListener and ScheduleMonitor: the next run is kept after each run, so a run that a crash
cut short is run again as past due. A timer more frequent than once a minute, or with `use_monitor=False`, is not kept.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from emulator.durable.virtual_time import OffsetClock
from emulator.functions_host.runtime import Function, InvocationFailed
from emulator.functions_host.schedules import InvalidSchedule, Schedule, parse
from emulator.functions_host.settings import InvalidSettings, resolve
from emulator.functions_host.store import HostStore

log = logging.getLogger("emulator.timers")
_NEVER = datetime.min.replace(tzinfo=UTC)


def schedule_of(function: Function) -> tuple[str, Schedule]:
    """The expression with %SETTING% filled in, and the schedule it stands for; raises InvalidSchedule."""
    try:
        text = resolve(str(function.trigger["schedule"])).strip()
        return text, parse(text, os.environ.get("WEBSITE_TIME_ZONE"))
    except (InvalidSchedule, InvalidSettings) as error:
        raise InvalidSchedule(f"{function.name}: {error}") from error


class _Timer:
    def __init__(self, function: Function) -> None:
        self.function = function
        self.text, self.schedule = schedule_of(function)
        self.monitored = function.trigger.get("useMonitor") is not False and not self.schedule.frequent


class Timers:
    def __init__(self, functions: list[Function], clock: OffsetClock, store: HostStore,
                 invoke: Callable[[Function, dict[str, Any]], Awaitable[None]]) -> None:
        self._timers = {function.name: _Timer(function) for function in functions}
        self._clock, self._store, self._invoke = clock, store, invoke
        self._moved = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run(timer), name=f"timer {name}") for name, timer in self._timers.items()]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def time_moved(self) -> None:
        """The clock's offset has grown: timers look again."""
        self._moved.set()
        self._moved = asyncio.Event()

    async def fire(self, function: Function) -> None:
        """Run it now, by hand: its schedule stays as it is."""
        await self._call(self._timers[function.name], past_due=False)

    async def _run(self, timer: _Timer) -> None:
        due = self._first(timer)
        if due is not None and due < self._clock.now():
            due = await self._fire(timer, past_due=True)
        elif timer.function.trigger.get("runOnStartup"):
            due = await self._fire(timer, past_due=False)
        while due is not None:
            await self._until(due)
            due = await self._fire(timer, past_due=False)
        log.warning("timer %s: %r never comes again", timer.function.name, timer.text)

    def _first(self, timer: _Timer) -> datetime | None:
        """When it is due: what was kept, or from now on for a timer that is new."""
        now = self._clock.now()
        kept = self._store.timer(timer.function.name) if timer.monitored else None
        if kept is None:
            due = timer.schedule.after(now)
            self._keep(timer, None, due)
            return due
        schedule, last, upcoming, updated = kept
        if schedule == timer.text:
            return upcoming
        due = timer.schedule.after(last or updated)  # another schedule since
        self._keep(timer, last, due)
        return due

    async def _fire(self, timer: _Timer, *, past_due: bool) -> datetime | None:
        begun = self._clock.now()
        await self._call(timer, past_due=past_due)
        # What came due while it ran is run next, once.
        due = timer.schedule.after(begun)
        self._keep(timer, begun, due)
        return due

    async def _call(self, timer: _Timer, *, past_due: bool) -> None:
        kept = self._store.timer(timer.function.name) if timer.monitored else None
        status = None
        if kept is not None:
            _, last, upcoming, updated = kept
            status = {"Last": (last or _NEVER).isoformat(), "Next": (upcoming or _NEVER).isoformat(), "LastUpdated": updated.isoformat()}
        try:
            await self._invoke(timer.function, {"IsPastDue": past_due, "Schedule": {"AdjustForDST": True}, "ScheduleStatus": status})
        except InvocationFailed as failed:
            log.error("timer %s failed: %s\n%s", timer.function.name, failed, failed.stack)

    def _keep(self, timer: _Timer, last: datetime | None, due: datetime | None) -> None:
        if timer.monitored:
            self._store.set_timer(timer.function.name, timer.text, last, due, self._clock.now())

    async def _until(self, due: datetime) -> None:
        while (left := due.timestamp() - self._clock.timestamp()) > 0:
            try:
                # A day at most, so that a real clock that jumped is noticed; virtual jumps set the event.
                await asyncio.wait_for(self._moved.wait(), timeout=min(left, 86400))
            except TimeoutError:
                continue
