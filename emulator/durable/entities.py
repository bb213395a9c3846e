"""Entities: they exist while they have state, and while one orchestration has locked them only it is served."""

from __future__ import annotations

import uuid
from datetime import UTC
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
import grpc
from durabletask.testing import in_memory_backend as memory
from google.protobuf import timestamp_pb2, wrappers_pb2

from emulator.durable.families import Families
from emulator.durable.paging import page_of


class Entities(Families):
    # --- locks ------------------------------------------------------------------------------------------

    def _runnable(self, entity: memory.EntityState) -> list[pb.HistoryEvent]:
        """The test backend serves everybody while an entity is locked."""
        if entity.locked_by is None:
            return list(entity.pending_operations)
        owner = self._owner(entity.locked_by)
        return [event for event in entity.pending_operations
                if owner and event.entityOperationCalled.parentInstanceId.value == owner]

    def _owner(self, critical_section: str) -> str | None:
        """The orchestration that holds a critical section, if it still runs."""
        for instance in self._instances.values():
            if not self._is_terminal_status(instance.status):
                for event in instance.history:
                    if event.entityLockRequested.criticalSectionId == critical_section:
                        return instance.instance_id
        return None

    def _grant_lock(self, pending: memory.PendingLockRequest) -> None:
        super()._grant_lock(pending)
        for entity_id in pending.lock_set:
            self._touch_entity(entity_id)
        self._touch(pending.parent_instance_id)

    def _process_send_entity_message_action(self, instance: memory.OrchestrationInstance, action: pb.OrchestratorAction) -> None:
        super()._process_send_entity_message_action(instance, action)
        if action.sendEntityMessage.HasField("entityUnlockSent"):
            self._serve_again(action.sendEntityMessage.entityUnlockSent.targetInstanceId.value)

    def _serve_again(self, entity_id: str) -> None:
        self._touch_entity(entity_id)
        entity = self._entities.get(entity_id)
        if entity is not None and entity.pending_operations:
            self._enqueue_entity(entity_id)

    def CleanEntityStorage(self, request: pb.CleanEntityStorageRequest, context: grpc.ServicerContext) -> pb.CleanEntityStorageResponse:
        """The test backend takes critical sections for instances, so that it releases every lock, and removes entities at work."""
        released = removed = 0
        if request.releaseOrphanedLocks:
            for entity in self._entities.values():
                if entity.locked_by and self._owner(entity.locked_by) is None:
                    entity.locked_by = None
                    self._serve_again(entity.instance_id)
                    released += 1
            self._try_grant_pending_locks()
        if request.removeEmptyEntities:
            for entity in list(self._entities.values()):
                if not (entity.serialized_state or entity.locked_by or entity.pending_operations or entity.dispatched_operations):
                    del self._entities[entity.instance_id]
                    removed += 1
        return pb.CleanEntityStorageResponse(emptyEntitiesRemoved=removed, orphanedLocksReleased=released)

    # --- answers ----------------------------------------------------------------------------------------

    def CompleteEntityTask(self, request: pb.EntityBatchResult, context: grpc.ServicerContext) -> pb.CompleteTaskResponse:
        starts = [action.startNewOrchestration for action in request.actions if action.HasField("startNewOrchestration")]
        for start in starts:
            start.instanceId = start.instanceId or uuid.uuid4().hex
        new = [start for start in starts if start.instanceId not in self._instances]
        answer = super().CompleteEntityTask(request, context)
        for start in new:
            due = start.scheduledTime.ToDatetime(tzinfo=UTC)
            if start.instanceId in self._instances and start.HasField("scheduledTime") and due > self.clock.now():
                self._hold(self._instances[start.instanceId], due)
        return answer

    # --- reading ----------------------------------------------------------------------------------------

    def GetEntity(self, request: pb.GetEntityRequest, context: grpc.ServicerContext) -> pb.GetEntityResponse:
        """An entity without state doesn't exist, though operations or a lock may still be kept for it."""
        entity = self._entities.get(request.instanceId)
        if entity is None or not entity.serialized_state:
            return pb.GetEntityResponse(exists=False)
        return pb.GetEntityResponse(exists=True, entity=self._metadata(entity, request.includeState))

    def QueryEntities(self, request: pb.QueryEntitiesRequest, context: grpc.ServicerContext) -> pb.QueryEntitiesResponse:
        """Ordered by id. Transient: without state, known because of operations or a lock."""
        query = request.query

        def wanted(entity: memory.EntityState) -> bool:
            modified = entity.last_modified_at
            return (entity.instance_id.startswith(query.instanceIdStartsWith.value)
                    and (query.includeTransient or bool(entity.serialized_state))
                    and not (query.HasField("lastModifiedFrom") and modified < query.lastModifiedFrom.ToDatetime(UTC))
                    and not (query.HasField("lastModifiedTo") and modified >= query.lastModifiedTo.ToDatetime(UTC)))

        found = sorted((entity.instance_id, entity) for entity in self._entities.values() if wanted(entity))
        page, token = page_of(found, query.pageSize.value, query.continuationToken.value, context)
        return pb.QueryEntitiesResponse(entities=[self._metadata(entity, query.includeState) for entity in page],
                                        continuationToken=wrappers_pb2.StringValue(value=token) if token else None)

    def _metadata(self, entity: memory.EntityState, include_state: bool) -> pb.EntityMetadata:
        modified = timestamp_pb2.Timestamp()
        modified.FromDatetime(entity.last_modified_at)
        owner = self._owner(entity.locked_by) if entity.locked_by else None
        metadata: dict[str, Any] = {"lockedBy": owner or entity.locked_by}
        if include_state:
            metadata["serializedState"] = entity.serialized_state
        return pb.EntityMetadata(
            instanceId=entity.instance_id, lastModifiedTime=modified, backlogQueueSize=len(entity.pending_operations),
            **{name: wrappers_pb2.StringValue(value=text) for name, text in metadata.items() if text})
