"""The local platform as tests use it: its own process group, its environment, its strings to pull."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from demo.platform import read_env

ROOT = Path(__file__).parents[2]
DEADLINE = 120.0
"""Seconds after which something that should happen counts as not happening."""


def wait_for[T](what: str, look: Callable[[], T | None], deadline: float = DEADLINE) -> T:
    """Look until there is something to see; raises AssertionError. The pause only spares the processor."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if (seen := look()) is not None:
            return seen
        time.sleep(0.05)
    raise AssertionError(f"{what} was not seen within {deadline:g} s")


class LivePlatform:
    """`emulator up` on a state folder. It can be killed at any moment and started on the same folder again."""

    def __init__(self, state: Path, *, functions: bool = True, settings: dict[str, str] | None = None) -> None:
        self.state, self._functions, self._settings = state, functions, settings or {}
        self._process: subprocess.Popen[bytes] | None = None
        self.env: dict[str, str] = {}

    def start(self) -> LivePlatform:
        self.state.mkdir(parents=True, exist_ok=True)
        log = self.state / "up.log"
        command = [sys.executable, "-m", "emulator.cli", "up", "--state", str(self.state), "--ports", "auto"]
        before = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command + ([] if self._functions else ["--no-functions"]), cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True, env={**os.environ, **self._settings})

        def ready() -> bool | None:
            text = log.read_bytes()[before:].decode(errors="replace")
            if self._process is not None and self._process.poll() is not None:
                raise AssertionError(f"the platform ended while it started:\n{text[-4000:]}")
            return True if "ready" in text.split() else None

        wait_for("`ready`", ready)
        self.env = read_env(self.state / "env")
        self._http = httpx.Client(base_url=self.env["EMULATOR_URL"], verify=self.env["SSL_CERT_FILE"], timeout=60, trust_env=False)
        return self

    def stop(self) -> int:
        """SIGTERM, as a user would; returns the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL for all of it at once: nothing gets to say goodbye."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def restart(self, faults: list[dict[str, Any]] | None = None) -> LivePlatform:
        """Start again on the same folder, with faults that are in force from the first request."""
        (self.state / "faults.json").write_text(json.dumps(faults or []))
        return self.start()

    # --- strings --------------------------------------------------------------------------------------------

    def control(self, method: str, path: str, **options: Any) -> Any:
        answer = self._http.request(method, f"/_emulator{path}", **options)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def advance(self, duration: str) -> None:
        """Let virtual time pass."""
        self.control("POST", "/clock", json={"advance": duration})

    def fault(self, **rule: Any) -> int:
        return int(self.control("POST", "/faults", json=rule)["id"])

    def holding(self, fault: int) -> bool:
        """True once a request is held by the fault."""
        return any(item["id"] == fault and item["holding"] for item in self.control("GET", "/faults")["items"])

    def is_holding(self) -> bool:
        """True once a request is held by any fault."""
        return any(item["holding"] for item in self.control("GET", "/faults")["items"])

    def clear_faults(self) -> None:
        self.control("DELETE", "/faults")

    def journal(self, path: str = "", method: str = "") -> list[dict[str, Any]]:
        return list(self.control("GET", "/journal", params={"path": path, "method": method})["items"])

    def mailbox(self) -> list[dict[str, Any]]:
        return [message["body"] for message in self.control("GET", "/mailbox")["items"]]

    def user_token(self, username: str) -> str:
        """Sign in as a seeded person."""
        answer = self._http.post(f"/{self.env['AZURE_TENANT_ID']}/oauth2/v2.0/token", data={
            "grant_type": "password", "username": username, "password": username, "client_id": "tests", "scope": "api://pilotage/.default"})
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def variables(self, identity: str | None = None) -> dict[str, str]:
        """Environment for a process that uses the SDKs against the platform, optionally as a seeded identity."""
        found = {name: value for name, value in self.env.items() if not name.startswith("PILOTAGE_")}
        if identity:
            found["AZURE_CLIENT_ID"] = self.env[f"EMULATOR_CLIENT_ID_{identity.upper()}"]
        return found
