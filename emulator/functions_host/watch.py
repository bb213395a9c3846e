"""`functions start --watch`: the host in a child process, started anew when a file of the app changes.

A child and not a reload: the worker keeps one app a process in module globals. Durable state is on disk, so what was under way
goes on in the next child. An app that does not load leaves its traceback; the next change tries again.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from emulator.processes import die_with_parent

END_WITHIN = 10.0
"""Seconds that a child gets to end by itself."""
_FILES = (".py", ".json", ".yaml", ".yml", ".toml")
_FOLDERS = frozenset({".venv", "__pycache__", ".git", "node_modules", ".python_packages", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


def serve_watched(app: Path, port: int, state: Path, clock_file: Path | None = None) -> None:
    """Until SIGTERM or Ctrl-C; the child ends first."""
    from watchfiles import watch

    ended = threading.Event()
    # While it waits for changes, watchfiles lets a SIGINT through as KeyboardInterrupt and looks at the event for all else.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    child = _start(app, port, state, clock_file)
    print(f"Watching {app}", flush=True)
    try:
        for changes in watch(app, watch_filter=_Concerns(app, state), stop_event=ended, debounce=300, step=100, recursive=True):
            names = ", ".join(sorted({str(Path(path).relative_to(app)) for _, path in changes}))
            print(f"{names} changed: the host starts again", flush=True)
            _end(child)
            child = _start(app, port, state, clock_file)
    finally:
        _end(child)


class _Concerns:
    """Sources and settings of the app; not its state, and not what tools leave behind."""

    def __init__(self, app: Path, state: Path) -> None:
        self._app, self._state = app.resolve(), state.resolve()

    def __call__(self, _: Any, path: str) -> bool:
        changed = Path(path)
        if changed.suffix not in _FILES or changed.is_relative_to(self._state):
            return False
        try:
            return not _FOLDERS.intersection(changed.relative_to(self._app).parts)
        except ValueError:
            return False


def _start(app: Path, port: int, state: Path, clock_file: Path | None) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "emulator.functions_host", "--app", str(app), "--port", str(port), "--state", str(state)]
    # A group of its own: Ctrl-C in the terminal comes to the parent only, which ends the child in order; if it can't, the kernel does.
    return subprocess.Popen(command + (["--clock", str(clock_file)] if clock_file else []), stdin=subprocess.DEVNULL, process_group=0,
                            preexec_fn=die_with_parent(signal.SIGTERM))


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(END_WITHIN)
    except subprocess.TimeoutExpired:
        child.kill()  # what it has acknowledged is on disk
        child.wait()
