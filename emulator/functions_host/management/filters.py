"""Query parameters, bodies and ids of management requests: read once, refused with the name of what is wrong."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from google.protobuf import timestamp_pb2

from emulator.errors import EmulatorError

MAX_INSTANCE_ID = 100
"""DurableClient.cs: `MaxInstanceIdLength`."""
MAX_WAIT = 230.0
"""Seconds: Azure's load balancer ends a request after that long, so nobody can wait longer for an instance."""
_INT32 = 2**31 - 1
_PREFIX = "ORCHESTRATION_STATUS_"
STATUS_NAMES = {number: "".join(word.capitalize() for word in name.removeprefix(_PREFIX).split("_"))
                for name, number in pb.OrchestrationStatus.items()}
"""The extension's names of the runtime statuses: Running, ContinuedAsNew, ..."""
_BY_NAME = {name.lower(): number for number, name in STATUS_NAMES.items()}


class BadRequest(EmulatorError):
    """The request can't be carried out as it stands: 400 with this message."""


class Query:
    """The query string, names without case as .NET reads them. An empty value counts as none."""

    def __init__(self, items: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in items:
            if value:
                self._values.setdefault(name.lower(), []).append(value)

    def text(self, name: str) -> str | None:
        values = self._values.get(name.lower())
        return ",".join(values) if values else None

    def boolean(self, name: str, default: bool) -> bool:
        """true or false in any case; raises BadRequest."""
        text = self.text(name)
        if text is None:
            return default
        if text.strip().lower() not in ("true", "false"):
            raise BadRequest(f"The value '{text}' of the query parameter '{name}' is neither 'true' nor 'false'.")
        return text.strip().lower() == "true"

    def time(self, name: str) -> datetime | None:
        """An ISO 8601 moment in UTC; without a zone it is UTC. Raises BadRequest."""
        text = self.text(name)
        if text is None:
            return None
        # A `+` that was not percent-encoded arrives as a space.
        text = re.sub(r" (\d\d:?\d\d)$", r"+\1", text.strip()) if "T" in text else text.strip()
        try:
            found = datetime.fromisoformat(text)
            return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError):
            raise BadRequest(f"The value '{text}' of the query parameter '{name}' is not an ISO 8601 time.") from None

    def page_size(self) -> int:
        """`top`; the extension's default is 100. Raises BadRequest."""
        text = self.text("top")
        if text is None:
            return 100
        if not re.fullmatch(r"[0-9]{1,10}", text.strip()) or not 0 < int(text) <= _INT32:
            raise BadRequest(f"The value '{text}' of the query parameter 'top' is not a positive number of results.")
        return int(text)

    def seconds(self, name: str) -> float | None:
        """A duration in seconds, at most MAX_WAIT; raises BadRequest."""
        text = self.text(name)
        if text is None:
            return None
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or value < 0:
            raise BadRequest(f"The value '{text}' of the query parameter '{name}' is not a number of seconds.")
        return min(value, MAX_WAIT)

    def statuses(self) -> list[pb.OrchestrationStatus]:
        """`runtimeStatus`, repeated or with commas; none means all. Raises BadRequest."""
        found = []
        for name in (self.text("runtimeStatus") or "").split(","):
            if not name.strip():
                continue
            if name.strip().lower() not in _BY_NAME:
                raise BadRequest(f"The value '{name}' of the query parameter 'runtimeStatus' is none of {', '.join(_BY_NAME)}.")
            found.append(_BY_NAME[name.strip().lower()])
        return found


def timestamp(moment: datetime) -> timestamp_pb2.Timestamp:
    found = timestamp_pb2.Timestamp()
    found.FromDatetime(moment)
    return found


def just_after(moment: datetime) -> timestamp_pb2.Timestamp:
    """For upper bounds: the API's are inclusive, the backend's exclusive."""
    last = datetime.max.replace(tzinfo=UTC)
    return timestamp(moment + timedelta(microseconds=1) if moment < last else moment)


def json_body(body: bytes) -> str | None:
    """The body's JSON text, None when there is no body; raises BadRequest. NaN and Infinity are no JSON."""
    if not body:
        return None
    try:
        return json.dumps(json.loads(body, parse_constant=_no_constant), separators=(",", ":"), allow_nan=False)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"Invalid JSON content: {error}") from error


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def instance_id(text: str) -> str:
    """An id for a new instance, by the extension's rules; raises BadRequest."""
    if text.startswith("@"):
        raise BadRequest("Orchestration instance ids must not start with @.")
    if any(character in "/\\#?" or (not character.isprintable() and ord(character) < 160) for character in text):
        raise BadRequest("Orchestration instance ids must not contain /, \\, #, ?, or control characters.")
    if len(text) > MAX_INSTANCE_ID:
        raise BadRequest(f"Instance ID lengths must not exceed {MAX_INSTANCE_ID} characters.")
    return text


def continuation(header: str | None) -> str | None:
    """The backend's token inside the header's; raises BadRequest. What the client gets is opaque, as Azure's is."""
    if not header:
        return None
    try:
        kind, _, token = base64.b64decode(header, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        kind, token = "", ""
    if kind != "page" or not token:
        raise BadRequest("The header 'x-ms-continuation-token' is not a token of this API.")
    return token


def opaque(token: str) -> str:
    return base64.b64encode(f"page:{token}".encode()).decode()
