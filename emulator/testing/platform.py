"""The platform as tests use it: its own process group, its environment, its strings to pull."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx

from emulator import environment

DEADLINE = 120.0
"""Seconds after which something that should happen counts as not happening."""
_LOOK_EVERY = 0.05
_END_WITHIN = 30.0


class PlatformFailed(AssertionError):
    """The platform did not start; its own last lines say why."""


def wait_for[T](what: str, look: Callable[[], T | None], deadline: float = DEADLINE) -> T:
    """Look until there is something to see; raises AssertionError. The pause only spares the processor."""
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if (seen := look()) is not None:
            return seen
        time.sleep(_LOOK_EVERY)
    raise AssertionError(f"{what} was not seen within {deadline:g} s")


class LivePlatform:
    """`emulator up` on a state folder. It can be killed at any moment and started on the same folder again.

    `functions` False leaves the Functions host out; `settings` are environment variables of the platform, and so of
    the app; `config` is the platform.yaml (default: the one of `folder`, or the built-in one); `folder` is where it is started.
    """

    def __init__(self, state: Path, *, functions: bool = True, settings: Mapping[str, str] | None = None, config: Path | None = None,
                 folder: Path | None = None) -> None:
        self.state, self._settings, self._folder = state, dict(settings or {}), folder
        self._options: Sequence[str] = [
            *([] if functions else ["--no-functions"]), *(["--config", str(config.resolve())] if config is not None else [])]
        self._process: subprocess.Popen[bytes] | None = None
        self._http: httpx.Client | None = None
        self.env: dict[str, str] = {}
        """The variables of `DIR/env`."""

    # --- life -----------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Returns when it is ready; raises PlatformFailed."""
        self.state.mkdir(parents=True, exist_ok=True)
        log = self.state / "up.log"
        command = [sys.executable, "-m", "emulator.cli", "up", "--state", str(self.state), "--ports", "auto", *self._options]
        before = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._process = subprocess.Popen(command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                             start_new_session=True, env={**os.environ, **self._settings})

        def ready() -> bool | None:
            text = log.read_bytes()[before:].decode(errors="replace")
            if self._process is not None and self._process.poll() is not None:
                raise PlatformFailed(f"the platform ended while it started:\n{text[-4000:]}")
            return True if "ready" in text.split() else None

        wait_for("`ready`", ready)
        self.env = environment.read(self.state / "env")
        self._close()
        self._http = httpx.Client(base_url=self.env["EMULATOR_URL"], verify=self.env["SSL_CERT_FILE"], timeout=60, trust_env=False)
        return self

    def stop(self) -> int:
        """SIGTERM, as a user would; returns the exit code."""
        assert self._process is not None
        self._close()
        self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(_END_WITHIN)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        """SIGKILL for all of it at once: nothing gets to say goodbye."""
        self._close()
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def restart(self, faults: list[dict[str, Any]] | None = None) -> Self:
        """Start again on the same folder, with faults that are in force from the first request."""
        (self.state / "faults.json").write_text(json.dumps(faults or []))
        return self.start()

    def _close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    # --- strings --------------------------------------------------------------------------------------------

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request to the platform's HTTPS port; raises httpx.HTTPStatusError."""
        assert self._http is not None, "the platform is not running"
        answer = self._http.request(method, path, **options)
        answer.raise_for_status()
        return answer

    def control(self, method: str, path: str, **options: Any) -> Any:
        """A request to the control API (`/_emulator` + path); its JSON."""
        answer = self.request(method, f"/_emulator{path}", **options)
        return answer.json() if answer.content else None

    def reset(self) -> None:
        """Forget everything that clients have made: the platform is as on a new folder, at the time that it has come to."""
        self.control("POST", "/reset")

    def advance(self, duration: str) -> None:
        """Let virtual time pass: `P30D`, `PT1H`."""
        self.control("POST", "/clock", json={"advance": duration})

    def fault(self, **rule: Any) -> int:
        """Put a fault in force; its number. See docs/emulator/README.md for the rule."""
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
        """Requests whose path matches the pattern, oldest first."""
        return list(self.control("GET", "/journal", params={"path": path, "method": method})["items"])

    def mailbox(self, channel: str | None = None) -> list[Any]:
        """What webhooks have posted to a channel, or to all, oldest first."""
        return [message["body"] for message in self.control("GET", "/mailbox", params={"channel": channel} if channel else {})["items"]]

    def variables(self, identity: str | None = None) -> dict[str, str]:
        """Environment for a process that uses the SDKs against the platform, optionally as a seeded identity."""
        found = dict(self.env)
        if identity:
            found["AZURE_CLIENT_ID"] = self.env[f"EMULATOR_CLIENT_ID_{identity.upper()}"]
        return found

    def user_token(self, username: str, scope: str) -> str:
        """Sign in as a seeded person."""
        answer = self.request("POST", f"/{self.env['AZURE_TENANT_ID']}/oauth2/v2.0/token", data={
            "grant_type": "password", "username": username, "password": username, "client_id": "tests", "scope": scope})
        return str(answer.json()["access_token"])
