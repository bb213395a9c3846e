from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from emulator.azure_ml.jobs import processes
from tests.support.workbench import DEADLINE

ENVIRONMENT = {"PATH": os.environ["PATH"]}


async def test_output_is_appended_to_the_log(tmp_path: Path) -> None:
    log = tmp_path / "deep" / "log.txt"
    assert await processes.run("echo one; echo two >&2", tmp_path, ENVIRONMENT, log, None) == 0
    assert await processes.run("echo three; exit 7", tmp_path, ENVIRONMENT, log, None) == 7
    assert log.read_text().split() == ["one", "two", "three"]


async def test_the_time_limit_ends_it(tmp_path: Path) -> None:
    with pytest.raises(processes.TimedOut):
        await processes.run("sleep 600", tmp_path, ENVIRONMENT, tmp_path / "log", 0.1)


async def test_leftovers_of_a_run_are_found_by_its_folder_and_nothing_else_is(tmp_path: Path) -> None:
    """Another workspace, or another platform on the machine, may have a run of the same name."""
    # As after kill -9 of the platform: children in sessions of their own, nobody watching them.
    started = [
        await asyncio.create_subprocess_exec(
            "sleep", "600", env={**ENVIRONMENT, "AZUREML_RUN_ID": "same", "HOME": str(tmp_path / owner / "home")}, start_new_session=True
        )
        for owner in ("mine", "another")
    ]
    mine, other = started
    try:
        async with asyncio.timeout(DEADLINE):
            # Until exec() the child still has our environment.
            while processes.end_leftovers(tmp_path / "mine" / "home") != [mine.pid]:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            assert await mine.wait() == -9
        assert other.returncode is None
    finally:
        for process in started:
            if process.returncode is None:
                process.kill()
                await process.wait()
