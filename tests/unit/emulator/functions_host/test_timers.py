"""Timers in virtual time: what was missed runs once, a slot never runs twice, nothing is forgotten over a restart."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from emulator.durable.virtual_time import OffsetClock
from emulator.functions_host.runtime import Function
from emulator.functions_host.schedules import InvalidSchedule
from emulator.functions_host.store import HostStore
from emulator.functions_host.timers import Timers


class _Clock(OffsetClock):
    """Stands still but for what the test lets pass."""

    def __init__(self) -> None:
        super().__init__()
        self._zero = datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp()

    def timestamp(self) -> float:
        return self._zero + self.offset_seconds


class _Bench:
    """One life of a host's timers after another, on the same store and clock."""

    def __init__(self, path: Path, **trigger: Any) -> None:
        self.clock, self._path = _Clock(), path
        self.trigger: dict[str, Any] = {"type": "timerTrigger", "name": "timer", "schedule": "0 0 * * * *", **trigger}
        self.runs: list[dict[str, Any]] = []
        self.crash = False

    async def __aenter__(self) -> _Bench:
        self._store = HostStore(self._path)
        self._function = Function("hourly", "1", [self.trigger])
        self.timers = Timers([self._function], self.clock, self._store, self._run)
        self.timers.start()
        await self.settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.timers.stop()
        self._store.close()

    async def _run(self, function: Function, info: dict[str, Any]) -> None:
        self.runs.append(info)
        if self.crash:
            await asyncio.Event().wait()

    async def settle(self) -> None:
        for _ in range(20):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        self.clock.offset_seconds += seconds
        self.timers.time_moved()
        await self.settle()

    async def by_hand(self) -> None:
        await self.timers.fire(self._function)

    @property
    def late(self) -> list[bool]:
        return [run["IsPastDue"] for run in self.runs]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "host.sqlite"


def test_it_runs_at_its_times_and_once_for_a_long_jump(store: Path) -> None:
    async def run() -> None:
        async with _Bench(store) as bench:
            await bench.advance(3599)
            assert bench.late == []
            await bench.advance(1)
            assert bench.late == [False]
            await bench.advance(30 * 86400)
            assert bench.late == [False, False]
            await bench.advance(3600)
            assert bench.late == [False] * 3

    asyncio.run(run())


def test_what_was_missed_while_it_was_down_runs_once_at_once(store: Path) -> None:
    async def run() -> None:
        bench = _Bench(store)
        async with bench:
            await bench.advance(3600)
        bench.clock.offset_seconds += 5 * 3600 + 10
        async with bench:
            assert bench.late == [False, True]
        async with bench:
            assert bench.late == [False, True], "a slot that has run does not run again"
            await bench.advance(3600)
            assert bench.late == [False, True, False]

    asyncio.run(run())


def test_a_first_start_has_missed_nothing(store: Path) -> None:
    async def run() -> None:
        async with _Bench(store) as bench:
            assert bench.late == []

    asyncio.run(run())


def test_a_run_that_a_crash_cut_short_runs_again(store: Path) -> None:
    async def run() -> None:
        bench = _Bench(store)
        bench.crash = True
        async with bench:
            await bench.advance(3600)
            assert bench.late == [False]
        bench.crash = False
        bench.clock.offset_seconds += 1
        async with bench:
            assert bench.late == [False, True]

    asyncio.run(run())


def test_a_start_can_run_it_and_a_hand_too_without_moving_the_schedule(store: Path) -> None:
    async def run() -> None:
        async with _Bench(store, runOnStartup=True) as bench:
            assert bench.late == [False]
            await bench.advance(1800)
            await bench.by_hand()
            assert bench.late == [False] * 2
            await bench.advance(1800)
            assert bench.late == [False] * 3
            assert bench.runs[-1]["ScheduleStatus"]["Next"] == "2026-11-23T13:00:00+00:00"

    asyncio.run(run())


@pytest.mark.parametrize("trigger", [{"useMonitor": False}, {"schedule": "*/15 * * * * *"}])
def test_without_a_monitor_nothing_is_caught_up(store: Path, trigger: dict[str, Any]) -> None:
    async def run() -> None:
        bench = _Bench(store, **trigger)
        async with bench:
            await bench.advance(1)
        bench.clock.offset_seconds += 86400
        async with bench:
            assert bench.late == []
            await bench.advance(3600)
            assert bench.late == [False]
            assert bench.runs[0]["ScheduleStatus"] is None

    asyncio.run(run())


def test_another_schedule_counts_from_the_last_run(store: Path) -> None:
    async def run() -> None:
        bench = _Bench(store)
        async with bench:
            await bench.advance(3600)  # 13:00
        bench.trigger["schedule"] = "0 30 13 * * *"
        bench.clock.offset_seconds += 2400  # 13:40
        async with bench:
            assert bench.late == [False, True]

    asyncio.run(run())


def test_a_span_counts_from_the_last_run(store: Path) -> None:
    async def run() -> None:
        async with _Bench(store, schedule="00:10:00") as bench:
            await bench.advance(599)
            assert bench.late == []
            await bench.advance(1)
            await bench.advance(600)
            assert bench.late == [False, False]

    asyncio.run(run())


def test_a_setting_may_hold_the_schedule(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run(schedule: str) -> None:
        async with _Bench(store, schedule=schedule) as bench:
            await bench.advance(60)
            assert bench.late == [False]

    monkeypatch.setenv("TIMER_TEST_SCHEDULE", "0 * * * * *")
    asyncio.run(run("%TIMER_TEST_SCHEDULE%"))
    with pytest.raises(InvalidSchedule, match=r"hourly: .*TIMER_TEST_NOWHERE"):
        asyncio.run(run("%TIMER_TEST_NOWHERE%"))
