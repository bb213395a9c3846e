"""What waits to be done: queues of turns, activities and entity operations, and who has what of it."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.testing import in_memory_backend as memory

from emulator.durable.changes import Changes
from emulator.durable.virtual_time import OffsetClock


class _Waking:
    """In the place of the test backend's event, which its workers poll: `set` wakes the streams that sleep."""

    def __init__(self, lock: threading.RLock) -> None:
        self.condition = threading.Condition(lock)

    def set(self) -> None:
        with self.condition:
            self.condition.notify_all()

    def clear(self) -> None:
        """Nothing to forget: whoever is woken looks at the queues."""


@dataclass(frozen=True)
class Given:
    """Work that a stream has: of what kind, and whose."""

    stream: object
    kind: str
    key: str


class Queues(Changes):
    def __init__(self, path: Path | None, clock: OffsetClock, port: int) -> None:
        super().__init__(path, clock, port)
        self._waking = _Waking(self._lock)
        self._work_available: Any = self._waking
        self._given: dict[str, Given] = {}
        self._open_activities: dict[str, memory.ActivityWorkItem] = {}
        """By token: scheduled and not answered."""

    def _enqueue_orchestration(self, instance_id: str) -> None:
        self._touch(instance_id)
        if instance_id in self._start_times:
            return  # not before its time; `_arrive` comes back here
        instance = self._instances.get(instance_id)
        if instance is not None and self._is_terminal_status(instance.status):
            # What comes after the end must not bring it back to life.
            instance.pending_events.clear()
            return
        if instance_id in self._orchestration_in_flight:
            # The test backend would queue it, find it in flight, and poll. `_after_turn` queues it when its turn is over.
            return
        super()._enqueue_orchestration(instance_id)

    def _after_turn(self, instance_id: str) -> None:
        """Queue an instance again for what arrived during its turn."""
        instance = self._instances.get(instance_id)
        if instance is not None and instance.pending_events:
            self._wake(instance)

    def _wake(self, instance: memory.OrchestrationInstance) -> None:
        """Enqueue unless suspended: a suspended instance keeps its events until it is resumed or terminated."""
        self._touch(instance.instance_id)
        wanted = any(event.HasField("executionResumed") or event.HasField("executionTerminated") for event in instance.pending_events)
        if wanted or instance.status != pb.ORCHESTRATION_STATUS_SUSPENDED:
            self._enqueue_orchestration(instance.instance_id)

    def _enqueue_entity(self, entity_id: str) -> None:
        self._touch_entity(entity_id)
        if entity_id not in self._entity_in_flight:  # else it is queued when its answer comes
            super()._enqueue_entity(entity_id)

    def _process_schedule_task_action(self, instance: memory.OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        super()._process_schedule_task_action(instance, action)
        activity = self._activity_queue[-1]
        # The test backend gives all activities of a turn one token, and looks at none: an answer of an earlier
        # generation would end the new one's activity.
        activity.completion_token = self._token()
        self._open_activities[str(activity.completion_token)] = activity

    def _schedule_again(self, instance: memory.OrchestrationInstance, event: pb.HistoryEvent) -> None:
        """An activity of the history whose answer nobody owes us: after a restart or a rewind."""
        scheduled = event.taskScheduled
        activity = memory.ActivityWorkItem(
            instance.instance_id, scheduled.name, event.eventId, scheduled.input.value or None, self._token(),
            scheduled.version.value if scheduled.HasField("version") else None)
        self._open_activities[str(activity.completion_token)] = activity
        self._activity_queue.append(activity)
        self._waking.set()

    def _forget_activities(self, instance_id: str) -> None:
        """Answers that are still to come are nobody's: another generation began, or the instance is gone."""
        for token in [token for token, activity in self._open_activities.items() if activity.instance_id == instance_id]:
            activity = self._open_activities.pop(token)
            if self._given.pop(token, None) is None:
                self._activity_queue.remove(activity)

    def _instance_gone(self, key: str) -> None:
        super()._instance_gone(key)
        self._forget_activities(key)
        self._forget_given("orchestration", key)

    def _entity_gone(self, key: str) -> None:
        super()._entity_gone(key)
        self._entity_in_flight.discard(key)
        self._forget_given("entity", key)

    def _forget_given(self, kind: str, key: str) -> None:
        for token in [token for token, given in self._given.items() if given.kind == kind and given.key == key]:
            del self._given[token]
