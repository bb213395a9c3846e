"""Work items: nothing that may be dispatched waits for an unrelated event to come along."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator

import durabletask.internal.orchestrator_service_pb2 as pb
import pytest

from emulator.durable import SqliteBackend
from emulator.durable.virtual_time import OffsetClock

DEADLINE = 10.0


class _Context:
    def is_active(self) -> bool:
        return True

    def abort(self, code: object, details: str) -> None:
        raise AssertionError(f"{code}: {details}")


CONTEXT = _Context()


@pytest.fixture
def backend() -> Iterator[SqliteBackend]:
    running = SqliteBackend(None, OffsetClock())
    running.start()
    yield running
    running.stop(0)


@pytest.fixture
def items(backend: SqliteBackend) -> queue.Queue[pb.WorkItem]:
    """Work items as they are dispatched."""
    found: queue.Queue[pb.WorkItem] = queue.Queue()

    def receive() -> None:
        for item in backend.GetWorkItems(pb.GetWorkItemsRequest(), CONTEXT):
            found.put(item)

    threading.Thread(target=receive, daemon=True).start()
    return found


def _turn(backend: SqliteBackend, item: pb.WorkItem, *actions: pb.OrchestratorAction) -> None:
    backend.CompleteOrchestratorTask(pb.OrchestratorResponse(
        instanceId=item.orchestratorRequest.instanceId, completionToken=item.completionToken, actions=actions), CONTEXT)


def _done(backend: SqliteBackend, item: pb.WorkItem) -> None:
    request = item.activityRequest
    backend.CompleteActivityTask(pb.ActivityResponse(
        instanceId=request.orchestrationInstance.instanceId, taskId=request.taskId, completionToken=item.completionToken), CONTEXT)


def test_an_activity_that_ends_during_a_turn_is_not_forgotten(backend: SqliteBackend, items: queue.Queue[pb.WorkItem]) -> None:
    backend.StartInstance(pb.CreateInstanceRequest(instanceId="one", name="two-activities"), CONTEXT)
    schedule = [pb.OrchestratorAction(id=n, scheduleTask=pb.ScheduleTaskAction(name="work")) for n in (1, 2)]
    _turn(backend, items.get(timeout=DEADLINE), *schedule)
    first, second = items.get(timeout=DEADLINE), items.get(timeout=DEADLINE)
    _done(backend, first)
    turn = items.get(timeout=DEADLINE)  # the instance is in flight now
    _done(backend, second)
    # An instance that comes later is served meanwhile: the one in flight does not stand in its way.
    backend.StartInstance(pb.CreateInstanceRequest(instanceId="two", name="other"), CONTEXT)
    assert items.get(timeout=DEADLINE).orchestratorRequest.instanceId == "two"
    _turn(backend, turn)
    again = items.get(timeout=DEADLINE)
    assert [e.taskCompleted.taskScheduledId for e in again.orchestratorRequest.newEvents if e.HasField("taskCompleted")] == [2]


def test_an_activity_that_ends_after_its_instance_does_not_bring_it_back(backend: SqliteBackend, items: queue.Queue[pb.WorkItem]) -> None:
    backend.StartInstance(pb.CreateInstanceRequest(instanceId="one", name="one-activity"), CONTEXT)
    _turn(backend, items.get(timeout=DEADLINE), pb.OrchestratorAction(id=1, scheduleTask=pb.ScheduleTaskAction(name="work")))
    work = items.get(timeout=DEADLINE)
    backend.TerminateInstance(pb.TerminateRequest(instanceId="one"), CONTEXT)
    terminated = pb.CompleteOrchestrationAction(orchestrationStatus=pb.ORCHESTRATION_STATUS_TERMINATED)
    _turn(backend, items.get(timeout=DEADLINE), pb.OrchestratorAction(id=2, completeOrchestration=terminated))
    _done(backend, work)
    backend.StartInstance(pb.CreateInstanceRequest(instanceId="two", name="other"), CONTEXT)
    assert items.get(timeout=DEADLINE).orchestratorRequest.instanceId == "two", "the ended instance gets no further turn"
