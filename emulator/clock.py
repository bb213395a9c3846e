"""Virtual time: real time plus an offset that only grows, kept in a file that other processes may read."""

from __future__ import annotations

import asyncio
import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path


class VirtualClock:
    """The platform's clock. Durable timers, schedules and deliveries use it; JWT and SAS keep real time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = float(json.loads(path.read_text())["offset_seconds"]) if path.exists() else 0.0
        self._moved: asyncio.Event | None = None
        if not path.exists():
            self._save()

    def now(self) -> datetime:
        return datetime.fromtimestamp(time.time() + self._offset, UTC)

    @property
    def offset_seconds(self) -> float:
        return self._offset

    def advance(self, seconds: float) -> datetime:
        if seconds < 0:
            raise ValueError("time only moves forward: give a positive number of seconds")
        self._offset += seconds
        self._save()
        if self._moved is not None:
            self._moved.set()
            self._moved = None
        return self.now()

    async def sleep_until(self, when: datetime) -> None:
        while (left := (when - self.now()) / timedelta(seconds=1)) > 0:
            if self._moved is None:
                self._moved = asyncio.Event()
            try:
                # One event for all sleepers: each looks at the clock again when it moves.
                await asyncio.wait_for(self._moved.wait(), timeout=min(left, 86400))
            except TimeoutError:
                continue

    def _save(self) -> None:
        """Replace the file whole: a reader never sees half of it."""
        temporary = self._path.with_suffix(".tmp")
        temporary.write_text(json.dumps({"offset_seconds": self._offset}))
        os.replace(temporary, self._path)
