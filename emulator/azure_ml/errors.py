"""The errors that Azure Machine Learning answers with, and their JSON envelope."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from emulator.context import EmulatorError


class AzureMlError(EmulatorError):
    """A request that is refused: an HTTP status, Azure's error code and a message for the caller."""

    status = 400
    code = "UserError"

    def __init__(self, message: str, *, code: str | None = None, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or type(self).code
        self.status = status or type(self).status


class BadRequest(AzureMlError):
    """The body or the state asked for breaks a rule of the resource."""

    code = "BadRequest"


class ValidationError(AzureMlError):
    """An immutable property would change, or a property has a value that can't be."""

    code = "ValidationError"


class NotFound(AzureMlError):
    """No such resource. Azure names assets' absence `UserError` and resources' `ResourceNotFound`."""

    status = 404
    code = "ResourceNotFound"


class Conflict(AzureMlError):
    """The resource exists already, or an operation on it is still running."""

    status = 409
    code = "Conflict"


class MethodNotAllowed(AzureMlError):
    """The resource type has no such operation."""

    status = 405
    code = "MethodNotAllowed"


class Forbidden(AzureMlError):
    """The caller's roles do not allow the action: refused by Azure Resource Manager, before Azure ML hears of it."""

    status = 403
    code = "AuthorizationFailed"


class OperationFailed(EmulatorError):
    """A long-running operation ended `Failed`; code and message become the operation's error."""

    def __init__(self, message: str, *, code: str = "BadRequest") -> None:
        super().__init__(message)
        self.message = message
        self.code = code


def envelope(code: str, message: str) -> dict[str, Any]:
    """Azure Resource Manager's error object, with the component that Azure ML names in it."""
    return {
        "error": {
            "code": code,
            "message": message,
            "details": [],
            "additionalInfo": [{"type": "ComponentName", "info": {"value": "managementfrontend"}}],
        }
    }


def error_response(error: AzureMlError) -> JSONResponse:
    if isinstance(error, Forbidden):
        return JSONResponse({"error": {"code": error.code, "message": error.message}}, status_code=error.status)
    return JSONResponse(envelope(error.code, error.message), status_code=error.status)
