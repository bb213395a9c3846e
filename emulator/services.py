"""The services that the platform serves on its HTTPS port, put together."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from starlette.applications import Starlette
from starlette.types import ASGIApp

from emulator.azure_ml import AzureMl
from emulator.clock import VirtualClock
from emulator.config import PlatformConfig
from emulator.context import Context, Service
from emulator.control import Control
from emulator.event_grid import EventGrid
from emulator.faults import FaultMiddleware, Faults
from emulator.identity import Identity
from emulator.journal import Journal
from emulator.mailbox import Mailbox
from emulator.server import Connections
from emulator.storage import AzuriteStorage

logger = logging.getLogger(__name__)


class Services:
    """Identity, Event Grid, Azure ML and the control API over one storage and one clock.

    `function_url` gives the webhook of a function, None while the app is not up; `clock_moved` and `cut_storage`
    are the control API's (see `control.py`); `environment` gives the variables of `DIR/env`.
    """

    def __init__(self, config: PlatformConfig, state: Path, base_url: str, *, clock: VirtualClock, storage: AzuriteStorage,
                 faults: Faults, identity: Identity, bundle: Path, function_url: Callable[[str], str | None],
                 clock_moved: Callable[[float], Awaitable[None]], cut_storage: Callable[[str], int],
                 environment: Callable[[], dict[str, str]]) -> None:
        self.event_grid = EventGrid(config, state, base_url, clock, identity, storage, bundle, function_url)
        context = Context(state, base_url, config, clock, identity, self.event_grid, storage, environment)
        journal = Journal()
        control = Control(clock, faults, journal, Mailbox(state / "mailbox.jsonl"), clock_moved, cut_storage)
        self._storage = storage
        self._services: list[Service] = [identity, self.event_grid, AzureMl(context)]
        self._started: list[Service] = []
        self.connections = Connections()
        # Azure ML comes last: its ARM route takes every path that is left.
        routes = [*control.routes(), *(route for service in self._services for route in service.routes())]
        self.asgi: ASGIApp = FaultMiddleware(Starlette(routes=routes), faults, journal, self.connections, identity.name_of)

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
