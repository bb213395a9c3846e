"""Work for the app: turns of orchestrations, activities, entity operations, each given to one worker at a time.

A worker's stream sleeps until there is something for it. What a worker took and did not answer is given to another
when its stream ends; an answer counts once, and only from the one that has the work.
"""

from __future__ import annotations

import sqlite3
from collections import deque
from collections.abc import Iterator

import durabletask.internal.helpers as helpers
import durabletask.internal.orchestrator_service_pb2 as pb
import grpc
from durabletask.entities import EntityInstanceId
from durabletask.testing import in_memory_backend as memory
from google.protobuf import wrappers_pb2

from emulator.durable.changes import log
from emulator.durable.queues import Given, Queues
from emulator.durable.virtual_time import acting

AT_ONCE = 100
"""Work items that a stream takes together: they share one wait for the disk."""
_Filter = dict[str, frozenset[str]] | None


class Turns(Queues):
    # --- giving ---------------------------------------------------------------------------------------

    def GetWorkItems(self, request: pb.GetWorkItemsRequest, context: grpc.ServicerContext) -> Iterator[pb.WorkItem]:
        """Stream work items until the worker goes or the backend stops."""
        filters, stream = self._parse_work_item_filters(request), object()
        on_end = getattr(context, "add_callback", None)  # a caller in this process has no connection that could end
        if on_end is not None:
            on_end(self._waking.set)
        try:
            while items := self._wait_for_work(stream, filters, context):
                yield from items
        finally:
            with acting(self.clock), self._lock:
                self._take_back(stream)

    def _wait_for_work(self, stream: object, filters: tuple[_Filter, _Filter, _Filter], context: grpc.ServicerContext) -> list[pb.WorkItem]:
        """Work whose reasons are in the file; none when the stream ends."""
        while True:
            with acting(self.clock), self._lock:
                items: list[pb.WorkItem] = []
                while context.is_active() and not self._shutdown_event.is_set():
                    if items := self._take(stream, *filters):
                        break
                    self._waking.condition.wait()
                seen = self._seen()
            if not items:
                return []
            try:
                self._commit(seen)
                return items
            except sqlite3.Error:
                log.exception("durable state could not be written: nothing is given to the app, and it is tried again in a second")
                with acting(self.clock), self._lock:
                    for item in items:
                        self._put_back(item.completionToken)
                self._shutdown_event.wait(1.0)

    def _take(self, stream: object, orchestrations: _Filter, activities: _Filter, entities: _Filter) -> list[pb.WorkItem]:
        items: list[pb.WorkItem] = []
        for instance_id in self._drain(self._orchestration_queue):
            instance = self._instances.get(instance_id)
            self._orchestration_queue_set.discard(instance_id)
            if instance is None or not instance.pending_events or instance_id in self._orchestration_in_flight:
                continue
            if len(items) < AT_ONCE and self._matches_filter(instance.name, instance.version, orchestrations):
                items.append(self._turn(instance))
                self._given[str(instance.completion_token)] = Given(stream, "orchestration", instance_id)
            elif instance_id not in self._orchestration_queue_set:
                self._orchestration_queue.append(instance_id)
                self._orchestration_queue_set.add(instance_id)
        for activity in self._drain(self._activity_queue):
            if len(items) < AT_ONCE and self._matches_filter(activity.name, activity.version, activities):
                items.append(_activity(activity))
                self._given[str(activity.completion_token)] = Given(stream, "activity", activity.instance_id)
            else:
                self._activity_queue.append(activity)
        for entity_id in self._drain(self._entity_queue):
            self._entity_queue_set.discard(entity_id)
            entity = self._entities.get(entity_id)
            operations = self._runnable(entity) if entity and entity_id not in self._entity_in_flight else []
            if entity is None or not operations:
                continue
            if len(items) < AT_ONCE and self._matches_filter(EntityInstanceId.parse(entity_id).entity, None, entities):
                items.append(self._operations(entity, operations))
                self._given[str(entity.completion_token)] = Given(stream, "entity", entity_id)
            elif entity_id not in self._entity_queue_set:
                self._entity_queue.append(entity_id)
                self._entity_queue_set.add(entity_id)
        return items

    @staticmethod
    def _drain[Item](queue: deque[Item]) -> list[Item]:
        items = list(queue)
        queue.clear()
        return items

    def _turn(self, instance: memory.OrchestrationInstance) -> pb.WorkItem:
        events = instance.pending_events
        rewound = [event for event in events if event.HasField("executionRewound")]
        if rewound and any(event.HasField("executionCompleted") for event in instance.history):
            # The worker makes the rewound history out of this one event; what came with it waits for that history.
            events = rewound
        instance.dispatched_events = list(events)
        instance.pending_events = [event for event in instance.pending_events if event not in events] if events is rewound else []
        if not instance.dispatched_events[0].HasField("orchestratorStarted"):
            # The time of this turn, as the orchestrator sees it.
            inserted = instance.__dict__["_inserted"] = helpers.new_orchestrator_started_event(self.clock.now())
            instance.dispatched_events.insert(0, inserted)
        self._orchestration_in_flight.add(instance.instance_id)
        return pb.WorkItem(completionToken=str(instance.completion_token), orchestratorRequest=pb.OrchestratorRequest(
            instanceId=instance.instance_id, pastEvents=instance.history, newEvents=instance.dispatched_events))

    def _runnable(self, entity: memory.EntityState) -> list[pb.HistoryEvent]:
        return list(entity.pending_operations)

    def _operations(self, entity: memory.EntityState, operations: list[pb.HistoryEvent]) -> pb.WorkItem:
        chosen = {id(event) for event in operations}
        entity.pending_operations = [event for event in entity.pending_operations if id(event) not in chosen]
        entity.dispatched_operations = operations
        self._entity_in_flight.add(entity.instance_id)
        return pb.WorkItem(completionToken=str(entity.completion_token), entityRequestV2=pb.EntityRequest(
            instanceId=entity.instance_id, operationRequests=operations,
            entityState=wrappers_pb2.StringValue(value=entity.serialized_state) if entity.serialized_state else None))

    # --- taking back ------------------------------------------------------------------------------------

    def _take_back(self, stream: object) -> None:
        """What a stream has and did not answer is for others. An activity's answer that still comes counts, if it is the first."""
        if self._shutdown_event.is_set():
            return  # the next process finds it in the file
        for token in [token for token, given in self._given.items() if given.stream is stream]:
            self._put_back(token)

    def _put_back(self, token: str) -> None:
        given = self._given.pop(token, None)
        if given is None:
            return
        if given.kind == "activity":
            self._activity_queue.append(self._open_activities[token])
            self._waking.set()
        elif given.kind == "entity":
            entity = self._entities[given.key]
            entity.pending_operations[:0] = entity.dispatched_operations
            entity.dispatched_operations = []
            entity.completion_token = self._token()
            self._entity_in_flight.discard(given.key)
            self._enqueue_entity(given.key)
        else:
            instance = self._instances[given.key]
            inserted = instance.__dict__.get("_inserted")
            instance.pending_events[:0] = [event for event in instance.dispatched_events if event is not inserted]
            instance.dispatched_events = []
            instance.completion_token = self._token()
            self._orchestration_in_flight.discard(given.key)
            self._enqueue_orchestration(given.key)

    def AbandonTaskActivityWorkItem(self, request: pb.AbandonActivityTaskRequest,
                                    context: grpc.ServicerContext) -> pb.AbandonActivityTaskResponse:
        self._put_back(request.completionToken)
        return pb.AbandonActivityTaskResponse()

    def AbandonTaskOrchestratorWorkItem(self, request: pb.AbandonOrchestrationTaskRequest,
                                        context: grpc.ServicerContext) -> pb.AbandonOrchestrationTaskResponse:
        self._put_back(request.completionToken)
        return pb.AbandonOrchestrationTaskResponse()

    def AbandonTaskEntityWorkItem(self, request: pb.AbandonEntityTaskRequest,
                                  context: grpc.ServicerContext) -> pb.AbandonEntityTaskResponse:
        self._put_back(request.completionToken)
        return pb.AbandonEntityTaskResponse()

    # --- answers ----------------------------------------------------------------------------------------

    def CompleteOrchestratorTask(self, request: pb.OrchestratorResponse, context: grpc.ServicerContext) -> pb.CompleteTaskResponse:
        given = self._given.pop(request.completionToken, None)
        if given is None or given.kind != "orchestration":
            log.warning("an answer for %s came too late: its turn was given to another, or is over", request.instanceId)
            return pb.CompleteTaskResponse()
        answer = super().CompleteOrchestratorTask(request, context)
        self._touch(request.instanceId)
        self._after_turn(request.instanceId)
        return answer

    def CompleteActivityTask(self, request: pb.ActivityResponse, context: grpc.ServicerContext) -> pb.CompleteTaskResponse:
        activity = self._open_activities.pop(request.completionToken, None)
        if activity is None:
            log.warning("an answer for activity %s of %s came too late, or a second time", request.taskId, request.instanceId)
            return pb.CompleteTaskResponse()
        if self._given.pop(request.completionToken, None) is None:
            self._activity_queue.remove(activity)  # it was given back, and its first worker answers after all
        return super().CompleteActivityTask(request, context)

    def CompleteEntityTask(self, request: pb.EntityBatchResult, context: grpc.ServicerContext) -> pb.CompleteTaskResponse:
        given = self._given.pop(request.completionToken, None)
        if given is None or given.kind != "entity":
            log.warning("an answer of an entity came too late: its operations were given to another")
            return pb.CompleteTaskResponse()
        self._touch_entity(given.key)
        return super().CompleteEntityTask(request, context)


def _activity(item: memory.ActivityWorkItem) -> pb.WorkItem:
    return pb.WorkItem(completionToken=str(item.completion_token), activityRequest=pb.ActivityRequest(
        name=item.name, taskId=item.task_id, input=helpers.get_string_value(item.input or None),
        version=helpers.get_string_value(item.version),
        orchestrationInstance=pb.OrchestrationInstance(instanceId=item.instance_id)))
