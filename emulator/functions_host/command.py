"""`emulator functions start` and `python -m emulator.functions_host`: serve an app until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from emulator.errors import EmulatorError
from emulator.functions_host.host import FunctionsHost

_QUIET = ("azure_functions_runtime", "azure.functions", "azure.durable_functions", "durabletask", "durabletask.testing.in_memory_backend",
          "azure.core.pipeline.policies.http_logging_policy", "azure.identity", "httpx")


def serve(app: Path, port: int, state: Path, clock_file: Path | None = None) -> None:
    """Run in this process (one app a process). Exits 1 with the traceback when the app does not load."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name in _QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        asyncio.run(_serve(app, port, state, clock_file))
    except KeyboardInterrupt:
        pass
    except EmulatorError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(1) from error


class _Server(uvicorn.Server):
    """uvicorn without two habits: it wakes ten times a second while idle, and once it has stopped serving it raises the signal again,
    which would end the process before the host has put its work away.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def end(self, number: int) -> None:
        self.handle_exit(number, None)
        self._ending.set()

    async def main_loop(self) -> None:
        await self._ending.wait()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(app: Path, port: int, state: Path, clock_file: Path | None) -> None:
    host = FunctionsHost(app, port, state, clock_file)
    try:
        lines = await host.start()
    except EmulatorError:
        raise
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None
    for line in lines:
        print(f"  {line}", flush=True)
    server = _Server(uvicorn.Config(host, host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off",
                                    timeout_graceful_shutdown=2))
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, server.end, number)
    try:
        serving = asyncio.create_task(server.serve())
        while not server.started and not serving.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # uvicorn offers no event
        if server.started:
            print(f"Host ready on http://127.0.0.1:{port}", flush=True)
        await serving
    finally:
        await host.stop()
