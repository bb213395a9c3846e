"""One thread for all timers. It sleeps until the next one is due, and for ever when there is none."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from datetime import datetime

from emulator.durable.virtual_time import OffsetClock


class TimerWheel:
    """Calls run under the lock that is given, which is also the backend's."""

    def __init__(self, clock: OffsetClock, lock: threading.RLock, after: Callable[[], None]) -> None:
        self._clock, self._after = clock, after
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition(lock)
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="durable-timers", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(timeout=5)

    def at(self, when: datetime, call: Callable[[], None]) -> None:
        with self._changed:
            heapq.heappush(self._due, (when.timestamp(), next(self._numbers), call))
            self._changed.notify()

    def time_moved(self) -> None:
        """The offset has grown: look again."""
        with self._changed:
            self._changed.notify()

    def _run(self) -> None:
        with self._changed:
            while not self._ended:
                now, fired = self._clock.timestamp(), False
                while self._due and self._due[0][0] <= now:
                    heapq.heappop(self._due)[2]()
                    fired = True
                if fired:
                    self._after()
                # A day at most, so that a real clock that jumped is noticed; virtual jumps notify.
                self._changed.wait(min(self._due[0][0] - self._clock.timestamp(), 86400) if self._due else None)
