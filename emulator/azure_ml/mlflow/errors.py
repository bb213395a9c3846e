"""MLflow's error envelope and codes: `{"error_code", "message"}`, each code with its HTTP status.

Codes and statuses as `mlflow/exceptions.py` has them.
"""

from __future__ import annotations

from starlette.responses import JSONResponse

from emulator.azure_ml.errors import AzureMlError, Forbidden
from emulator.context import EmulatorError

INVALID_PARAMETER = "INVALID_PARAMETER_VALUE"
DOES_NOT_EXIST = "RESOURCE_DOES_NOT_EXIST"
ALREADY_EXISTS = "RESOURCE_ALREADY_EXISTS"
NO_ENDPOINT = "ENDPOINT_NOT_FOUND"
UNAUTHENTICATED = "UNAUTHENTICATED"
DENIED = "PERMISSION_DENIED"

_STATUS = {INVALID_PARAMETER: 400, DOES_NOT_EXIST: 404, ALREADY_EXISTS: 400, NO_ENDPOINT: 404, UNAUTHENTICATED: 401, DENIED: 403}


class MlflowError(EmulatorError):
    """A request that is refused with one of MLflow's error codes."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def invalid(message: str) -> MlflowError:
    return MlflowError(INVALID_PARAMETER, message)


def missing(message: str) -> MlflowError:
    return MlflowError(DOES_NOT_EXIST, message)


def exists(message: str) -> MlflowError:
    return MlflowError(ALREADY_EXISTS, message)


def translated(error: AzureMlError) -> MlflowError:
    """A refusal of the resources below, in MLflow's words."""
    if isinstance(error, Forbidden):
        return MlflowError(DENIED, f"{error.code}: {error.message}")
    return MlflowError(DOES_NOT_EXIST if error.status == 404 else INVALID_PARAMETER, error.message)


def error_response(error: MlflowError) -> JSONResponse:
    status = _STATUS[error.code]
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else None
    return JSONResponse({"error_code": error.code, "message": error.message}, status, headers)
