"""The clock of durable timers: real time plus an offset that `POST /_emulator/clock` moves.

durabletask's test backend asks `datetime.now` in its own module's name space. Giving that module a datetime class
that knows the offset moves orchestrator times, timers and time stamps together; nothing else sees it.
"""

from __future__ import annotations

import json
import time
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


def virtual_datetime(clock: OffsetClock) -> type[datetime]:
    """A datetime class whose `now` is the clock's."""

    class VirtualDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> VirtualDatetime:
            return cls.fromtimestamp(clock.timestamp(), tz)

    return VirtualDatetime
