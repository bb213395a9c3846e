"""Several actors on one store, one store operation at a time, in an order that the test chooses.

Each actor runs in a thread of its own but only ever one of them moves: before each operation on the store
it waits for its turn. The same schedule gives the same run, so `every_order` can try all of them, and
hypothesis can search where they are too many.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

PATIENCE = 30.0
"""Seconds after which a run that does not move is a failed test and not a hanging one."""


@dataclass
class Ended:
    """What an actor came to: its result, or what it raised."""

    result: Any = None
    error: BaseException | None = None


class Turns:
    """Gives turns to actors. Stores wrapped with `watch` wait for one before each operation."""

    def __init__(self) -> None:
        self._mine: dict[int, threading.Semaphore] = {}
        self._moved = threading.Semaphore(0)
        self._ended: dict[int, Ended] = {}
        self.taken: list[tuple[int, int]] = []
        """Which of how many actors moved, turn by turn."""
        self._who = threading.local()

    def watch(self, store: Any) -> Any:
        return _Watched(store, self._wait)

    def run(self, actors: Sequence[Callable[[], Any]], schedule: Sequence[int]) -> list[Ended]:
        """Run the actors to their ends; `schedule` picks, turn by turn, among those that can move (then in order)."""
        threads = [threading.Thread(target=self._act, args=(number, actor), daemon=True) for number, actor in enumerate(actors)]
        for number, thread in enumerate(threads):
            self._mine[number] = threading.Semaphore(0)
            thread.start()
        picks = iter(schedule)
        while waiting := [number for number in self._mine if number not in self._ended]:
            pick = next(picks, 0) % len(waiting)
            self.taken.append((pick, len(waiting)))
            number = waiting[pick]
            self._mine[number].release()
            assert self._moved.acquire(timeout=PATIENCE), f"actor {number} does not move"
        return [self._ended[number] for number in range(len(actors))]

    def _act(self, number: int, actor: Callable[[], Any]) -> None:
        self._who.number = number
        self._mine[number].acquire()
        try:
            self._ended[number] = Ended(result=actor())
        except BaseException as error:  # a crash is an end too
            self._ended[number] = Ended(error=error)
        self._moved.release()

    def _wait(self) -> None:
        number = getattr(self._who, "number", None)
        if number is not None:  # the test itself looks at the store without taking turns
            self._moved.release()
            self._mine[number].acquire()


class _Watched:
    def __init__(self, store: Any, wait: Callable[[], None]) -> None:
        self._store, self._wait = store, wait

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if not callable(method):
            return method

        def operation(*args: Any, **named: Any) -> Any:
            self._wait()
            return method(*args, **named)

        return operation


def every_order(attempt: Callable[[Turns, Sequence[int]], None]) -> int:
    """Make the attempt (which runs its actors by the turns and the schedule) in every order there is; how many there were."""
    schedule: list[int] = []
    count = 0
    while True:
        turns = Turns()
        attempt(turns, schedule)
        count += 1
        taken = turns.taken
        while taken and taken[-1][0] + 1 == taken[-1][1]:
            taken.pop()
        if not taken:
            return count
        schedule = [pick for pick, _ in taken[:-1]] + [taken[-1][0] + 1]
