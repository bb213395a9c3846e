"""The JSON of statuses, entities and errors, as the extension writes it."""

from __future__ import annotations

import json
from typing import Any

from google.protobuf import timestamp_pb2
from starlette.responses import Response

from emulator.functions_host.management.filters import STATUS_NAMES


def answer(content: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """JSON in ASCII: what an app stored may hold lone surrogates, which UTF-8 can't carry."""
    return Response(json.dumps(content, separators=(",", ":")), status, headers, media_type="application/json; charset=utf-8")


def error(status: int, message: str) -> Response:
    """ASP.NET's error body, which the extension uses."""
    return answer({"Message": message}, status)


def status_of(state: Any, *, show_input: bool) -> dict[str, Any]:
    """One orchestration's status (StatusResponsePayload.cs)."""
    output = load(state.output.value if state.HasField("output") else None)
    if output is None and state.HasField("failureDetails"):
        output = f"{state.failureDetails.errorType}: {state.failureDetails.errorMessage}"
    return {
        "name": state.name, "instanceId": state.instanceId, "runtimeStatus": STATUS_NAMES[state.orchestrationStatus],
        "input": load(state.input.value if show_input and state.HasField("input") else None),
        "customStatus": load(state.customStatus.value if state.HasField("customStatus") else None), "output": output,
        "createdTime": seconds(state.createdTimestamp), "lastUpdatedTime": seconds(state.lastUpdatedTimestamp)}


def entity_of(entity: Any, *, fetch_state: bool) -> dict[str, Any]:
    """One entity in a list (DurableEntityStatus.cs)."""
    _, name, key = entity.instanceId.split("@", 2)
    return {"entityId": {"name": name, "key": key}, "lastOperationTime": ticks(entity.lastModifiedTime),
            "state": load(entity.serializedState.value) if fetch_state else None}


def seconds(stamp: timestamp_pb2.Timestamp) -> str:
    """.NET's `ToString("s") + "Z"`: no fraction."""
    return f"{stamp.ToDatetime():%Y-%m-%dT%H:%M:%S}Z"


def ticks(stamp: timestamp_pb2.Timestamp) -> str:
    """.NET's round-trip form: seven digits, a hundred nanoseconds each."""
    return f"{stamp.ToDatetime():%Y-%m-%dT%H:%M:%S}.{stamp.nanos // 100:07d}Z"


def load(text: str | None) -> Any:
    """A payload as JSON; what is not JSON, such as a reason for termination, is a string."""
    if text is None:
        return None
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text


def quoted(text: str) -> str:
    """A text as a JSON string."""
    return json.dumps(text)
