"""Azure's errors as ours: which of them can be tried again, and what the operator has to mend."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pilotage.errors import Conflict, InvalidInput, NotFound, PermissionDenied, PilotageError, Throttled, Unavailable

MESSAGE_LIMIT = 600
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@contextmanager
def azure_errors(what: str, role: str, *, conflict: type[PilotageError] = Conflict) -> Iterator[None]:
    """Raise our error for Azure's. `what` is being done; `role` is what it takes; `conflict` is what a 409 means."""
    try:
        yield
    except PilotageError:
        raise
    except Exception as error:
        mapped = translate(error, what, role, conflict)
        if mapped is None:
            raise
        raise mapped from error


def translate(error: Exception, what: str, role: str, conflict: type[PilotageError] = Conflict) -> PilotageError | None:
    """Our error for an exception of azure-core or of an SDK above it; None when it is none of theirs."""
    from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

    if not isinstance(error, AzureError):
        return None
    status = error.status_code if isinstance(error, HttpResponseError) else None
    text = f"{what}: {_brief(error)}"
    if status is not None:
        return of_status(status, text, role, conflict)
    if isinstance(error, ClientAuthenticationError):
        # No token at all: an identity endpoint that is down looks like one that was never configured.
        return Unavailable(f"{what}: no token: {_brief(error)}")
    if type(error).__module__.startswith("azure.ai.ml"):
        return InvalidInput(text)
    return Unavailable(text)  # connection refused, broken, timed out


def of_status(status: int, text: str, role: str, conflict: type[PilotageError] = Conflict) -> PilotageError:
    """Our error for an HTTP status."""
    if status == 404:
        return NotFound(text)
    if status in (401, 403):
        return PermissionDenied(f"{text} (HTTP {status}): give Pilotage's identity the role {role}")
    if status == 409:
        return conflict(text)
    if status == 412:
        return Conflict(text)
    if status == 429:
        return Throttled(text)
    if status == 408 or status >= 500:
        return Unavailable(f"{text} (HTTP {status})")
    return InvalidInput(f"{text} (HTTP {status})")


def _brief(error: Exception) -> str:
    # azure-ai-ml writes some messages for terminals, in colours and over several lines.
    text = " ".join(_COLOURS.sub("", str(getattr(error, "message", None) or error)).split())
    return (text or type(error).__name__)[:MESSAGE_LIMIT]
