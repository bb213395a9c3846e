"""Virtual time."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from emulator.clock import VirtualClock


def test_it_starts_with_real_time(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    assert before <= VirtualClock(tmp_path / "clock.json").now() <= datetime.now(UTC)


def test_the_offset_is_in_the_file_before_anyone_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "clock.json"
    clock = VirtualClock(path)
    assert json.loads(path.read_text()) == {"offset_seconds": 0.0}
    now = clock.advance(3600)
    assert now - datetime.now(UTC) > timedelta(minutes=59)
    assert json.loads(path.read_text()) == {"offset_seconds": 3600.0}
    assert VirtualClock(path).offset_seconds == 3600.0


def test_time_moves_forward_only(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="forward"):
        VirtualClock(tmp_path / "clock.json").advance(-1)


async def test_all_sleepers_wake_whose_time_has_come(tmp_path: Path) -> None:
    clock = VirtualClock(tmp_path / "clock.json")
    start = clock.now()
    sleepers = [asyncio.create_task(clock.sleep_until(start + timedelta(hours=n))) for n in (1, 2, 3)]
    await asyncio.sleep(0)
    clock.advance(2 * 3600)
    await asyncio.wait_for(asyncio.gather(*sleepers[:2]), 10)
    assert not sleepers[2].done()
    clock.advance(3600)
    await asyncio.wait_for(sleepers[2], 10)


async def test_the_past_needs_no_sleep(tmp_path: Path) -> None:
    clock = VirtualClock(tmp_path / "clock.json")
    await asyncio.wait_for(clock.sleep_until(clock.now() - timedelta(seconds=1)), 10)


async def test_real_time_passes_too(tmp_path: Path) -> None:
    clock = VirtualClock(tmp_path / "clock.json")
    when = clock.now() + timedelta(milliseconds=20)
    await asyncio.wait_for(clock.sleep_until(when), 10)
    assert clock.now() >= when
