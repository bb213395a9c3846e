"""Event Grid and CloudEvents 1.0 schema: what is accepted, and each in terms of the other."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from emulator.context import EmulatorError

EVENT_LIMIT = 1024 * 1024
BATCH_LIMIT = 5000


class InvalidEvents(EmulatorError):
    """The published events are not what the topic's schema asks for."""


def from_cloud(event: Mapping[str, Any], topic: str) -> dict[str, Any]:
    """A CloudEvent in Event Grid schema; raises InvalidEvents."""
    for name in ("id", "source", "type"):
        if not isinstance(event.get(name), str) or not event[name]:
            raise InvalidEvents(f"a CloudEvent needs {name}")
    data = event.get("data")
    if data is None and "data_base64" in event:
        data = base64.b64decode(event["data_base64"]).decode(errors="replace")
    return {"id": event["id"], "topic": topic, "subject": event.get("subject", ""), "eventType": event["type"],
            "eventTime": event.get("time") or datetime.now(UTC).isoformat(), "data": data, "dataVersion": "", "metadataVersion": "1",
            "_source": event["source"]}


def check(event: Any, topic: str) -> dict[str, Any]:
    """An event in Event Grid schema with its topic set; raises InvalidEvents."""
    if not isinstance(event, dict):
        raise InvalidEvents("an event is a JSON object")
    if event.get("specversion") == "1.0":
        return from_cloud(event, topic)
    for name in ("id", "subject", "eventType", "eventTime"):
        if not isinstance(event.get(name), str) or not event[name]:
            raise InvalidEvents(f"an event needs {name}")
    return {"dataVersion": "", "metadataVersion": "1", **event, "topic": topic}


def to_cloud(event: Mapping[str, Any]) -> dict[str, Any]:
    """An event in Event Grid schema as a CloudEvent."""
    return {"specversion": "1.0", "id": event["id"], "source": event.get("_source") or event["topic"], "type": event["eventType"],
            "subject": event.get("subject", ""), "time": event["eventTime"], "data": event.get("data")}


def to_grid(event: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if not name.startswith("_")}


def sas_is_valid(token: str, key: str, now: datetime) -> bool:
    """`r={resource}&e={expiry}&s={signature}` as azure-eventgrid's generate_sas makes it (real time)."""
    try:
        unsigned, _, signature = token.rpartition("&s=")
        expiry = unquote(unsigned.split("&e=")[1]).removesuffix("+00:00")
        expected = base64.b64encode(hmac.new(base64.b64decode(key), unsigned.encode(), hashlib.sha256).digest()).decode()
        us_style = "/" in expiry
        until = datetime.strptime(f"{expiry}+0000", "%m/%d/%Y %I:%M:%S %p%z") if us_style else datetime.fromisoformat(f"{expiry}+00:00")
        return hmac.compare_digest(unquote(signature), expected) and until > now
    except (ValueError, IndexError):
        return False
