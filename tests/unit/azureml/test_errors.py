"""Azure's errors as ours: what can be tried again, and what has to be mended."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    IncompleteReadError,
    ResourceExistsError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseTimeoutError,
)

from pilotage.azure_errors import MESSAGE_LIMIT, azure_errors
from pilotage.errors import Busy, Conflict, InvalidInput, NotFound, PermissionDenied, PilotageError, Throttled, Unavailable


def _answered(status: int, kind: type[HttpResponseError] = HttpResponseError) -> HttpResponseError:
    error = kind("Azure's own words")
    error.status_code = status
    return error


@pytest.mark.parametrize(("raised", "expected"), [
    (_answered(400), InvalidInput),
    (_answered(401, ClientAuthenticationError), PermissionDenied),
    (_answered(403), PermissionDenied),
    (_answered(404, ResourceNotFoundError), NotFound),
    (_answered(408), Unavailable),
    (_answered(409, ResourceExistsError), Busy),
    (_answered(412), Conflict),
    (_answered(413), InvalidInput),
    (_answered(429), Throttled),
    (_answered(500), Unavailable),
    (_answered(503), Unavailable),
    (ServiceRequestError("connection refused"), Unavailable),
    (ServiceResponseTimeoutError("no answer"), Unavailable),
    (IncompleteReadError("cut off"), Unavailable),
    (ClientAuthenticationError("the identity endpoint does not answer"), Unavailable),
], ids=lambda value: f"{getattr(value, 'status_code', '')}{type(value).__name__}" if isinstance(value, Exception) else "")
def test_each_error_has_its_meaning(raised: Exception, expected: type[PilotageError]) -> None:
    with pytest.raises(expected, match="read the model") as caught, azure_errors("read the model", "Reader", conflict=Busy):
        raise raised
    assert type(caught.value) is expected
    assert caught.value.__cause__ is raised


def test_a_refusal_names_the_missing_role() -> None:
    with pytest.raises(PermissionDenied, match=r"\(HTTP 403\).*role AzureML Data Scientist"), \
            azure_errors("read the model", "AzureML Data Scientist"):
        raise _answered(403)


def test_the_sdks_own_refusals_are_invalid_input() -> None:
    from azure.ai.ml.exceptions import ErrorTarget, ValidationException

    refusal: Any = ValidationException(message="bad name", no_personal_data_message="bad name", target=ErrorTarget.MODEL)
    with pytest.raises(InvalidInput, match="bad name"), azure_errors("deploy", "role"):
        raise refusal


@pytest.mark.parametrize("raised", [NotFound("ours"), KeyError("a bug"), ValueError("a bug")])
def test_our_own_errors_and_bugs_pass(raised: Exception) -> None:
    with pytest.raises(type(raised)) as caught, azure_errors("read", "role"):
        raise raised
    assert caught.value is raised


def test_a_long_answer_is_cut_and_put_on_one_line() -> None:
    with pytest.raises(Unavailable) as caught, azure_errors("read", "role"):
        raise ServiceRequestError("\x1b[31mone\x1b[39m\n\n two " + "x" * 5000)
    assert "read: one two x" in str(caught.value)
    assert len(str(caught.value)) < MESSAGE_LIMIT + 50
