"""The errors Pilotage raises. One root; each class's docstring is the sentence its user reads.

`retryable` decides what an activity's failure means to the orchestration: a retryable error is
tried again by the durable retry policy, any other ends the step at once.
"""

from __future__ import annotations


class PilotageError(Exception):
    """Pilotage could not do what was asked."""

    retryable: bool = False

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__ or type(self).__name__)


class InvalidInput(PilotageError):
    """The input is not valid; the message names the field and the fix."""


class TooLarge(InvalidInput):
    """The data is larger than what a function reads; it belongs in an Azure ML job."""


class InvalidPolicy(InvalidInput):
    """A promotion policy is not valid; the message names the file, the line and the fix."""


class InvalidEvent(InvalidInput):
    """An event or alert can't be understood; it is kept under `rejected/` with the reason."""


class NotFound(PilotageError):
    """The resource does not exist."""


class Conflict(PilotageError):
    """The resource exists, and is not what was asked for."""


class Busy(PilotageError):
    """The resource is being changed by another operation; try again."""

    retryable = True


class Throttled(PilotageError):
    """Azure asked for fewer requests; try again later."""

    retryable = True


class Unavailable(PilotageError):
    """A service did not answer, or answered 5xx; try again."""

    retryable = True


class PermissionDenied(PilotageError):
    """Pilotage's identity may not do this; the message names the role that is missing."""


class OperationFailed(PilotageError):
    """A long Azure operation ended in failure; the message is Azure's."""


class DigestMismatch(PilotageError):
    """A copy is not byte for byte its source."""


class StaleEpoch(PilotageError):
    """A newer owner (a rollback) has taken this endpoint; this writer stops."""


class Unauthenticated(PilotageError):
    """The bearer token is missing, expired or not signed by the configured issuer."""


class TokenExpired(Unauthenticated):
    """The bearer token has expired; signing in again gives a new one."""


class Forbidden(PilotageError):
    """The caller is known, and may not do this."""


class Gone(PilotageError):
    """The link or the time for this decision is over."""
