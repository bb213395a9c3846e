"""The platform's end of `inference_host.py`: starts scoring processes and learns of their ends."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

from emulator.context import EmulatorError

logger = logging.getLogger(__name__)

_HOST = Path(__file__).with_name("inference_host.py")


class ImageMissing(EmulatorError):
    """The inference image's venv has not been made."""


class HostDied(EmulatorError):
    """The process that forks scoring processes ended; all of them ended with it."""


class ScoringProcess:
    """A forked process: the gunicorn master of one deployment."""

    def __init__(self, pid: int, port: int) -> None:
        self.pid = pid
        self.url = f"http://127.0.0.1:{port}"
        """Accepts connections from the start; answers once the script is loaded."""
        self.exited: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @property
    def alive(self) -> bool:
        return not self.exited.done()

    def signal(self, number: int) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    async def end(self, grace: float = 5.0) -> None:
        """Let requests that run finish (SIGTERM), for `grace` seconds at most."""
        self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(self.exited), grace)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await self.exited


class ForkServer:
    """Started on first use, and again if it dies. Use it from the event loop of the main thread only:

    the kernel ends a child when the thread that started it ends.
    """

    def __init__(self, python: Path, log: Path) -> None:
        self._python = python
        self._log = log
        self._lock = asyncio.Lock()
        self._host: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._warming: asyncio.Task[None] | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[ScoringProcess]] = {}
        self._processes: dict[int, ScoringProcess] = {}

    def warm(self) -> None:
        """Start the host in the background, when it isn't running."""
        if self._warming is None or self._warming.done():
            self._warming = asyncio.create_task(self._ensure(), name="warm inference host")
            self._warming.add_done_callback(_report)

    async def start(self, spec: dict[str, Any]) -> ScoringProcess:
        """Fork a scoring process for `spec` (see `inference_host.py`, without `id`)."""
        await self._ensure()
        assert self._host is not None
        assert self._host.stdin is not None
        number = next(self._numbers)
        answer: asyncio.Future[ScoringProcess] = asyncio.get_running_loop().create_future()
        self._waiting[number] = answer
        try:
            self._host.stdin.write(json.dumps({"id": number, **spec}).encode() + b"\n")
            await self._host.stdin.drain()
        except ConnectionError as problem:
            self._waiting.pop(number, None)
            raise HostDied(f"The inference host ended; see {self._log}") from problem
        return await answer

    async def stop(self) -> None:
        """End the host and, with it, every process."""
        if self._warming is not None:
            self._warming.cancel()
            await asyncio.gather(self._warming, return_exceptions=True)
        if self._host is None or self._reader is None:
            return
        assert self._host.stdin is not None
        self._host.stdin.close()
        try:
            await asyncio.wait_for(self._host.wait(), 5)
        except TimeoutError:
            self._host.kill()
        await self._reader

    async def _ensure(self) -> None:
        async with self._lock:
            if self._host is None or self._host.returncode is not None:
                await self._launch()

    async def _launch(self) -> None:
        if not self._python.exists():
            raise ImageMissing(f"{self._python} does not exist: set up the inference image (make setup).")
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._host = self._reader = None
        with self._log.open("ab") as log:
            host = await asyncio.create_subprocess_exec(
                str(self._python),
                "-P",  # our own packages lie beside it, and one is called as a library that models import
                str(_HOST),
                str(os.getpid()),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=base_environment(self._python),
            )
        assert host.stdout is not None
        try:
            ready = await host.stdout.readline()
        except asyncio.CancelledError:
            host.kill()  # it has forked nothing yet
            await host.wait()
            raise
        if not ready:
            raise HostDied(f"The inference host did not start; see {self._log}")
        self._host = host
        self._reader = asyncio.create_task(self._read(host), name="inference host")

    async def _read(self, host: asyncio.subprocess.Process) -> None:
        assert host.stdout is not None
        while line := await host.stdout.readline():
            message = json.loads(line)
            if "id" in message:
                process = ScoringProcess(message["pid"], message["port"])
                self._processes[process.pid] = process
                answer = self._waiting.pop(message["id"])
                if answer.cancelled():
                    process.signal(signal.SIGKILL)  # nobody knows of it
                else:
                    answer.set_result(process)
            else:
                self._end(message["pid"], message["exit"])
        for pid in list(self._processes):
            self._end(pid, -signal.SIGKILL)
        for answer in self._waiting.values():
            if not answer.cancelled():
                answer.set_exception(HostDied(f"The inference host ended; see {self._log}"))
        self._waiting.clear()

    def _end(self, pid: int, code: int) -> None:
        process = self._processes.pop(pid, None)
        if process is not None and not process.exited.done():
            process.exited.set_result(code)


def base_environment(python: Path) -> dict[str, str]:
    """What a container would have, and no more: nothing of the platform's own environment leaks in."""
    return {
        "PATH": f"{python.parent}:{os.environ.get('PATH', os.defpath)}",
        "HOME": os.environ.get("HOME", "/"),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        # Many deployments share few cores: numeric libraries must not each start a thread a core.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def _report(task: asyncio.Task[None]) -> None:
    """Warming is a favour: what prevents it will be raised to the one who needs the host."""
    if not task.cancelled() and (problem := task.exception()) is not None:
        logger.warning("the inference host could not be warmed: %s", problem)
