"""One thread for all timers. It sleeps until the next one is due, and for ever when there is none."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable
from datetime import datetime

from emulator.durable.virtual_time import OffsetClock, acting


class TimerWheel:
    """Calls run under the lock that is given, which is also the backend's; `after` runs outside of it."""

    def __init__(self, clock: OffsetClock, lock: threading.RLock, after: Callable[[], None]) -> None:
        self._clock, self._lock, self._after = clock, lock, after
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
            entry = (when.timestamp(), next(self._numbers), call)
            heapq.heappush(self._due, entry)
            if self._due[0] is entry:
                self._changed.notify()  # what it sleeps for is no longer the next

    def time_moved(self) -> None:
        """The offset has grown: look again."""
        with self._changed:
            self._changed.notify()

    def forget(self) -> None:
        with self._changed:
            self._due.clear()

    def _run(self) -> None:
        with acting(self._clock):
            while self._wait():
                self._after()

    def _wait(self) -> bool:
        """Until something was fired; False when it is over."""
        with self._changed:
            while not self._ended:
                fired = False
                while self._due and self._due[0][0] <= self._clock.timestamp():
                    heapq.heappop(self._due)[2]()
                    fired = True
                if fired:
                    return True
                # A day at most, so that a real clock that jumped is noticed; virtual jumps notify.
                self._changed.wait(min(self._due[0][0] - self._clock.timestamp(), 86400) if self._due else None)
        return False
