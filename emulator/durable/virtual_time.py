"""The clock of durable timers: real time plus an offset that `POST /_emulator/clock` moves.

durabletask's test backend asks `datetime.now` in its own module's name space. There it finds a datetime class that
knows the clock of the backend that the thread is acting for: orchestrator times, timers and time stamps move
together, two backends in one process keep apart, and durabletask's own backend keeps real time.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path


class OffsetClock:
    """Starts at the offset that the platform's clock file says, if there is one."""

    def __init__(self, path: Path | None = None) -> None:
        self.offset_seconds = float(json.loads(path.read_text())["offset_seconds"]) if path and path.exists() else 0.0

    def timestamp(self) -> float:
        return time.time() + self.offset_seconds

    def now(self) -> datetime:
        return datetime.fromtimestamp(self.timestamp(), UTC)


class _Acting(threading.local):
    clock: OffsetClock | None = None


_acting = _Acting()


@contextmanager
def acting(clock: OffsetClock) -> Iterator[None]:
    """While it lasts, this thread's VirtualDatetime follows a clock."""
    before, _acting.clock = _acting.clock, clock
    try:
        yield
    finally:
        _acting.clock = before


class VirtualDatetime(datetime):
    """A datetime whose `now` is that of the clock this thread acts for; real time where there is none."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> VirtualDatetime:
        return cls.fromtimestamp(_acting.clock.timestamp() if _acting.clock else time.time(), tz)
