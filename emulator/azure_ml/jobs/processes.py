"""One job's process: started in a session of its own, ended with everything it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path

from emulator.processes import die_with_parent

_GRACE_SECONDS = 5.0


class TimedOut(Exception):
    """The process was ended because it ran longer than its limit."""


async def run(command: str, folder: Path, variables: dict[str, str], log: Path, limit: float | None) -> int:
    """Run a shell command, its output appended to `log`; returns its exit code. Raises `TimedOut` after `limit` seconds.

    Cancelling ends the process. Nothing that it started in the background outlives it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        process = await asyncio.create_subprocess_exec(
            "bash", "-c", command,
            cwd=folder, env=variables, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True, preexec_fn=die_with_parent(),
        )  # fmt: skip
    try:
        return await asyncio.wait_for(process.wait(), limit)
    except TimeoutError:
        raise TimedOut from None
    finally:
        await _end_session(process)


async def _end_session(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), _GRACE_SECONDS)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.returncode is None:
        await process.wait()


def end_leftovers(home: Path) -> list[int]:
    """Kill what an earlier platform's process of a run left running; returns their pids.

    The kernel ends the shell with the platform, but not what the shell had started. Found by the run's own home folder
    in their environment: neither a process id used again is mistaken for one of them, nor a run of the same name that
    another workspace has, or another platform on this machine.
    """
    marker = f"HOME={home}".encode()
    killed = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            variables = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        if marker in variables and int(entry.name) != os.getpid():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(entry.name), signal.SIGKILL)
                killed.append(int(entry.name))
    return killed
