"""How a run ends other than well."""

from __future__ import annotations

from emulator.context import EmulatorError


class RunFailed(EmulatorError):
    """The run ends Failed, with Azure's error code (`UserError`: the job's own fault) and a message."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    @property
    def error(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message}


class RunTimedOut(RunFailed):
    """The run reached `limits.timeout`: the service cancels it, as the job schema says of that limit."""
