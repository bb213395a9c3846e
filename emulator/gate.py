"""Holds requests back while the services behind it are being emptied and put together anew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.types import ASGIApp, Receive, Scope, Send

from emulator.faults import is_own


class Gate:
    """`app` may be replaced while the gate is closed. The platform's own pages and control API pass at any time."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._inside = 0
        self._empty, self._open = asyncio.Event(), asyncio.Event()
        self._empty.set()
        self._open.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or is_own(scope["path"]):
            await self.app(scope, receive, send)
            return
        await self._open.wait()
        self._inside += 1
        self._empty.clear()
        try:
            await self.app(scope, receive, send)
        finally:
            self._inside -= 1
            if not self._inside:
                self._empty.set()

    @asynccontextmanager
    async def closed(self, patience: float) -> AsyncIterator[None]:
        """Requests that come now wait; those inside get `patience` seconds to end, and lose what they stand on after that."""
        self._open.clear()
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), patience)
            yield
        finally:
            self._open.set()
