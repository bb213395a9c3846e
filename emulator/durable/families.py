"""Sub-orchestrations: who started whom, results to parents without a thread that waits, and what is done to whole families."""

from __future__ import annotations

from datetime import UTC

import durabletask.internal.helpers as helpers
import durabletask.internal.orchestrator_service_pb2 as pb
import grpc
from durabletask.testing import in_memory_backend as memory
from google.protobuf import wrappers_pb2

from emulator.durable.open_work import open_events
from emulator.durable.times import Times


class Families(Times):
    def _create_instance_internal(self, instance_id: str, name: str, encoded_input: str | None = None, version: str | None = None) -> None:
        super()._create_instance_internal(instance_id, name, encoded_input, version)
        self._another_generation(self._instances[instance_id])

    def _process_create_sub_orchestration_action(self, instance: memory.OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        super()._process_create_sub_orchestration_action(instance, action)
        child, tags = self._instances.get(action.createSubOrchestration.instanceId), dict(action.createSubOrchestration.tags)
        if tags and child is not None and self._parents.get(child.instance_id) == (instance.instance_id, action.id):
            child.tags = tags
            self._sign(child)

    def _watch_sub_orchestration(self, parent_instance_id: str, sub_instance_id: str, task_id: int) -> None:
        """The test backend starts a thread that waits for 30 s; here the child's end looks for its parent."""
        self._set_parent(sub_instance_id, (parent_instance_id, task_id))
        child = self._instances.get(sub_instance_id)
        if child is not None:
            child.__dict__["_parent"] = parent_instance_id
            self._sign(child)
        self._deliver(sub_instance_id)

    def _sign(self, instance: memory.OrchestrationInstance) -> None:
        """Write parent and tags into the start of an instance that waits for its first turn."""
        parent = self._parents.get(instance.instance_id)
        for event in instance.pending_events:
            if event.HasField("executionStarted"):
                started = event.executionStarted
                if parent is not None:
                    started.parentInstance.CopyFrom(pb.ParentInstanceInfo(
                        taskScheduledId=parent[1], orchestrationInstance=pb.OrchestrationInstance(instanceId=parent[0]),
                        name=helpers.get_string_value(self._instances[parent[0]].name if parent[0] in self._instances else None)))
                started.tags.update(instance.tags or {})
        self._touch(instance.instance_id)

    def _process_complete_orchestration_action(self, instance: memory.OrchestrationInstance,
                                               complete_action: pb.CompleteOrchestrationAction) -> None:
        again = complete_action.orchestrationStatus == pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW
        if again:
            self._leave_children(instance.instance_id)
            if complete_action.tags:
                instance.tags = dict(complete_action.tags)
        super()._process_complete_orchestration_action(instance, complete_action)
        if again:
            self._sign(instance)  # the test backend begins the new generation without tags and parent

    def _instance_gone(self, key: str) -> None:
        super()._instance_gone(key)
        self._leave_children(key)

    def _leave_children(self, parent_id: str) -> None:
        """Their results are nobody's from now on: another generation or another instance has the parent's id."""
        for child in self._children(parent_id):
            self._set_parent(child, None)

    def _children(self, parent_id: str) -> list[str]:
        return [child for child, (parent, _) in self._parents.items() if parent == parent_id]

    def _notify_waiters(self, instance_id: str) -> None:
        super()._notify_waiters(instance_id)
        self._deliver(instance_id)

    def _deliver(self, child_id: str) -> None:
        """Give a finished sub-orchestration's result to its parent, once."""
        child, (parent_id, task_id) = self._instances.get(child_id), self._parents.get(child_id, ("", 0))
        if child is None or not parent_id or not self._is_terminal_status(child.status):
            return
        self._set_parent(child_id, None)
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

    def _resume_tasks(self, instance: memory.OrchestrationInstance) -> None:
        super()._resume_tasks(instance)
        for event in open_events([*instance.history, *instance.pending_events]):
            child = event.subOrchestrationInstanceCreated.instanceId if event.HasField("subOrchestrationInstanceCreated") else ""
            if child in self._instances and child not in self._parents:
                self._watch_sub_orchestration(instance.instance_id, child, event.eventId)  # it ended while nobody could be told

    def RestartInstance(self, request: pb.RestartInstanceRequest, context: grpc.ServicerContext) -> pb.RestartInstanceResponse:
        before = self._instances.get(request.instanceId)
        answer = super().RestartInstance(request, context)
        again = self._instances[answer.instanceId]
        again.tags = before.tags if before is not None else None
        self._sign(again)
        return answer

    # --- terminating, purging ---------------------------------------------------------------------------

    def _terminate_instance_internal(self, instance_id: str, output: str | None, recursive: bool = False) -> None:
        if self._release(instance_id):
            self._end_before_its_start(self._instances[instance_id], output)
        else:
            super()._terminate_instance_internal(instance_id, output, recursive=False)
        if recursive:
            for child in self._children(instance_id):
                self._terminate_instance_internal(child, output, recursive=True)

    def _end_before_its_start(self, instance: memory.OrchestrationInstance, output: str | None) -> None:
        """It has a start time that will not come: none of its code runs."""
        instance.history = [*instance.pending_events, helpers.new_terminated_event(encoded_output=output)]
        instance.pending_events = []
        instance.status, instance.output = pb.ORCHESTRATION_STATUS_TERMINATED, output
        instance.completed_at = instance.last_updated_at = self.clock.now()
        instance.history.append(helpers.new_execution_completed_event(instance.status, output, None))
        self._touch(instance.instance_id)
        self._notify_waiters(instance.instance_id)

    def PurgeInstances(self, request: pb.PurgeInstancesRequest, context: grpc.ServicerContext) -> pb.PurgeInstancesResponse:
        """One instance, a list, or by filter; recursive takes the sub-orchestrations along. What still runs stays."""
        if request.HasField("purgeInstanceFilter"):
            chosen = [item.instance_id for item in self._instances.values() if _is_meant(item, request.purgeInstanceFilter)]
        else:
            chosen = [request.instanceId] if request.instanceId else list(request.instanceBatch.instanceIds)
        purged = sum(self._purge(key, request.recursive) for key in chosen)
        return pb.PurgeInstancesResponse(deletedInstanceCount=purged, isComplete=wrappers_pb2.BoolValue(value=True))

    def _purge(self, key: str, recursive: bool) -> int:
        instance = self._instances.get(key)
        if instance is None:
            entity = self._entities.get(key)
            if entity is None or entity.locked_by or entity.pending_operations or entity.dispatched_operations:
                return 0
            del self._entities[key]
            return 1
        if not self._is_terminal_status(instance.status):
            return 0
        begun = [event.subOrchestrationInstanceCreated.instanceId for event in instance.history
                 if event.HasField("subOrchestrationInstanceCreated")]
        del self._instances[key]
        self._state_waiters.pop(key, None)
        return 1 + (sum(self._purge(child, recursive=True) for child in begun) if recursive else 0)


def _is_meant(instance: memory.OrchestrationInstance, wanted: pb.PurgeInstanceFilter) -> bool:
    created = instance.created_at
    return ((not wanted.runtimeStatus or instance.status in wanted.runtimeStatus)
            and not (wanted.HasField("createdTimeFrom") and created < wanted.createdTimeFrom.ToDatetime(UTC))
            and not (wanted.HasField("createdTimeTo") and created >= wanted.createdTimeTo.ToDatetime(UTC)))
