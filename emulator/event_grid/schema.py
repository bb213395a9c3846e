"""Event Grid's schema and CloudEvents 1.0: what is accepted, and each in terms of the other.

Inside, an event has Event Grid's schema; one that was published as a CloudEvent carries the original under
`_cloud`, so that it is delivered as it came.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from emulator.errors import EmulatorError

ORIGINAL = "_cloud"
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_REQUIRED = ("id", "subject", "eventType", "eventTime")
_ATTRIBUTES = ("id", "source", "type")


class InvalidEvents(EmulatorError):
    """The published events are not what the topic's schema asks for."""


def parse(body: bytes) -> Any:
    """JSON in UTF-8 as Azure reads it: NaN, Infinity and half of a surrogate pair, which Python takes, are none.

    Raises InvalidEvents.
    """
    try:
        text = body.decode("utf-8-sig")
        found = json.loads(text, parse_constant=_refuse)
        if _SURROGATE.search(text):
            json.dumps(found, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise InvalidEvents(f"The request body is not JSON: {error}") from error
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON number")


def check_published(event: Any, topic_names: Collection[str]) -> None:
    """What a publisher may say in the fields that Event Grid sets; raises InvalidEvents."""
    if not isinstance(event, dict) or "specversion" in event:
        return
    if (topic := event.get("topic")) not in (None, "") and (not isinstance(topic, str) or topic.casefold() not in topic_names):
        raise InvalidEvents(f"The property 'topic' has to be the id of this topic, or to be left out: {topic!r} is another")
    if event.get("metadataVersion") not in (None, "", "1"):
        raise InvalidEvents("The property 'metadataVersion' has to be 1, or to be left out")
    if not isinstance(event.get("dataVersion", ""), str | None):
        raise InvalidEvents("The property 'dataVersion' is not a text")


def accept(event: Any, topic: str, schema: str, now: datetime) -> dict[str, Any]:
    """An event as it was published, in Event Grid schema and with its topic set; raises InvalidEvents.

    `schema` is the topic's: EventGridSchema, CloudEventSchemaV1_0 or any.
    """
    if not isinstance(event, dict):
        raise InvalidEvents("an event is a JSON object")
    is_cloud = "specversion" in event
    if is_cloud and schema == "EventGridSchema":
        raise InvalidEvents("this topic takes events in the EventGridEvent schema, and this one is a CloudEvent")
    if not is_cloud and schema == "CloudEventSchemaV1_0":
        raise InvalidEvents("this topic takes events in the CloudEventV10 schema: the property 'specversion' is missing")
    return _from_cloud(event, topic, now) if is_cloud else _from_grid(event, topic)


def _from_grid(event: Mapping[str, Any], topic: str) -> dict[str, Any]:
    for name in _REQUIRED:
        if not isinstance(event.get(name), str) or not event[name]:
            raise InvalidEvents(f"the property {name!r} is missing, or is not a text")
    _check_time(event["eventTime"])
    stamped = {"dataVersion": "", "metadataVersion": "1"}
    return {**stamped, **{name: value for name, value in event.items() if value is not None or name not in stamped}, "topic": topic}


def _from_cloud(event: Mapping[str, Any], topic: str, now: datetime) -> dict[str, Any]:
    if event["specversion"] != "1.0":
        raise InvalidEvents(f"specversion is {event['specversion']!r}; 1.0 is taken")
    for name in _ATTRIBUTES:
        if not isinstance(event.get(name), str) or not event[name]:
            raise InvalidEvents(f"the attribute {name!r} is missing, or is not a text")
    if not isinstance(event.get("subject"), str | None):
        raise InvalidEvents("the attribute 'subject' is not a text")
    if event.get("time") is not None:
        _check_time(event["time"])
    data = event.get("data")
    if "data_base64" in event:
        try:
            data = base64.b64decode(event["data_base64"], validate=True).decode(errors="replace")
        except (ValueError, TypeError) as error:
            raise InvalidEvents(f"data_base64 is not base64: {error}") from error
    return {"id": event["id"], "topic": topic, "subject": event.get("subject") or "", "eventType": event["type"],
            "eventTime": event.get("time") or timestamp(now), "data": data, "dataVersion": "", "metadataVersion": "1",
            ORIGINAL: dict(event)}


def _check_time(text: Any) -> None:
    try:
        datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise InvalidEvents(f"{text!r} is not a time in ISO 8601") from None


def to_cloud(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event as a CloudEvent: the one that was published, or the same in other words."""
    if ORIGINAL in event:
        return dict(event[ORIGINAL])
    return {"specversion": "1.0", "id": event["id"], "source": event["topic"], "type": event["eventType"],
            "subject": event.get("subject", ""), "time": event["eventTime"], "data": event.get("data")}


def to_grid(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event in Event Grid schema, as it is delivered."""
    return {name: value for name, value in event.items() if name != ORIGINAL}


def fields(event: Mapping[str, Any]) -> dict[str, Any]:
    """What filters may ask for: the names of the schema in which the event was published, and Event Grid's."""
    return {**event.get(ORIGINAL, {}), **to_grid(event)}


def timestamp(moment: datetime) -> str:
    """A time in UTC as Event Grid writes it."""
    return moment.isoformat().replace("+00:00", "Z")
