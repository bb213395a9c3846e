"""`historyEvents` in the extension's JSON (DurableClient.cs, GetDurableOrchestrationStatusAsync).

Beginnings are folded into their endings: a finished activity is one TaskCompleted with FunctionName and ScheduledTime.
Entity messages show as the EventSent and EventRaised that the extension's storage keeps them as.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from google.protobuf import timestamp_pb2

from emulator.functions_host.management.filters import STATUS_NAMES
from emulator.functions_host.management.views import load, ticks

_ENDS = {"taskCompleted": "taskScheduled", "taskFailed": "taskScheduled",
         "subOrchestrationInstanceCompleted": "subOrchestrationInstanceCreated",
         "subOrchestrationInstanceFailed": "subOrchestrationInstanceCreated"}
_HIDDEN = ("orchestratorStarted", "orchestratorCompleted", "historyState")


def history_events(events: Iterable[Any], *, show_input: bool, show_output: bool) -> list[dict[str, Any]]:
    """`events` are the backend's history, oldest first."""
    shown: list[dict[str, Any] | None] = []
    begun: dict[tuple[str, int], tuple[int, Any, str]] = {}
    batch = timestamp_pb2.Timestamp()
    for event in events:
        kind = event.WhichOneof("eventType")
        if kind == "orchestratorStarted":
            batch = event.timestamp
        if kind is None or kind in _HIDDEN:
            continue
        body = getattr(event, kind)
        # Some events carry no time of their own: then it is that of the turn they came in with.
        when = ticks(event.timestamp if event.timestamp.ToNanoseconds() else batch)
        item = {"EventType": kind[0].upper() + kind[1:], "Timestamp": when} | _fields(kind, body, show_output)
        if show_input and hasattr(body, "input") and kind in ("executionStarted", "taskScheduled", "subOrchestrationInstanceCreated",
                                                              "eventRaised", "eventSent"):
            item["Input"] = body.input.value if body.HasField("input") else None
        if kind in ("taskScheduled", "subOrchestrationInstanceCreated"):
            begun[kind, event.eventId] = (len(shown), body, when)
        elif kind in _ENDS and (beginning := begun.get((_ENDS[kind], body.taskScheduledId))):
            # The newest beginning with that number: a durable retry uses it again.
            place, scheduled, at = beginning
            shown[place] = None
            item |= {"ScheduledTime": at, "FunctionName": scheduled.name}
            if show_input:
                item["Input"] = scheduled.input.value if scheduled.HasField("input") else None
        shown.append(item)
    return [item for item in shown if item is not None]


def _fields(kind: str, body: Any, show_output: bool) -> dict[str, Any]:
    """What is special to a kind of event, without input."""
    match kind:
        case "executionStarted":
            scheduled = ticks(body.scheduledStartTimestamp) if body.HasField("scheduledStartTimestamp") else None
            return {"FunctionName": body.name} | ({"ScheduledStartTime": scheduled} if scheduled else {})
        case "executionCompleted":
            result: dict[str, Any] = {"OrchestrationStatus": STATUS_NAMES[body.orchestrationStatus]}
            if show_output:
                result["Result"] = load(body.result.value) if body.HasField("result") else None
            return result | _failure(body)
        case "taskCompleted" | "subOrchestrationInstanceCompleted":
            return {"Result": load(body.result.value) if body.HasField("result") else None} if show_output else {}
        case "taskFailed" | "subOrchestrationInstanceFailed":
            return {"Reason": body.failureDetails.errorMessage, "Details": body.failureDetails.stackTrace.value} | _failure(body)
        case "taskScheduled":
            return {"Name": body.name}
        case "subOrchestrationInstanceCreated":
            return {"Name": body.name, "InstanceId": body.instanceId}
        case "timerCreated" | "timerFired":
            return {"FireAt": ticks(body.fireAt)}
        case "eventRaised":
            return {"Name": body.name}
        case "eventSent":
            return {"Name": body.name, "InstanceId": body.instanceId}
        case "executionTerminated" | "continueAsNew":
            return {"Input" if kind == "executionTerminated" else "Result": load(body.input.value) if body.HasField("input") else None}
        case "executionSuspended" | "executionResumed":
            return {"Reason": body.input.value if body.HasField("input") else None}
        case "executionRewound":
            return {"Reason": body.reason.value if body.HasField("reason") else None}
        case "genericEvent":
            return {"Data": body.data.value if body.HasField("data") else None}
    return _entity_message(kind, body)


def _entity_message(kind: str, body: Any) -> dict[str, Any]:
    """DurableTask.Core's EntityMessageEvent: names `op` and `release`, and what each carries."""
    match kind:
        case "entityOperationCalled" | "entityOperationSignaled":
            name = f"op@{ticks(body.scheduledTime)}" if body.HasField("scheduledTime") else "op"
            message = {"op": body.operation, "id": body.requestId} | ({"signal": True} if kind.endswith("Signaled") else {})
            if body.HasField("input"):
                message["input"] = body.input.value
            return _sent(body.targetInstanceId.value, name, message)
        case "entityLockRequested":
            first = body.lockSet[body.position] if body.position < len(body.lockSet) else ""
            return _sent(first, "op", {"id": body.criticalSectionId, "lockset": list(body.lockSet), "pos": body.position})
        case "entityUnlockSent":
            return _sent(body.targetInstanceId.value, "release", {"parent": body.parentInstanceId.value, "id": body.criticalSectionId})
        case "entityOperationCompleted":
            return _raised(body.requestId, {"result": body.output.value if body.HasField("output") else None})
        case "entityOperationFailed":
            return _raised(body.requestId, {"exceptionType": body.failureDetails.errorType, "result": body.failureDetails.errorMessage})
        case "entityLockGranted":
            return _raised(body.criticalSectionId, {"result": None})
    return {}


def _sent(target: str, name: str, message: dict[str, Any]) -> dict[str, Any]:
    return {"EventType": "EventSent", "InstanceId": target, "Name": name, "Input": json.dumps(message, separators=(",", ":"))}


def _raised(name: str, message: dict[str, Any]) -> dict[str, Any]:
    return {"EventType": "EventRaised", "Name": name, "Input": json.dumps(message, separators=(",", ":"))}


def _failure(body: Any) -> dict[str, Any]:
    if not body.HasField("failureDetails"):
        return {}
    details = body.failureDetails
    return {"FailureDetails": {"ErrorType": details.errorType, "ErrorMessage": details.errorMessage, "StackTrace": details.stackTrace.value,
                               "IsNonRetriable": details.isNonRetriable}}
