"""A task hub in virtual time: what runs the orchestrations as Azure does, one step at a time.

Each turn replays an instance's whole history through the same code that the deployed app runs
(`azure.durable_functions.Orchestrator`), which checks determinism itself; payloads cross as JSON text; timers
fire when nothing else is to do, and the clock jumps there. Nothing runs beside: a test stops wherever it likes.
"""

from __future__ import annotations

import base64
import heapq
import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import durabletask.internal.helpers as helpers
import durabletask.internal.orchestrator_service_pb2 as pb
from azure.durable_functions.orchestrator import Orchestrator

from tests.support.memory import FixedClock

ENDED = ("COMPLETED", "FAILED", "TERMINATED")
PATIENCE = 20_000
"""Steps after which a run is taken for a loop."""


@dataclass
class Instance:
    """One orchestration instance."""

    id: str
    name: str
    parent: tuple[str, int] | None = None
    status: str = "PENDING"
    history: list[pb.HistoryEvent] = field(default_factory=list)
    inbox: list[pb.HistoryEvent] = field(default_factory=list)
    actions: list[list[bytes]] = field(default_factory=list)
    """What each turn asked for, as bytes: a replay must ask for the same."""
    output: Any = None
    error: str = ""

    @property
    def over(self) -> bool:
        return self.status in ENDED


@dataclass(frozen=True)
class Work:
    """An activity that is due."""

    instance: str
    task: int
    name: str
    payload: str

    @property
    def input(self) -> dict[str, Any]:
        return json.loads(self.payload)


class Step(Exception):
    """The step limit: the orchestrations run in circles."""


@dataclass
class Durable:
    """Everything that is durable: what a crash leaves."""

    instances: dict[str, Instance] = field(default_factory=dict)
    work: deque[Work] = field(default_factory=deque)
    timers: list[tuple[datetime, int, str, int]] = field(default_factory=list)
    armed: int = 0

    def copy(self) -> Durable:
        """Events are never changed, so only what holds them is copied."""
        return Durable({key: replace(found, history=list(found.history), inbox=list(found.inbox), actions=list(found.actions))
                        for key, found in self.instances.items()}, deque(self.work), list(self.timers), self.armed)


class TaskHub:
    """`choose` picks the next activity among those due, by its place in the queue."""

    def __init__(
        self, orchestrators: Sequence[Callable[..., Any]], activities: dict[str, Callable[[dict[str, Any]], dict[str, Any]]],
        clock: FixedClock, durable: Durable | None = None,
    ) -> None:
        self._handlers = {function.__name__: Orchestrator(function).handle for function in orchestrators}
        self._activities, self.clock = activities, clock
        self.durable = durable or Durable()
        self.choose: Callable[[Sequence[Work]], int] = lambda due: 0
        self.before: Callable[[Work], None] = lambda work: None
        """Told of each activity that is about to run: a test changes the world here, or raises."""
        self.executed: list[Work] = []

    # --- the client ---------------------------------------------------------------------------------

    def start(self, name: str, instance: str, message: dict[str, Any]) -> None:
        """As the durable client: an instance that is there, in whatever state, is left alone."""
        if instance not in self.durable.instances:
            self._create(name, instance, json.dumps(message), None)

    def raise_event(self, instance: str, event: str, data: dict[str, Any]) -> None:
        found = self.durable.instances.get(instance)
        if found is not None and not found.over:
            found.inbox.append(helpers.new_event_raised_event(event, json.dumps(data)))

    def terminate(self, instance: str, *, recursive: bool = True) -> None:
        found = self.durable.instances[instance]
        if not found.over:
            self._end(found, "TERMINATED")
        for child in list(self.durable.instances.values()):
            if recursive and child.parent is not None and child.parent[0] == instance:
                self.terminate(child.id)

    def state(self, instance: str) -> str | None:
        found = self.durable.instances.get(instance)
        return found.status if found else None

    def output(self, instance: str) -> Any:
        found = self.durable.instances[instance]
        assert found.status == "COMPLETED", f"{instance} is {found.status}: {found.error}"
        return found.output

    # --- running ------------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool] = lambda: False, *, deadline: datetime | None = None) -> None:
        """Go on until there is nothing to do (but wait for events), `until` holds, or virtual time reaches the deadline."""
        for _ in range(PATIENCE):
            if until() or not self.step(deadline):
                return
        raise Step(f"{PATIENCE} steps and no end: {[(i.id, i.status) for i in self.durable.instances.values() if not i.over]}")

    def step(self, deadline: datetime | None = None) -> bool:
        """One turn, one activity, or one timer; False when there is nothing to do."""
        for instance in self.durable.instances.values():
            if instance.inbox and not instance.over:
                self._turn(instance)
                return True
        if self.durable.work:  # also of instances that are over: what was asked for is still carried out
            self._execute(self.durable.work[self.choose(self.durable.work)])
            return True
        while self.durable.timers:
            fires, _, owner, timer = self.durable.timers[0]
            if deadline is not None and fires > deadline:
                break
            heapq.heappop(self.durable.timers)
            instance = self.durable.instances[owner]
            if not instance.over:
                self.clock.advance(max(fires - self.clock.now(), fires - fires))
                instance.inbox.append(helpers.new_timer_fired_event(timer, fires.replace(tzinfo=None)))
                return True
        if deadline is not None and self.clock.now() < deadline:
            self.clock.advance(deadline - self.clock.now())
        return False

    def _execute(self, work: Work) -> None:
        """Run an activity. A crash in it (no Exception) leaves it due: the next one who runs the hub repeats it."""
        self.before(work)
        self.executed.append(work)
        instance = self.durable.instances[work.instance]
        try:
            answer = json.dumps(self._activities[work.name](json.loads(work.payload)))
            event = helpers.new_task_completed_event(work.task, answer)
        except Exception as error:
            event = helpers.new_task_failed_event(work.task, error)
        self.durable.work.remove(work)
        if not instance.over:
            instance.inbox.append(event)

    def _turn(self, instance: Instance) -> None:
        new = [helpers.new_orchestrator_started_event(self.clock.now().astimezone(UTC).replace(tzinfo=None)), *instance.inbox]
        response = self._replay(instance, instance.history, new)
        instance.inbox = []
        instance.history += new
        instance.status = "RUNNING"
        instance.actions.append([action.SerializeToString(deterministic=True) for action in response.actions])
        for action in response.actions:
            self._act(instance, action)

    def _replay(self, instance: Instance, past: Sequence[pb.HistoryEvent], new: Sequence[pb.HistoryEvent]) -> pb.OrchestratorResponse:
        request = pb.OrchestratorRequest(instanceId=instance.id, pastEvents=past, newEvents=new)
        body = base64.b64encode(request.SerializeToString()).decode()
        answer = self._handlers[instance.name](SimpleNamespace(body=body))
        response = pb.OrchestratorResponse()
        response.ParseFromString(base64.b64decode(answer))
        return response

    def _act(self, instance: Instance, action: pb.OrchestratorAction) -> None:
        if action.HasField("scheduleTask"):
            wanted = action.scheduleTask
            instance.history.append(helpers.new_task_scheduled_event(action.id, wanted.name, wanted.input.value))
            self.durable.work.append(Work(instance.id, action.id, wanted.name, wanted.input.value))
        elif action.HasField("createTimer"):
            fires = action.createTimer.fireAt.ToDatetime()
            instance.history.append(helpers.new_timer_created_event(action.id, fires))
            self.durable.armed += 1
            heapq.heappush(self.durable.timers, (fires.replace(tzinfo=UTC), self.durable.armed, instance.id, action.id))
        elif action.HasField("createSubOrchestration"):
            child = action.createSubOrchestration
            instance.history.append(helpers.new_sub_orchestration_created_event(action.id, child.name, child.instanceId, child.input.value))
            there = self.durable.instances.get(child.instanceId)
            if there is not None and not there.over:
                error = ValueError(f"Orchestration instance '{child.instanceId}' already exists")
                instance.inbox.append(helpers.new_sub_orchestration_failed_event(action.id, error))
            else:
                self._create(child.name, child.instanceId, child.input.value, (instance.id, action.id))
        elif action.HasField("sendEvent"):
            sent = action.sendEvent
            instance.history.append(pb.HistoryEvent(eventId=action.id, eventSent=pb.EventSentEvent(
                instanceId=sent.instance.instanceId, name=sent.name, input=sent.data)))
            if sent.instance.instanceId in self.durable.instances:
                self.raise_event(sent.instance.instanceId, sent.name, json.loads(sent.data.value or "null"))
        elif action.HasField("completeOrchestration"):
            done = action.completeOrchestration
            failed = done.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED
            instance.error = f"{done.failureDetails.errorType}: {done.failureDetails.errorMessage}" if failed else ""
            instance.output = json.loads(done.result.value) if done.result.value else None
            self._end(instance, "FAILED" if failed else "COMPLETED", done)
        else:
            raise NotImplementedError(f"{instance.id} asks for {action.WhichOneof('orchestratorActionType')}")

    def _create(self, name: str, instance: str, message: str, parent: tuple[str, int] | None) -> None:
        self.durable.instances[instance] = Instance(
            instance, name, parent, inbox=[helpers.new_execution_started_event(name, instance, message)])

    def _end(self, instance: Instance, status: str, done: pb.CompleteOrchestrationAction | None = None) -> None:
        instance.status = status
        instance.inbox = []
        if instance.parent is None:
            return
        parent = self.durable.instances[instance.parent[0]]
        if status == "COMPLETED" and done is not None:
            event = helpers.new_sub_orchestration_completed_event(instance.parent[1], done.result.value)
        else:
            event = helpers.new_sub_orchestration_failed_event(instance.parent[1], Exception("it was terminated"))
            if done is not None:
                event.subOrchestrationInstanceFailed.failureDetails.CopyFrom(done.failureDetails)
        if not parent.over:
            parent.inbox.append(event)

    # --- looking back -------------------------------------------------------------------------------

    def replayed(self, instance: str) -> list[list[bytes]]:
        """What each turn of an instance asks for when its history is gone through again, from nothing, turn by turn."""
        found = self.durable.instances[instance]
        starts = [at for at, event in enumerate(found.history) if event.HasField("orchestratorStarted")]
        turns = []
        for at, after in zip(starts, [*starts[1:], len(found.history)], strict=True):
            new = [event for event in found.history[at:after] if event.eventId < 0 or event.HasField("orchestratorStarted")]
            response = self._replay(found, found.history[:at], new)
            turns.append([action.SerializeToString(deterministic=True) for action in response.actions])
        return turns

    def recorded(self) -> str:
        """All that the hub stores of all instances, as text: what whoever reads histories sees."""
        return "\n".join(str(event) for instance in self.durable.instances.values() for event in instance.history) + "\n" + "\n".join(
            json.dumps(instance.output) for instance in self.durable.instances.values())
