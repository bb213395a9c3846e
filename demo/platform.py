"""Starts the local platform as its users do, and ends it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path

from demo.narrator import Narrator


class PlatformFailed(Exception):
    """The local platform did not start; its own last lines say why."""


class Platform:
    """`emulator up` in a folder of its own, from start to SIGTERM."""

    def __init__(self, state: Path, narrator: Narrator) -> None:
        self._state, self._narrator = state, narrator
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> dict[str, str]:
        """Start and wait for `ready`; returns the variables of `DIR/env`."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "emulator.cli", "up", "--state", str(self._state), "--ports", "auto"],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
        assert self._process.stdout is not None
        lines: list[str] = []
        for line in self._process.stdout:
            lines.append(line.rstrip())
            if lines[-1].strip() == "ready":
                # A pipe that nobody reads fills up and stops the writer.
                threading.Thread(target=self._process.stdout.read, daemon=True).start()
                return read_env(self._state / "env")
            self._narrator.say(lines[-1].strip(), "dim")
        raise PlatformFailed("the local platform did not start:\n" + "\n".join(lines[-20:]))

    def __exit__(self, *_: object) -> None:
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def read_env(path: Path) -> dict[str, str]:
    """KEY=VALUE lines with shell quoting."""
    pairs = (line.partition("=") for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return {key: "".join(shlex.split(value)) for key, _, value in pairs}
