"""Child processes that never outlive the platform, even when it is killed.

On Linux a child asks the kernel for SIGKILL when its parent dies; everywhere, a file lists the children,
and a platform that starts on the same folder ends what an earlier one left behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
GRACE = 3.0
"""Seconds from SIGTERM to SIGKILL."""
_GENTLE_GRACE = 15.0
"""The same for a child that has state to put down; also what an earlier platform's child gets to end by itself."""
_TAIL_LINES = 25


def start_time(pid: int) -> str | None:
    """When a process started, in the system's own words; None when there is none.

    Process ids are used again; pairs of id and start time are not.
    """
    if sys.platform.startswith("linux"):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return None if fields[0] == "Z" else fields[19]  # a zombie runs no more; its parent has not looked yet
        except (OSError, IndexError):
            return None
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip() or None


def die_with_parent(by: signal.Signals = signal.SIGKILL) -> Callable[[], None] | None:
    """A preexec_fn that binds the child's life to the parent's; None where the kernel has no such thing.

    `by` is the signal that the kernel sends: SIGTERM for a child that must put something down before it goes.
    """
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, by)
        if os.getppid() != parent:  # the parent died before we asked
            os._exit(1)

    return bind


class Processes:
    """Starts children and ends them all. Start them from the main thread: the kernel's signal follows the thread."""

    def __init__(self, register: Path, grace: float = GRACE) -> None:
        self._register, self._grace = register, grace
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, Path] = {}
        self._gentle: set[str] = set()
        self._end_leftovers()

    def start(self, name: str, command: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None,
              cwd: Path | None = None, gently: bool = False) -> subprocess.Popen[bytes]:
        """Start `command` with its output appended to `log`. `gently`: it ends by SIGTERM when we are killed, in a session
        of its own, so that a signal to our process group does not take it along."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                     env=env, cwd=cwd, start_new_session=gently,
                                     preexec_fn=die_with_parent(signal.SIGTERM if gently else signal.SIGKILL))
        self._children[name], self._logs[name] = child, log
        if gently:
            self._gentle.add(name)
        self._save()
        return child

    def dead(self) -> dict[str, int]:
        """Children that ended by themselves: name -> exit code (negative: the signal)."""
        return {name: code for name, child in self._children.items() if (code := child.poll()) is not None}

    def tail(self, name: str) -> str:
        """The last lines of a child's log."""
        log = self._logs.get(name)
        return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]) if log and log.exists() else ""

    def stop(self, name: str) -> None:
        """Ask it to end and wait until it has; blocks."""
        self._stop([name] if name in self._children else [])

    def stop_all(self) -> None:
        """Ask all at once, then wait: the slowest sets the time, not the sum."""
        self._stop(list(self._children))

    def _stop(self, names: Sequence[str]) -> None:
        for name in names:
            if self._children[name].poll() is None:
                self._children[name].terminate()  # once: a second one would cut a gentle child's saving short
        for name in names:
            child = self._children.pop(name)
            try:
                child.wait(_GENTLE_GRACE if name in self._gentle else self._grace)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
        self._save()

    def _save(self) -> None:
        alive = {name: {"pid": child.pid, "start": start_time(child.pid), "gently": name in self._gentle}
                 for name, child in self._children.items() if child.poll() is None}
        temporary = self._register.with_suffix(".tmp")
        temporary.write_text(json.dumps(alive))
        os.replace(temporary, self._register)

    def _end_leftovers(self) -> None:
        """End what an earlier platform left; one that is putting its state down gets the time for it."""
        if not self._register.exists():
            return
        for entry in json.loads(self._register.read_text()).values():
            if entry["start"] is None:
                continue
            # Where the kernel has asked it to end already, asking again would cut its saving short.
            asked = [None, signal.SIGTERM] if sys.platform.startswith("linux") else [signal.SIGTERM]
            for by in [*(asked if entry.get("gently") else []), signal.SIGKILL]:
                if _gone(entry["pid"], entry["start"], by):
                    break
        self._register.unlink()


def _gone(pid: int, start: str, by: signal.Signals | None) -> bool:
    """Send a signal (None: only wait) and wait until the process is no more; False when it stays."""
    if start_time(pid) != start:
        return True
    if by is not None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, by)
    deadline = time.monotonic() + _GENTLE_GRACE
    while time.monotonic() < deadline:
        if start_time(pid) != start:
            return True
        time.sleep(0.02)
    return False
