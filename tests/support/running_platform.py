"""`emulator up` as a process, for tests that need the real thing: started, killed, started again."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
START_WITHIN = 90.0
"""Seconds; a start takes three on an idle machine."""


class RunningPlatform:
    """A platform on a state folder, without the Functions host. Call `start()` first."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self._process: subprocess.Popen[str] | None = None
        self._said: list[str] = []

    def start(self) -> None:
        command = [sys.executable, "-m", "emulator.cli", "up", "--state", str(self.state), "--ports", "auto", "--no-functions"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self._said = []
        ready = threading.Event()
        threading.Thread(target=self._listen, args=(self._process, ready), daemon=True).start()
        if not ready.wait(START_WITHIN) or self._process.poll() is not None:
            self.kill()
            raise AssertionError("the platform did not start:\n" + "".join(self._said))

    def stop(self) -> int:
        """SIGTERM, as Ctrl-C; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(START_WITHIN)

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(START_WITHIN)

    @property
    def environment(self) -> dict[str, str]:
        """The variables of `DIR/env`."""
        lines = (self.state / "env").read_text().splitlines()
        return {name: "".join(shlex.split(value)) for name, _, value in (line.partition("=") for line in lines if line)}

    def client(self, client_id: str | None = None) -> httpx.Client:
        """An HTTP client of the platform with a token of the managed identity `client_id` for Azure's management."""
        environment = self.environment
        options: dict[str, Any] = {"verify": environment["SSL_CERT_FILE"], "trust_env": False, "timeout": 30}
        query = {"resource": "https://management.azure.com", "api-version": "2019-08-01"} | ({"client_id": client_id} if client_id else {})
        answer = httpx.get(
            environment["IDENTITY_ENDPOINT"], params=query, headers={"X-IDENTITY-HEADER": environment["IDENTITY_HEADER"]}, **options
        )
        token = answer.raise_for_status().json()["access_token"]
        return httpx.Client(base_url=environment["EMULATOR_URL"], headers={"authorization": f"Bearer {token}"}, **options)

    def _listen(self, process: subprocess.Popen[str], ready: threading.Event) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self._said.append(line)
            if line.strip() == "ready":
                ready.set()
        ready.set()  # ended: start() looks at the exit code


def until(look: Callable[[], Any], within: float = 120.0) -> Any:
    """The first true value that `look` returns; fails after `within` seconds."""
    deadline = time.monotonic() + within
    pause = threading.Event()
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"nothing within {within:g} s")
        pause.wait(0.1)
    return found


def inherited() -> dict[str, str]:
    """This process's variables without what would point an SDK elsewhere."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("AZURE", "ARM_", "IDENTITY_", "REGISTRY_"))}
