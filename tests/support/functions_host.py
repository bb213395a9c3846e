"""A Functions host as tests use it: the real process on a copy of a sample app."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.support.platform import ROOT, wait_for

APPS = Path(__file__).parent / "functions_apps"
LAUNCHED: list[LiveHost] = []
"""Every host of this run, so that a test that fails leaves none behind."""
DURABLE = "/runtime/webhooks/durabletask"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class LiveHost:
    """`python -m emulator.functions_host` on a copy of a sample app; `settings` become its local.settings.json."""

    def __init__(self, sample: str, folder: Path, settings: dict[str, Any] | None = None,
                 environment: dict[str, str] | None = None) -> None:
        self.app, self.state, self._log = folder / "app", folder / "state", folder / "host.log"
        shutil.copytree(APPS / sample, self.app, ignore=shutil.ignore_patterns("__pycache__"))
        if settings is not None:
            (self.app / "local.settings.json").write_text(json.dumps(settings))
        self.environment = environment or {}
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        LAUNCHED.append(self)
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60, trust_env=False)

    def launch(self, *options: str) -> LiveHost:
        """Start it, and don't wait."""
        return self.launch_command([sys.executable, "-m", "emulator.functions_host", "--app", str(self.app), "--port", str(self.port),
                                    "--state", str(self.state), *options])

    def launch_command(self, command: list[str]) -> LiveHost:
        """Another command that serves the app on the port."""
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            start_new_session=True,
                                            env={**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1",
                                                 **self.environment})
        return self

    def start(self, *options: str) -> LiveHost:
        times = self.log.count("Host ready")
        self.launch(*options)
        self.wait_ready(times + 1)
        return self

    def wait_ready(self, times: int = 1) -> None:
        """Until the host has been ready so many times in all."""
        def ready() -> bool | None:
            if self.process is not None and self.process.poll() is not None:
                raise AssertionError(f"the host ended while it started:\n{self.log[-4000:]}")
            return True if self.log.count("Host ready") >= times else None

        wait_for("`Host ready`", ready)

    def stop(self) -> int:
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    @property
    def keys(self) -> dict[str, str]:
        return dict(json.loads((self.state / "keys.json").read_text()))

    # --- doors ------------------------------------------------------------------------------------------------

    def durable(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The management API, with its key."""
        parameters = httpx.QueryParams(options.pop("params", None)).add("code", self.keys["durabletask_extension"])
        return self.http.request(method, f"{DURABLE}{path}", params=parameters, **options)

    def begin(self, name: str, instance: str = "", content: Any = None, **options: Any) -> str:
        body = None if content is None else json.dumps(content)
        answer = self.durable("POST", f"/orchestrators/{name}" + (f"/{instance}" if instance else ""), content=body, **options)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def ended(self, instance: str, **parameters: str) -> dict[str, Any]:
        """The status of an instance once it has ended."""
        def look() -> dict[str, Any] | None:
            answer = self.durable("GET", f"/instances/{instance}", params=parameters)
            assert answer.status_code in (200, 202, 500), answer.text
            return dict(answer.json()) if answer.status_code != 202 else None

        return wait_for(f"the end of {instance}", look)

    def becomes(self, instance: str, status: str) -> dict[str, Any]:
        def look() -> dict[str, Any] | None:
            found = self.durable("GET", f"/instances/{instance}").json()
            return found if found["runtimeStatus"] == status else None

        return wait_for(f"{instance} {status}", look)

    def admin(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self.http.request(method, path, headers={"x-functions-key": self.keys["master"]}, **options)

    def advance(self, seconds: float) -> None:
        """Set the clock's offset, in seconds since the start."""
        self.admin("POST", "/_emulator/clock", json={"offset_seconds": seconds}).raise_for_status()
