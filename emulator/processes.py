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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_TAIL_LINES = 25


def start_time(pid: int) -> str | None:
    """When a process started, in the system's own words; None when there is none.

    Process ids are used again; pairs of id and start time are not.
    """
    if sys.platform.startswith("linux"):
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
        except (OSError, IndexError):
            return None
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip() or None


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
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._logs: dict[str, Path] = {}
        self._end_leftovers()

    def start(self, name: str, command: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None,
              cwd: Path | None = None) -> subprocess.Popen[bytes]:
        """Start `command` with its output appended to `log`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            child = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                     env=env, cwd=cwd, preexec_fn=die_with_parent())
        self._children[name], self._logs[name] = child, log
        self._save()
        return child

    def dead(self) -> dict[str, int]:
        """Children that ended by themselves: name -> exit code (negative: the signal)."""
        return {name: code for name, child in self._children.items() if (code := child.poll()) is not None}

    def tail(self, name: str) -> str:
        """The last lines of a child's log."""
        log = self._logs.get(name)
        return "\n".join(log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]) if log and log.exists() else ""

    def stop(self, name: str, grace: float) -> None:
        """SIGTERM, and SIGKILL `grace` seconds later; blocks until the child is gone."""
        child = self._children.get(name)
        if child is not None:
            _end(child, grace)
            del self._children[name]
            self._save()

    def stop_all(self, grace: float) -> None:
        """Ask all at once, then wait: the slowest sets the time, not the sum."""
        for child in self._children.values():
            if child.poll() is None:
                child.terminate()
        for name in list(self._children):
            self.stop(name, grace)

    def _save(self) -> None:
        alive = {name: {"pid": child.pid, "start": start_time(child.pid)} for name, child in self._children.items()
                 if child.poll() is None}
        temporary = self._register.with_suffix(".tmp")
        temporary.write_text(json.dumps(alive))
        os.replace(temporary, self._register)

    def _end_leftovers(self) -> None:
        if not self._register.exists():
            return
        for entry in json.loads(self._register.read_text()).values():
            if entry["start"] is not None and start_time(entry["pid"]) == entry["start"]:
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
