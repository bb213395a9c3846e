"""Calls to the durable backend's methods in this process: half the cost of gRPC, and payloads stay the text they are."""

from __future__ import annotations

import asyncio
from typing import Any

from emulator.durable import SqliteBackend
from emulator.errors import EmulatorError


class Refused(EmulatorError):
    """The backend refused a call; `code` is the name of gRPC's status, such as NOT_FOUND."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.code = code


class InProcess:
    """What stands for a gRPC context; raises Refused where gRPC would abort."""

    def is_active(self) -> bool:
        return True

    def time_remaining(self) -> None:
        return None

    def abort(self, code: Any, details: str) -> None:
        raise Refused(getattr(code, "name", str(code)), details)


class Hub:
    """The task hub's operations, by the names of the Durable Task gRPC service."""

    def __init__(self, backend: SqliteBackend) -> None:
        self._backend, self._context = backend, InProcess()

    async def call(self, method: str, request: Any) -> Any:
        """One unary call. On a thread: a commit waits for the disk, and the event loop must not. Raises Refused."""
        return await asyncio.to_thread(getattr(self._backend, method), request, self._context)

    async def stream(self, method: str, request: Any) -> list[Any]:
        """Every message of a streaming call. Raises Refused."""
        return await asyncio.to_thread(lambda: list(getattr(self._backend, method)(request, self._context)))
