"""A worker by hand: it takes work items from a backend in this process and answers them as the test says."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import durabletask.internal.helpers as helpers
import durabletask.internal.orchestrator_service_pb2 as pb
import grpc
from google.protobuf import wrappers_pb2

DEADLINE = 10.0


class Aborted(Exception):
    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(f"{code.name}: {details}")
        self.code = code


class Context:
    """What stands for a gRPC call; `leave` ends the caller's connection."""

    def __init__(self) -> None:
        self._active, self._on_end = True, list[Callable[[], None]]()

    def is_active(self) -> bool:
        return self._active

    def add_callback(self, call: Callable[[], None]) -> bool:
        self._on_end.append(call)
        return self._active

    def time_remaining(self) -> None:
        return None

    def abort(self, code: grpc.StatusCode, details: str) -> None:
        raise Aborted(code, details)

    def leave(self) -> None:
        self._active = False
        for call in self._on_end:
            call()


class Hand:
    def __init__(self, backend: Any) -> None:
        self.backend, self.context = backend, Context()
        self._items: queue.Queue[pb.WorkItem] = queue.Queue()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        for item in self.backend.GetWorkItems(pb.GetWorkItemsRequest(), self.context):
            self._items.put(item)

    def take(self) -> pb.WorkItem:
        return self._items.get(timeout=DEADLINE)

    def turn(self, instance: str) -> pb.WorkItem:
        """The next item, which must be a turn of an instance."""
        item = self.take()
        assert item.orchestratorRequest.instanceId == instance, item
        return item

    def leave(self) -> None:
        """The connection ends; returns when the backend knows."""
        self.context.leave()
        self._thread.join(DEADLINE)
        assert not self._thread.is_alive()

    def call(self, method: str, request: Any) -> Any:
        return getattr(self.backend, method)(request, Context())

    def start(self, instance: str, **more: Any) -> None:
        self.call("StartInstance", pb.CreateInstanceRequest(instanceId=instance, name=more.pop("name", "any"), **more))

    def answer(self, item: pb.WorkItem, *actions: pb.OrchestratorAction) -> None:
        self.call("CompleteOrchestratorTask", pb.OrchestratorResponse(
            instanceId=item.orchestratorRequest.instanceId, completionToken=item.completionToken, actions=actions))

    def done(self, item: pb.WorkItem, result: str = '"done"') -> None:
        request = item.activityRequest
        self.call("CompleteActivityTask", pb.ActivityResponse(
            instanceId=request.orchestrationInstance.instanceId, taskId=request.taskId, completionToken=item.completionToken,
            result=wrappers_pb2.StringValue(value=result)))

    def served(self, item: pb.WorkItem, state: str | None) -> None:
        """The operations of an entity's item are done; the state is what it is now."""
        batch, infos = helpers.convert_to_entity_batch_request(item.entityRequestV2)
        success = pb.OperationResult(success=pb.OperationResultSuccess())
        self.call("CompleteEntityTask", pb.EntityBatchResult(
            completionToken=item.completionToken, results=[success] * len(batch.operations), operationInfos=infos,
            entityState=helpers.get_string_value(state)))

    def signal(self, entity: str, **more: Any) -> None:
        self.call("SignalEntity", pb.SignalEntityRequest(instanceId=entity, name="set", **more))

    def status(self, instance: str) -> pb.OrchestrationState:
        return self.call("GetInstance", pb.GetInstanceRequest(instanceId=instance, getInputsAndOutputs=True)).orchestrationState

    def nothing_more(self) -> None:
        """No work is waiting: the next item is that of an instance which is started now."""
        self.start("afterwards")
        self.turn("afterwards")


def events(item: pb.WorkItem, kind: str) -> list[Any]:
    """The new events of a kind in a turn."""
    return [getattr(event, kind) for event in item.orchestratorRequest.newEvents if event.HasField(kind)]


def activity(number: int, name: str = "work") -> pb.OrchestratorAction:
    return pb.OrchestratorAction(id=number, scheduleTask=pb.ScheduleTaskAction(name=name))


def timer(number: int, due: datetime) -> pb.OrchestratorAction:
    return pb.OrchestratorAction(id=number, createTimer=pb.CreateTimerAction(fireAt=helpers.new_timestamp(due)))


def child(number: int, instance: str, name: str = "child") -> pb.OrchestratorAction:
    return pb.OrchestratorAction(id=number, createSubOrchestration=pb.CreateSubOrchestrationAction(instanceId=instance, name=name))


def ends(status: Any = pb.ORCHESTRATION_STATUS_COMPLETED, result: str = '"ended"', **more: Any) -> pb.OrchestratorAction:
    return pb.OrchestratorAction(id=99, completeOrchestration=pb.CompleteOrchestrationAction(
        orchestrationStatus=status, result=wrappers_pb2.StringValue(value=result), **more))


def continues() -> pb.OrchestratorAction:
    return ends(pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW)
