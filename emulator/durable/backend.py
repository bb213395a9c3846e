"""durabletask's test backend, made durable and mended; the layers below say what each mends.

It uses private methods of `durabletask==1.12.0`: tests/unit/emulator/durable/test_contract.py holds them.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from concurrent import futures
from datetime import UTC
from pathlib import Path
from typing import Any, cast

import durabletask.internal.orchestrator_service_pb2 as pb
import durabletask.internal.orchestrator_service_pb2_grpc as stubs
import grpc
from durabletask.testing import in_memory_backend as memory

from emulator.durable.open_work import ungranted_locks
from emulator.durable.queries import Queries
from emulator.durable.virtual_time import OffsetClock

GRPC_THREADS = 1000
"""Waits for completion hold a thread each; the test backend's ten are used up by ten waiting clients. Made when needed."""
_CHANGES = (
    "StartInstance", "RaiseEvent", "TerminateInstance", "SuspendInstance", "ResumeInstance", "PurgeInstances", "RestartInstance",
    "RewindInstance", "CompleteOrchestratorTask", "CompleteActivityTask", "CompleteEntityTask", "SignalEntity", "CleanEntityStorage",
    "AbandonTaskOrchestratorWorkItem", "AbandonTaskEntityWorkItem", "AbandonTaskActivityWorkItem",
)
_READS = ("GetInstance", "QueryInstances", "ListInstanceIds", "GetEntity", "QueryEntities")


class SqliteBackend(Queries):
    """`path` None keeps the state in memory. Raises NewerState, UnusableState."""

    def __init__(self, path: Path | None, clock: OffsetClock, port: int = 0) -> None:
        super().__init__(path, clock, port)
        self.default_version: str | None = None
        """Version of instances that are started without one (`defaultVersion` of host.json)."""

    # --- life ---------------------------------------------------------------------------------------

    def start(self) -> str:
        """Take up what an earlier process left, and serve. Returns the address, on this machine only."""
        with self._answering():
            self._recover()
        self.wheel.start()
        self._shutdown_event.clear()
        # Payloads have no limit here: what the client allows is the client's.
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=GRPC_THREADS, thread_name_prefix="durable-grpc"), options=[
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
        add = cast(Callable[[Any, grpc.Server], None], stubs.add_TaskHubSidecarServiceServicer_to_server)
        add(self, server)
        self._port = server.add_insecure_port(f"127.0.0.1:{self._port}")
        server.start()
        self._server = server
        return f"127.0.0.1:{self._port}"

    def stop(self, grace: float | None = None) -> None:
        """What is under way is in the file; what is answered afterwards is refused, and done again by the next process."""
        super().stop(grace)
        self.wheel.stop()
        with self._lock:
            for waiters in self._state_waiters.values():
                for waiter in waiters:
                    waiter.event.set()
            seen = self._seen()
        try:
            self._commit(seen)
        finally:
            with self._commit_lock:
                self.journal.close()

    def reset(self) -> None:
        """Forget everything, in the file too."""
        with self._answering():
            for state in (self._instances, self._entities):
                state.clear()
            for number in self._delays:
                self._noted.delays[number] = None
            self._delays.clear()
            self.wheel.forget()
            self._given.clear()
            super().reset()

    # --- starting -------------------------------------------------------------------------------------

    def StartInstance(self, request: pb.CreateInstanceRequest, context: grpc.ServicerContext) -> pb.CreateInstanceResponse:
        if self.default_version and not request.HasField("version"):
            request.version.value = self.default_version
        answer = super().StartInstance(request, context)
        instance = self._instances[answer.instanceId]
        due = request.scheduledStartTimestamp.ToDatetime(tzinfo=UTC)
        if request.HasField("scheduledStartTimestamp") and due > self.clock.now():
            self._hold(instance, due)
        self._touch(answer.instanceId)
        return answer

    def RaiseEvent(self, request: pb.RaiseEventRequest, context: grpc.ServicerContext) -> pb.RaiseEventResponse:
        answer = super().RaiseEvent(request, context)
        instance = self._instances[request.instanceId]
        if self._is_terminal_status(instance.status):
            instance.pending_events.clear()  # nobody will read it, and a rewind takes one event only
        self._touch(request.instanceId)
        return answer

    # --- recovery ---------------------------------------------------------------------------------------

    def _recover(self) -> None:
        """Everything acknowledged is in the journal; what is open follows from it.

        Nothing that is read can be garbage, and looking for some again and again is a third of the time.
        """
        collecting = gc.isenabled()
        gc.disable()
        try:
            self._read_back()
        finally:
            if collecting:
                gc.enable()

    def _read_back(self) -> None:
        for instance, generation, parent, scheduled in self.journal.instances():
            instance.__dict__.update(_generation=generation, _parent=parent, _scheduled=scheduled)
            instance.completion_token = self._token()
            self._instances[instance.instance_id] = instance
        for instance_id, due in self.journal.start_times().items():
            self._start_times[instance_id] = due
            self._arrive_at(instance_id, due)
        for entity in self.journal.entities():
            entity.completion_token = self._token()
            self._entities[entity.instance_id] = entity
        for number, entity_id, due, event in self.journal.delayed():
            self._signal_at(number, entity_id, due, event)
        self._parents = self.journal.parents()
        running = [instance for instance in self._instances.values() if not self._is_terminal_status(instance.status)]
        for instance in running:
            self._resume_tasks(instance)
            for event in ungranted_locks([*instance.history, *instance.pending_events]):
                request = event.entityLockRequested
                self._try_grant_lock(memory.PendingLockRequest(request.criticalSectionId, instance.instance_id, list(request.lockSet)))
            if instance.pending_events:
                self._wake(instance)
        for entity in self._entities.values():
            if entity.pending_operations:
                self._enqueue_entity(entity.instance_id)
        for child in list(self._parents):
            self._deliver(child)


def _kept(name: str) -> Callable[..., Any]:
    """The method as callers have it: what it answers, or why it refuses, is in the file first."""
    inner = getattr(SqliteBackend, name)

    def method(self: SqliteBackend, request: Any, context: grpc.ServicerContext) -> Any:
        with self._answering():
            if name in _CHANGES:
                if self._shutdown_event.is_set():
                    context.abort(grpc.StatusCode.UNAVAILABLE, "The task hub is being stopped")
                if instance_id := getattr(request, "instanceId", ""):
                    self._touch(instance_id)
            return inner(self, request, context)

    method.__name__ = name
    return method


for _name in (*_CHANGES, *_READS):
    setattr(SqliteBackend, _name, _kept(_name))
