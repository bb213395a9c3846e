"""One platform a state folder: two would end each other's children and write the same databases."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from emulator.errors import EmulatorError


class AlreadyRunning(EmulatorError):
    """Another platform runs on this state folder."""


class StateLock:
    """Held from construction until `release`, or until the process ends in whatever way: the kernel keeps it."""

    def __init__(self, state: Path) -> None:
        self._path = state / "lock"
        self._file = self._path.open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.close()
            raise AlreadyRunning(f"a platform (process {running(state)}) runs on {state}: end it, or use another folder") from None
        self._file.truncate(0)
        self._file.write(str(os.getpid()))
        self._file.flush()

    def release(self) -> None:
        self._file.truncate(0)
        self._file.close()


def running(state: Path) -> int | None:
    """The process id of the platform that runs on a state folder; None when none does."""
    path = state / "lock"
    if not path.exists():
        return None
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(file.read() or 0) or None
        return None
