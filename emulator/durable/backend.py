"""durabletask's test backend, made durable and mended.

It uses private methods of `durabletask==1.12.0` (a contract test holds them). What is mended: sub-orchestrations
longer than 30 s, timers that outlive `continue_as_new`, `start_at`, recursive termination, parents of
sub-orchestrations, one thread per timer, polling while idle, and listening on every interface.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from concurrent import futures
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import durabletask.internal.helpers as helpers
import durabletask.internal.orchestrator_service_pb2 as pb
import durabletask.internal.orchestrator_service_pb2_grpc as stubs
import grpc
from durabletask.testing import in_memory_backend as memory

from emulator.durable.journal import Journal
from emulator.durable.open_work import open_events, ungranted_locks
from emulator.durable.virtual_time import OffsetClock, virtual_datetime
from emulator.durable.wheel import TimerWheel

GRPC_THREADS = 64
"""Waits for completion block a thread each; the test backend's ten are used up by ten waiting clients."""
_CHANGES = (
    "StartInstance", "RaiseEvent", "TerminateInstance", "SuspendInstance", "ResumeInstance", "PurgeInstances", "RestartInstance",
    "RewindInstance", "CompleteOrchestratorTask", "CompleteActivityTask", "CompleteEntityTask", "SignalEntity", "CleanEntityStorage",
    "AbandonTaskOrchestratorWorkItem", "AbandonTaskEntityWorkItem",
)


class _UntilSet(threading.Event):
    """The work-item loop waits with a timeout to look for shutdown; here shutdown sets the event, so it need not poll."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(None)


class SqliteBackend(memory.InMemoryOrchestrationBackend):
    """`path` None keeps the state in memory."""

    def __init__(self, path: Path | None, clock: OffsetClock, port: int = 0) -> None:
        super().__init__(max_history_size=200_000, port=port)
        memory.datetime = virtual_datetime(clock)  # type: ignore[misc]
        self.clock = clock
        self.default_version: str | None = None
        """Version of instances that are started without one (`defaultVersion` of host.json)."""
        self.journal = Journal(path)
        self.wheel = TimerWheel(clock, self._lock, self._flush)
        self._work_available = _UntilSet()
        # Tokens must not come again after a restart: an answer of an earlier life would look like ours.
        self._next_completion_token = time.time_ns()
        self._dirty: set[str] = set()
        self._dirty_entities: set[str] = set()
        self._known: set[str] = set()
        self._known_entities: set[str] = set()
        self._generations: dict[str, int] = {}
        self._new_generation = itertools.count(time.time_ns())
        self._parents: dict[str, tuple[str, int]] = {}
        self._changed_parents: dict[str, tuple[str, int] | None] = {}
        self._start_times: dict[str, datetime] = {}
        self._changed_start_times: dict[str, datetime | None] = {}

    # --- life ---------------------------------------------------------------------------------------

    def start(self) -> str:
        with self._lock:
            self._recover()
        self.wheel.start()
        self._shutdown_event.clear()
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=GRPC_THREADS))
        add = cast(Callable[[Any, grpc.Server], None], stubs.add_TaskHubSidecarServiceServicer_to_server)
        add(self, server)
        self._port = server.add_insecure_port(f"127.0.0.1:{self._port}")
        server.start()
        self._server = server
        return f"127.0.0.1:{self._port}"

    def stop(self, grace: float | None = None) -> None:
        super().stop(grace)
        self.wheel.stop()
        with self._lock:
            self.journal.close()

    def set_offset(self, seconds: float) -> None:
        """Move the clock; timers that are due now fire."""
        self.clock.offset_seconds = max(self.clock.offset_seconds, seconds)
        self.wheel.time_moved()

    # --- what a change touched ------------------------------------------------------------------------

    def _enqueue_orchestration(self, instance_id: str) -> None:
        self._dirty.add(instance_id)
        if instance_id in self._start_times:
            return  # not before its time; `_arrive` comes back here
        instance = self._instances.get(instance_id)
        if instance is not None and self._is_terminal_status(instance.status):
            # An activity that ends after its instance was terminated must not bring it back to life.
            instance.pending_events.clear()
            return
        if instance_id in self._orchestration_in_flight:
            # The test backend would queue it, find it in flight, and poll. `_after_turn` queues it when its turn is over.
            return
        super()._enqueue_orchestration(instance_id)

    def _after_turn(self, instance_id: str) -> None:
        """Queue an instance again for what arrived during its turn."""
        instance = self._instances.get(instance_id)
        if instance is not None and instance.pending_events and instance.status != pb.ORCHESTRATION_STATUS_SUSPENDED:
            self._enqueue_orchestration(instance_id)

    def _enqueue_entity(self, entity_id: str) -> None:
        self._dirty_entities.add(entity_id)
        super()._enqueue_entity(entity_id)

    def _grant_lock(self, pending: memory.PendingLockRequest) -> None:
        self._dirty_entities.update(pending.lock_set)
        self._dirty.add(pending.parent_instance_id)
        super()._grant_lock(pending)

    def _process_send_entity_message_action(self, instance: memory.OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        if action.sendEntityMessage.HasField("entityUnlockSent"):
            self._dirty_entities.add(action.sendEntityMessage.entityUnlockSent.targetInstanceId.value)
        super()._process_send_entity_message_action(instance, action)

    def _flush(self) -> None:
        """Write what has changed, in one transaction."""
        gone, gone_entities = self._known - self._instances.keys(), self._known_entities - self._entities.keys()
        dirty, dirty_entities = self._dirty & self._instances.keys(), self._dirty_entities & self._entities.keys()
        for instance_id in gone:
            self._changed_parents[instance_id] = None
            self._parents.pop(instance_id, None)
        if not (dirty or dirty_entities or gone or gone_entities or self._changed_parents or self._changed_start_times):
            return
        self.journal.write(
            [(self._instances[key], self._generation_of(self._instances[key])) for key in sorted(dirty)], gone,
            [self._entities[key] for key in sorted(dirty_entities)], gone_entities, self._changed_parents, self._changed_start_times)
        self._known = (self._known - gone) | dirty
        self._known_entities = (self._known_entities - gone_entities) | dirty_entities
        self._dirty.clear()
        self._dirty_entities.clear()
        self._changed_parents, self._changed_start_times = {}, {}

    def _generation_of(self, instance: memory.OrchestrationInstance) -> int:
        """A number for one life of an instance: another after continue-as-new, rewind or restart."""
        return cast(int, instance.__dict__.setdefault("_generation", next(self._new_generation)))

    def _another_generation(self, instance: memory.OrchestrationInstance) -> None:
        instance.__dict__["_generation"] = next(self._new_generation)

    # --- start_at, timers -----------------------------------------------------------------------------

    def StartInstance(self, request: pb.CreateInstanceRequest, context: grpc.ServicerContext) -> pb.CreateInstanceResponse:
        with self._lock:
            if self.default_version and not request.HasField("version"):
                request.version.value = self.default_version
            later = request.HasField("scheduledStartTimestamp")
            due = request.scheduledStartTimestamp.ToDatetime(tzinfo=UTC) if later else None
            if due is not None and due > self.clock.now() and request.instanceId and request.instanceId not in self._instances:
                self._hold(request.instanceId, due)
            answer = super().StartInstance(request, context)
            self._flush()
            return answer

    def _hold(self, instance_id: str, due: datetime) -> None:
        self._start_times[instance_id] = due
        self._changed_start_times[instance_id] = due
        self.wheel.at(due, lambda: self._arrive(instance_id))

    def _arrive(self, instance_id: str) -> None:
        if self._start_times.pop(instance_id, None) is not None:
            self._changed_start_times[instance_id] = None
            if instance_id in self._instances:
                self._enqueue_orchestration(instance_id)

    def _process_create_timer_action(self, instance: memory.OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        due = action.createTimer.fireAt.ToDatetime(tzinfo=UTC)
        instance.history.append(helpers.new_timer_created_event(action.id, due))
        if instance.status == pb.ORCHESTRATION_STATUS_PENDING:
            instance.status = pb.ORCHESTRATION_STATUS_RUNNING
        self._arm(instance, action.id, due)

    def _arm(self, instance: memory.OrchestrationInstance, timer_id: int, due: datetime) -> None:
        generation = self._generation_of(instance)

        def fire() -> None:
            current = self._instances.get(instance.instance_id)
            if current is None or self._generation_of(current) != generation or self._is_terminal_status(current.status):
                return  # purged, restarted, rewound or continued as new since
            current.pending_events.append(helpers.new_timer_fired_event(timer_id, due))
            current.last_updated_at = self.clock.now()
            self._wake(current)

        self.wheel.at(due, fire)

    def _wake(self, instance: memory.OrchestrationInstance) -> None:
        """Enqueue unless suspended: a suspended instance keeps its events for later."""
        self._dirty.add(instance.instance_id)
        if instance.status != pb.ORCHESTRATION_STATUS_SUSPENDED:
            self._enqueue_orchestration(instance.instance_id)

    def _process_complete_orchestration_action(self, instance: memory.OrchestrationInstance,
                                               complete_action: pb.CompleteOrchestrationAction) -> None:
        if complete_action.orchestrationStatus == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW:
            self._another_generation(instance)
        super()._process_complete_orchestration_action(instance, complete_action)

    def _process_rewind_orchestration_action(self, instance: memory.OrchestrationInstance, *arguments: Any) -> None:
        self._another_generation(instance)
        super()._process_rewind_orchestration_action(instance, *arguments)

    def _schedule_delayed_entity_operation(self, entity_id: str, event: pb.HistoryEvent, fire_at: datetime) -> None:
        self._arm_signal(self.journal.delay(entity_id, fire_at, event), entity_id, fire_at, event)

    def _arm_signal(self, number: int, entity_id: str, due: datetime, event: pb.HistoryEvent) -> None:
        def fire() -> None:
            self._queue_entity_operation(entity_id, event)
            self._flush()
            self.journal.undelay(number)

        self.wheel.at(due, fire)

    # --- sub-orchestrations -----------------------------------------------------------------------------

    def _create_instance_internal(self, instance_id: str, name: str, encoded_input: str | None = None, version: str | None = None) -> None:
        super()._create_instance_internal(instance_id, name, encoded_input, version)
        self._another_generation(self._instances[instance_id])

    def _watch_sub_orchestration(self, parent_instance_id: str, sub_instance_id: str, task_id: int) -> None:
        self._parents[sub_instance_id] = (parent_instance_id, task_id)
        self._changed_parents[sub_instance_id] = (parent_instance_id, task_id)
        child, parent = self._instances.get(sub_instance_id), self._instances.get(parent_instance_id)
        if child is not None and parent is not None:
            for event in child.pending_events:
                if event.HasField("executionStarted"):
                    event.executionStarted.parentInstance.CopyFrom(pb.ParentInstanceInfo(
                        taskScheduledId=task_id, orchestrationInstance=pb.OrchestrationInstance(instanceId=parent_instance_id)))
        self._deliver(sub_instance_id)

    def _notify_waiters(self, instance_id: str) -> None:
        super()._notify_waiters(instance_id)
        self._deliver(instance_id)

    def _deliver(self, child_id: str) -> None:
        """Give a finished sub-orchestration's result to its parent, once."""
        child = self._instances.get(child_id)
        if child is None or child_id not in self._parents or not self._is_terminal_status(child.status):
            return
        parent_id, task_id = self._parents.pop(child_id)
        self._changed_parents[child_id] = None
        parent = self._instances.get(parent_id)
        if parent is None or self._is_terminal_status(parent.status):
            return
        if child.status == pb.ORCHESTRATION_STATUS_COMPLETED:
            event = helpers.new_sub_orchestration_completed_event(task_id, child.output)
        else:
            details = child.failure_details
            event = helpers.new_sub_orchestration_failed_event(task_id, Exception(details.errorMessage if details else "it was terminated"))
            if details is not None:
                event.subOrchestrationInstanceFailed.failureDetails.CopyFrom(details)
        parent.pending_events.append(event)
        parent.last_updated_at = self.clock.now()
        self._wake(parent)

    def _terminate_instance_internal(self, instance_id: str, output: str | None, recursive: bool = False) -> None:
        super()._terminate_instance_internal(instance_id, output, recursive=False)
        if recursive:
            for child in [child for child, (parent, _) in self._parents.items() if parent == instance_id]:
                self._terminate_instance_internal(child, output, recursive=True)

    # --- recovery ---------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Take up what an earlier process left: everything acknowledged is in the journal."""
        for instance, generation in self.journal.instances():
            instance.__dict__["_generation"] = generation
            instance.completion_token = self._token()
            self._instances[instance.instance_id] = instance
            self._known.add(instance.instance_id)
        for instance_id, due in self.journal.start_times().items():
            self._start_times[instance_id] = due
            self.wheel.at(due, lambda key=instance_id: self._arrive(key))  # type: ignore[misc]
        for entity in self.journal.entities():
            entity.completion_token = self._token()
            self._entities[entity.instance_id] = entity
            self._known_entities.add(entity.instance_id)
            if entity.pending_operations:
                self._enqueue_entity(entity.instance_id)
        for number, entity_id, due, event in self.journal.delayed():
            self._arm_signal(number, entity_id, due, event)
        self._parents = self.journal.parents()
        for instance in list(self._instances.values()):
            if not self._is_terminal_status(instance.status):
                self._resume(instance)
        for child in list(self._parents):
            self._deliver(child)
        self._flush()

    def _token(self) -> int:
        self._next_completion_token += 1
        return self._next_completion_token

    def _resume(self, instance: memory.OrchestrationInstance) -> None:
        for event in open_events([*instance.history, *instance.pending_events]):
            if event.HasField("taskScheduled"):
                scheduled = event.taskScheduled
                self._activity_queue.append(memory.ActivityWorkItem(
                    instance.instance_id, scheduled.name, event.eventId, scheduled.input.value or None, instance.completion_token,
                    scheduled.version.value if scheduled.HasField("version") else None))
            elif event.HasField("timerCreated"):
                self._arm(instance, event.eventId, event.timerCreated.fireAt.ToDatetime(tzinfo=UTC))
        for event in ungranted_locks([*instance.history, *instance.pending_events]):
            request = event.entityLockRequested
            self._try_grant_lock(memory.PendingLockRequest(request.criticalSectionId, instance.instance_id, list(request.lockSet)))
        wanted = any(event.HasField("executionResumed") or event.HasField("executionTerminated") for event in instance.pending_events)
        if instance.pending_events and (wanted or instance.status != pb.ORCHESTRATION_STATUS_SUSPENDED):
            self._enqueue_orchestration(instance.instance_id)


def _durable(name: str) -> Callable[..., Any]:
    change = getattr(SqliteBackend, name)

    def method(self: SqliteBackend, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            if instance_id := getattr(request, "instanceId", ""):
                self._dirty.add(instance_id)
            if name == "CompleteEntityTask":
                self._dirty_entities.update(self._entity_in_flight)
            before = self._instances.get(instance_id) if instance_id else None
            answer = change(self, request, context)
            after = self._instances.get(instance_id) if instance_id else None
            if after is not None and after is not before:
                self._another_generation(after)  # started anew under an id that was there
            if name == "CompleteOrchestratorTask":
                self._after_turn(instance_id)
            self._flush()
            return answer

    method.__name__ = name
    return method


for _name in _CHANGES:
    setattr(SqliteBackend, _name, _durable(_name))
