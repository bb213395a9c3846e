"""`emulator functions start`: serve an app until SIGTERM."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from pathlib import Path

import uvicorn

from emulator.context import EmulatorError
from emulator.functions_host.host import FunctionsHost


def serve(app: Path, port: int, state: Path, clock_file: Path | None = None) -> None:
    """Run in this process (one app a process). Exits 1 with the traceback when the app does not load."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    for name in ("azure_functions_runtime", "azure.functions", "azure.durable_functions", "durabletask",
                 "durabletask.testing.in_memory_backend", "azure.core.pipeline.policies.http_logging_policy", "azure.identity", "httpx"):
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        asyncio.run(_serve(app, port, state, clock_file))
    except KeyboardInterrupt:
        pass
    except EmulatorError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        raise SystemExit(1) from error


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
    server = uvicorn.Server(uvicorn.Config(host, host="127.0.0.1", port=port, log_level="warning", access_log=False, lifespan="off",
                                           timeout_graceful_shutdown=2))
    try:
        serving = asyncio.create_task(server.serve())
        while not server.started and not serving.done():  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # uvicorn offers no event
        if server.started:
            print(f"Host ready on http://127.0.0.1:{port}", flush=True)
        await serving
    finally:
        await host.stop()
