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
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def _start_time(pid: int) -> str | None:
    """The kernel's start tick of a process: pids are used again, (pid, start) pairs are not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def die_with_parent() -> Callable[[], None] | None:
    """A preexec_fn that binds the child's life to the parent's; None where the kernel has no such thing."""
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def bind() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before we asked
            os._exit(1)

    return bind


class Processes:
    """Starts children and ends them all. Start them from the main thread: the kernel's signal follows the thread."""

    def __init__(self, register: Path) -> None:
        self._register = register
        self._lock = threading.Lock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._reap_leftovers()

    def start(self, name: str, command: Sequence[str | Path], *, log: Path, env: dict[str, str] | None = None,
              cwd: Path | None = None) -> subprocess.Popen[bytes]:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                     env=env, cwd=cwd, preexec_fn=die_with_parent())
        with self._lock:
            self._children[name] = child
            self._save()
        return child

    def forget(self, name: str) -> None:
        """The child has been ended on purpose."""
        with self._lock:
            self._children.pop(name, None)
            self._save()

    def dead(self) -> dict[str, int]:
        """Children that ended by themselves: name -> exit code."""
        with self._lock:
            return {name: code for name, child in self._children.items() if (code := child.poll()) is not None}

    def stop(self, name: str, grace: float = 5.0) -> None:
        child = self._children.get(name)
        if child is not None:
            _end(child, grace)
            self.forget(name)

    def stop_all(self, grace: float = 5.0) -> None:
        """Ask all at once, then wait: the slowest sets the time, not the sum."""
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
        for name, child in list(self._children.items()):
            _end(child, grace)
            self.forget(name)

    def _save(self) -> None:
        alive = {name: {"pid": child.pid, "start": _start_time(child.pid)} for name, child in self._children.items()
                 if child.poll() is None}
        self._register.write_text(json.dumps(alive))

    def _reap_leftovers(self) -> None:
        if not self._register.exists():
            return
        with contextlib.suppress(ValueError):
            for entry in json.loads(self._register.read_text()).values():
                if entry["start"] is not None and _start_time(entry["pid"]) == entry["start"]:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(entry["pid"], signal.SIGKILL)
        self._register.unlink()


def _end(child: subprocess.Popen[bytes], grace: float) -> None:
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(grace)
        except subprocess.TimeoutExpired:
            child.kill()
    child.wait()
