"""The envelope of an event: Event Grid's schema or CloudEvents 1.0, as one value.

Fields that a specification declares are found whatever their casing: Azure documents some events in
camelCase and shows samples of them in PascalCase. What users name (tags, properties) keeps its casing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pilotage.domain.assets import Frozen
from pilotage.errors import InvalidEvent

TEXT_LIMIT = 4096
"""Characters of any one declared text; ARM ids, the longest, have some hundreds."""


class Envelope(Frozen):
    """One event, not yet understood."""

    id: str
    type: str
    topic: str
    """ARM id of the workspace for system topics; whatever the publisher says in CloudEvents of a custom topic."""
    subject: str
    time: str
    """ISO time, UTC; empty when the event does not tell it."""
    data: dict[str, Any]


class Declared:
    """The declared fields of an object, found whatever their casing."""

    def __init__(self, value: Mapping[str, Any], where: str) -> None:
        self.where = where
        self._folded: dict[str, Any] = {}
        for name, item in value.items():
            folded = str(name).casefold()
            if folded in self._folded and self._folded[folded] != item:
                raise InvalidEvent(f"{where}{name} is given twice with different values")
            self._folded[folded] = item

    def get(self, name: str) -> Any:
        return self._folded.get(name.casefold())

    def has(self, name: str) -> bool:
        return name.casefold() in self._folded

    def text(self, *names: str) -> str:
        """The first of these fields that holds text. Raises InvalidEvent when it is something else, or none is there."""
        found = self.optional_text(*names)
        if not found:
            raise InvalidEvent(f"{self.where}{names[0]} is missing")
        return found

    def optional_text(self, *names: str) -> str:
        for name in names:
            value = self.get(name)
            if value is None or value == "":
                continue
            if not isinstance(value, str):
                raise InvalidEvent(f"{self.where}{name} must be text, not {type(value).__name__}")
            if len(value) > TEXT_LIMIT:
                raise InvalidEvent(f"{self.where}{name} has {len(value)} characters; the limit is {TEXT_LIMIT}")
            return value.strip()
        return ""

    def object(self, name: str) -> dict[str, Any]:
        """The object in this field; empty when there is none. Raises InvalidEvent when it is something else."""
        value = self.get(name)
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise InvalidEvent(f"{self.where}{name} must be an object, not {type(value).__name__}")
        return value

    def texts(self, name: str) -> dict[str, str]:
        """Tags or properties: users' names with their casing, values as text."""
        return {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in self.object(name).items()
                if value is not None}


def read_json(payload: bytes) -> Any:
    """A JSON value that can be written as JSON again. Raises InvalidEvent."""
    try:
        value = json.loads(payload, parse_constant=_refuse)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is JSON, and no text
    except (ValueError, RecursionError) as error:
        raise InvalidEvent(f"the body is not JSON: {str(error)[:200]}") from None
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def read_envelope(body: Any) -> Envelope:
    """Read one event in either schema. Raises InvalidEvent with what is missing or wrong."""
    if not isinstance(body, dict):
        raise InvalidEvent(f"an event must be a JSON object, not {type(body).__name__}")
    fields = Declared(body, "")
    cloud = fields.has("specversion")
    if cloud and fields.get("specversion") != "1.0":
        raise InvalidEvent(f"CloudEvents specversion {fields.get('specversion')!r} is not supported: send 1.0")
    data = fields.get("data")
    if not isinstance(data, dict):
        told = "is missing" if data is None else f"must be an object, not {type(data).__name__}"
        raise InvalidEvent(f"data {told}")
    return Envelope(
        id=fields.text("id"), type=fields.text("type" if cloud else "eventType"),
        topic=fields.text("source") if cloud else fields.optional_text("topic"),
        subject=fields.optional_text("subject"), time=read_time(fields, "time" if cloud else "eventTime"), data=data,
    )


def read_time(fields: Declared, name: str) -> str:
    """An ISO time as UTC with milliseconds; empty when absent. Raises InvalidEvent when it is no time."""
    text = fields.optional_text(name)
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidEvent(f"{name} {text[:64]!r} is not an ISO 8601 time") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC).isoformat(timespec="milliseconds")
    except OverflowError:
        raise InvalidEvent(f"{name} {text[:64]!r} is out of range") from None
