"""What happens at a time: starts that were put off, durable timers, delayed signals. One wheel turns them all."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import durabletask.internal.helpers as helpers
import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.testing import in_memory_backend as memory

from emulator.durable.open_work import open_events
from emulator.durable.turns import Turns
from emulator.durable.virtual_time import OffsetClock
from emulator.durable.wheel import TimerWheel


class Times(Turns):
    def __init__(self, path: Path | None, clock: OffsetClock, port: int) -> None:
        super().__init__(path, clock, port)
        self._delays: set[int] = set()
        self.wheel = TimerWheel(clock, self._lock, self._write_down)

    def set_offset(self, seconds: float) -> None:
        """Move the clock; timers that are due now fire."""
        self.clock.offset_seconds = max(self.clock.offset_seconds, seconds)
        self.wheel.time_moved()

    # --- starts -----------------------------------------------------------------------------------------

    def _hold(self, instance: memory.OrchestrationInstance, due: datetime) -> None:
        """Put a new instance's first turn off."""
        key = instance.instance_id
        instance.__dict__["_scheduled"] = due
        self._start_times[key] = self._noted.start_times[key] = due
        self._orchestration_queue_set.discard(key)
        self._orchestration_queue = type(self._orchestration_queue)(other for other in self._orchestration_queue if other != key)
        self._touch(key)
        self._arrive_at(key, due)

    def _arrive_at(self, instance_id: str, due: datetime) -> None:
        def arrive() -> None:
            if self._start_times.get(instance_id) == due and self._release(instance_id):
                self._enqueue_orchestration(instance_id)

        self.wheel.at(due, arrive)

    # --- durable timers ---------------------------------------------------------------------------------

    def _process_create_timer_action(self, instance: memory.OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        due = action.createTimer.fireAt.ToDatetime(tzinfo=UTC)
        instance.history.append(helpers.new_timer_created_event(action.id, due))
        if instance.status == pb.ORCHESTRATION_STATUS_PENDING:
            instance.status = pb.ORCHESTRATION_STATUS_RUNNING
        self._arm(instance, action.id, due)

    def _arm(self, instance: memory.OrchestrationInstance, timer_id: int, due: datetime) -> None:
        key, generation = instance.instance_id, self._generation_of(instance)

        def fire() -> None:
            current = self._instances.get(key)
            if current is None or self._generation_of(current) != generation or self._is_terminal_status(current.status):
                return  # purged, restarted, rewound or continued as new since
            current.pending_events.append(helpers.new_timer_fired_event(timer_id, due))
            current.last_updated_at = self.clock.now()
            self._wake(current)

        self.wheel.at(due, fire)

    def _process_complete_orchestration_action(self, instance: memory.OrchestrationInstance,
                                               complete_action: pb.CompleteOrchestrationAction) -> None:
        if complete_action.orchestrationStatus == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW:
            # What answers the generation that ends must not answer the one that begins: task ids come again.
            instance.pending_events = [event for event in instance.pending_events if not _is_answer(event)]
            self._another_generation(instance)
            self._forget_activities(instance.instance_id)
        super()._process_complete_orchestration_action(instance, complete_action)

    def _process_rewind_orchestration_action(self, instance: memory.OrchestrationInstance, *arguments: Any) -> None:
        arrived = [event for event in instance.pending_events if not _is_answer(event)]
        self._another_generation(instance)
        super()._process_rewind_orchestration_action(instance, *arguments)
        instance.pending_events += arrived
        self._resume_tasks(instance)

    def _resume_tasks(self, instance: memory.OrchestrationInstance) -> None:
        """Wait again for what the history began: timers on our wheel, activities that nobody is doing."""
        doing = {activity.task_id for activity in self._open_activities.values() if activity.instance_id == instance.instance_id}
        for event in open_events([*instance.history, *instance.pending_events]):
            if event.HasField("timerCreated"):
                self._arm(instance, event.eventId, event.timerCreated.fireAt.ToDatetime(tzinfo=UTC))
            elif event.HasField("taskScheduled") and event.eventId not in doing:
                self._schedule_again(instance, event)

    # --- delayed signals ----------------------------------------------------------------------------------

    def _schedule_delayed_entity_operation(self, entity_id: str, event: pb.HistoryEvent, fire_at: datetime) -> None:
        number = self.journal.number()
        self._noted.delays[number] = (entity_id, fire_at, event)
        self._signal_at(number, entity_id, fire_at, event)

    def _signal_at(self, number: int, entity_id: str, due: datetime, event: pb.HistoryEvent) -> None:
        self._delays.add(number)

        def fire() -> None:
            # In the same transaction: delivered, and no longer waiting.
            self._queue_entity_operation(entity_id, event)
            self._noted.delays[number] = None
            self._delays.discard(number)

        self.wheel.at(due, fire)


def _is_answer(event: pb.HistoryEvent) -> bool:
    """It belongs to one generation of its instance; external events and commands belong to the instance."""
    return str(event.WhichOneof("eventType")) in (
        "taskCompleted", "taskFailed", "timerFired", "subOrchestrationInstanceCompleted", "subOrchestrationInstanceFailed",
        "entityOperationCompleted", "entityOperationFailed", "entityLockGranted")
