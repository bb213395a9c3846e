"""The services that the platform serves on its HTTPS port, put together."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.types import ASGIApp

from emulator.azure_ml import AzureMl
from emulator.azure_monitor import AzureMonitor
from emulator.clock import VirtualClock
from emulator.config import PlatformConfig
from emulator.context import Context, Service
from emulator.control import Control
from emulator.event_grid import EventGrid
from emulator.faults import FaultMiddleware, Faults
from emulator.gate import Gate
from emulator.identity import Identity
from emulator.journal import Journal
from emulator.mailbox import Mailbox
from emulator.server import Connections
from emulator.status import counts, processes
from emulator.storage import AzuriteStorage
from emulator.web import OwnPages, Pages

logger = logging.getLogger(__name__)
RESET_PATIENCE = 5.0
"""Seconds that requests in work get to end before what they work on is taken away."""


class Services:
    """Identity, Event Grid, Azure ML and the control API over one storage and one clock.

    `function_url` gives the webhook of a function, None while the app is not up; `clock_moved` and `cut_storage`
    are the control API's (see `control.py`); `clear_storage` and `reset_functions` empty what runs in other processes;
    `orchestrations` asks the durable management API (path, query); `environment` gives the variables of `DIR/env`.
    """

    def __init__(self, config: PlatformConfig, state: Path, base_url: str, *, clock: VirtualClock, storage: AzuriteStorage,
                 faults: Faults, identity: Identity, bundle: Path, function_url: Callable[[str], str | None],
                 clock_moved: Callable[[float], Awaitable[None]], cut_storage: Callable[[str], int],
                 clear_storage: Callable[[], Awaitable[None]], reset_functions: Callable[[], Awaitable[None]],
                 orchestrations: Callable[[str, Mapping[str, str]], Awaitable[Any]],
                 environment: Callable[[], dict[str, str]]) -> None:
        self.event_grid = EventGrid(config, state, base_url, clock, identity, storage, bundle, function_url)
        context = Context(state, base_url, config, clock, identity, self.event_grid, storage, environment)
        self.config, self.base_url, self.orchestrations = config, base_url, orchestrations
        self.faults, self.clock, self.journal, self.mailbox = faults, clock, Journal(), Mailbox(state / "mailbox.jsonl")
        self.azure_ml = AzureMl(context)
        self._storage, self._clear_storage, self._reset_functions = storage, clear_storage, reset_functions
        # The monitor reads Azure ML's store: it starts after it and stops before it.
        self._services: list[Service] = [identity, self.event_grid, self.azure_ml, AzureMonitor(context, self.azure_ml)]
        self._started: list[Service] = []
        self._resetting = asyncio.Lock()
        self.control = Control(clock, faults, self.journal, self.mailbox, clock_moved, cut_storage, self.reset, self.status)
        self._pages = Pages(self)
        self.connections = Connections()
        self._gate = Gate(self._routed())
        middleware = FaultMiddleware(self._gate, faults, self.journal, self.connections, identity.name_of)
        self.asgi: ASGIApp = OwnPages(middleware)

    def _routed(self) -> ASGIApp:
        """Azure ML comes last: its ARM route takes every path that is left."""
        return Starlette(routes=[
            *self.control.routes(), *self._pages.routes(),
            *(route for service in sorted(self._services, key=lambda one: one is self.azure_ml) for route in service.routes())])

    async def reset(self) -> dict[str, float]:
        """Forget everything that clients have made, as on a new state folder; milliseconds that each part took.

        Configuration, keys, certificates and ports stay, and so does the time, which never goes back. From the outside
        in: who makes requests first, what they have written last. Requests that come meanwhile wait.
        """
        took: dict[str, float] = {}
        async with self._resetting:
            self.faults.clear()
            with _timed(took, "functions"):
                await self._reset_functions()
            async with self._gate.closed(RESET_PATIENCE):
                for service in reversed(self._services):
                    with _timed(took, type(service).__name__):
                        await service.reset()
                with _timed(took, "storage"):
                    await self._clear_storage()
                self._gate.app = self._routed()
                self.journal.clear()
                self.mailbox.clear()
        return took

    def status(self) -> dict[str, Any]:
        """What runs and what there is."""
        found = processes(os.getpid())
        rows = self.azure_ml.store.query("SELECT collection, count(*) FROM resources GROUP BY collection")
        return {
            "url": self.base_url, "now": self.clock.now().isoformat(), "offset_seconds": self.clock.offset_seconds,
            "processes": [process.as_dict() for process in found],
            "resources": counts([(collection, number) for collection, number in rows]),
            "deliveries": self.event_grid.delivery_counts(), "requests": self.journal.count, "messages": len(self.mailbox.messages()),
            "faults": len(self.faults.list())}

    async def start(self) -> None:
        """In this order: what a later one needs is there."""
        for service in self._services:
            await service.start()
            self._started.append(service)

    async def stop(self) -> None:
        """Those that have started, in reverse; one that fails to stop does not keep the others from it."""
        while self._started:
            service = self._started.pop()
            try:
                await service.stop()
            except Exception:
                logger.exception("%s did not stop cleanly", type(service).__name__)
        self._storage.close()


@contextmanager
def _timed(took: dict[str, float], name: str) -> Iterator[None]:
    begun = time.perf_counter()
    yield
    took[name] = round((time.perf_counter() - begun) * 1000, 1)
