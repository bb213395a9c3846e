"""A platform that runs already, as the commands and scripts of the same machine reach it: through its control API."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from emulator import environment
from emulator.errors import EmulatorError
from emulator.lock import running


class NotRunning(EmulatorError):
    """No platform runs on the state folder, or it has not come up yet."""


class Refused(EmulatorError):
    """The platform refused what it was asked; the message is its own."""


class Remote:
    """The platform on a state folder; raises NotRunning when there is none."""

    def __init__(self, state: Path) -> None:
        process = running(state) if state.is_dir() else None
        if process is None:
            raise NotRunning(f"no platform runs on {state}: start one with `emulator up --state {state}`")
        if not (state / "env").exists():
            raise NotRunning(f"the platform on {state} (process {process}) is still starting: try again when it says `ready`")
        self.env = environment.read(state / "env")
        self._http = httpx.Client(base_url=self.env["EMULATOR_URL"], verify=self.env["SSL_CERT_FILE"], timeout=60, trust_env=False)

    def __enter__(self) -> Remote:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def ask(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of an answer of the control API (`/_emulator` + path); raises NotRunning or Refused."""
        try:
            answer = self._http.request(method, f"/_emulator{path}", **options)
        except httpx.HTTPError as error:
            raise NotRunning(f"the platform does not answer ({type(error).__name__}): is it ending?") from error
        if answer.is_error:
            raise Refused(_message(answer))
        return answer.json() if answer.content else None


def _message(answer: httpx.Response) -> str:
    try:
        error = answer.json()["error"]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError):
        return f"it answered {answer.status_code}"
