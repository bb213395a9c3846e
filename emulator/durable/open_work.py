"""What is open in a history: activities, timers and sub-orchestrations that were begun and have no answer yet."""

from __future__ import annotations

from collections.abc import Iterable

import durabletask.internal.orchestrator_service_pb2 as pb

_BEGUN = ("taskScheduled", "timerCreated", "subOrchestrationInstanceCreated")
_ANSWERED = {
    "taskCompleted": "taskScheduledId", "taskFailed": "taskScheduledId", "timerFired": "timerId",
    "subOrchestrationInstanceCompleted": "taskScheduledId", "subOrchestrationInstanceFailed": "taskScheduledId",
}


def open_events(events: Iterable[pb.HistoryEvent]) -> list[pb.HistoryEvent]:
    """The beginnings without an answer, in order. Order matters: a durable retry uses the same task id again."""
    begun: dict[int, pb.HistoryEvent] = {}
    for event in events:
        kind = event.WhichOneof("eventType")
        if kind in _BEGUN:
            begun[event.eventId] = event
        elif kind in _ANSWERED:
            begun.pop(getattr(getattr(event, kind), _ANSWERED[kind]), None)
    return list(begun.values())


def ungranted_locks(events: Iterable[pb.HistoryEvent]) -> list[pb.HistoryEvent]:
    """Lock requests that wait for their entities."""
    events = list(events)
    granted = {event.entityLockGranted.criticalSectionId for event in events if event.HasField("entityLockGranted")}
    return [event for event in events
            if event.HasField("entityLockRequested") and event.entityLockRequested.criticalSectionId not in granted]
