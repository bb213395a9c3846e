"""Reading instances: one, many by filters and pages, their histories, and waiting for what becomes of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import durabletask.internal.helpers as helpers
import durabletask.internal.orchestrator_service_pb2 as pb
import grpc
from durabletask.testing import in_memory_backend as memory
from google.protobuf import wrappers_pb2

from emulator.durable.entities import Entities
from emulator.durable.paging import page_of

IDS_A_PAGE = 100
"""Of ListInstanceIds, where the caller says nothing."""


class Queries(Entities):
    def _build_instance_response(self, instance: memory.OrchestrationInstance, include_payloads: bool) -> pb.GetInstanceResponse:
        return pb.GetInstanceResponse(exists=True, orchestrationState=self._state(instance, include_payloads))

    def _state(self, instance: memory.OrchestrationInstance, include_payloads: bool) -> pb.OrchestrationState:
        """The test backend leaves out version, tags, parent, start time, and the time of the end in lists."""
        def moment(value: datetime | None) -> Any:
            return helpers.new_timestamp(value) if value is not None else None

        def text(value: str | None) -> Any:
            return wrappers_pb2.StringValue(value=value) if value else None

        return pb.OrchestrationState(
            instanceId=instance.instance_id, name=instance.name, version=text(instance.version), orchestrationStatus=instance.status,
            scheduledStartTimestamp=moment(instance.__dict__.get("_scheduled")), createdTimestamp=moment(instance.created_at),
            lastUpdatedTimestamp=moment(instance.last_updated_at), completedTimestamp=moment(instance.completed_at),
            input=text(instance.input if include_payloads else None), output=text(instance.output if include_payloads else None),
            customStatus=text(instance.custom_status), failureDetails=instance.failure_details,
            parentInstanceId=text(instance.__dict__.get("_parent")), tags=instance.tags)

    def QueryInstances(self, request: pb.QueryInstancesRequest, context: grpc.ServicerContext) -> pb.QueryInstancesResponse:
        """Ordered by creation."""
        query = request.query

        def wanted(item: memory.OrchestrationInstance) -> bool:
            return (item.instance_id.startswith(query.instanceIdPrefix.value)
                    and (not query.runtimeStatus or item.status in query.runtimeStatus)
                    and not (query.HasField("createdTimeFrom") and item.created_at < query.createdTimeFrom.ToDatetime(UTC))
                    and not (query.HasField("createdTimeTo") and item.created_at >= query.createdTimeTo.ToDatetime(UTC)))

        found = sorted((([item.created_at.timestamp(), item.instance_id], item) for item in self._instances.values() if wanted(item)),
                       key=lambda entry: entry[0])
        page, token = page_of(found, query.maxInstanceCount, query.continuationToken.value, context)
        return pb.QueryInstancesResponse(orchestrationState=[self._state(item, query.fetchInputsAndOutputs) for item in page],
                                         continuationToken=wrappers_pb2.StringValue(value=token) if token else None)

    def ListInstanceIds(self, request: pb.ListInstanceIdsRequest, context: grpc.ServicerContext) -> pb.ListInstanceIdsResponse:
        """Of instances that have ended, ordered by their end."""
        def wanted(item: memory.OrchestrationInstance, ended: datetime) -> bool:
            return (self._is_terminal_status(item.status) and (not request.runtimeStatus or item.status in request.runtimeStatus)
                    and not (request.HasField("completedTimeFrom") and ended < request.completedTimeFrom.ToDatetime(UTC))
                    and not (request.HasField("completedTimeTo") and ended >= request.completedTimeTo.ToDatetime(UTC)))

        found = sorted((([item.completed_at.timestamp(), item.instance_id], item.instance_id) for item in self._instances.values()
                        if item.completed_at is not None and wanted(item, item.completed_at)), key=lambda entry: entry[0])
        page, token = page_of(found, request.pageSize or IDS_A_PAGE, request.lastInstanceKey.value, context)
        return pb.ListInstanceIdsResponse(instanceIds=page, lastInstanceKey=wrappers_pb2.StringValue(value=token) if token else None)

    def StreamInstanceHistory(self, request: pb.StreamInstanceHistoryRequest, context: grpc.ServicerContext) -> Iterator[pb.HistoryChunk]:
        with self._answering():
            chunks = list(super().StreamInstanceHistory(request, context))
        yield from chunks

    # --- waiting ----------------------------------------------------------------------------------------

    def WaitForInstanceStart(self, request: pb.GetInstanceRequest, context: grpc.ServicerContext) -> pb.GetInstanceResponse:
        return self._wait(request, context, lambda item: item.status != pb.ORCHESTRATION_STATUS_PENDING, "start")

    def WaitForInstanceCompletion(self, request: pb.GetInstanceRequest, context: grpc.ServicerContext) -> pb.GetInstanceResponse:
        return self._wait(request, context, self._is_terminal_status_check, "complete")

    def _wait(self, request: pb.GetInstanceRequest, context: grpc.ServicerContext,
              becomes: Callable[[memory.OrchestrationInstance], bool], what: str) -> pb.GetInstanceResponse:
        """As long as the caller waits, also without a deadline (the test backend ends such a wait after 30 s).

        An instance that isn't there may come before the deadline; one that goes is waited for no longer.
        """
        on_end = getattr(context, "add_callback", None)  # a caller in this process has no connection that could end
        was_there = False
        while True:
            remaining = context.time_remaining()
            if remaining is not None and remaining > threading.TIMEOUT_MAX:
                remaining = None  # gRPC says some hundred years for no deadline, which is more than a lock can wait
            with self._answering():
                instance = self._instances.get(request.instanceId)
                if instance is None and (was_there or not remaining):
                    return pb.GetInstanceResponse(exists=False)
                if instance is not None and becomes(instance):
                    return self._build_instance_response(instance, request.getInputsAndOutputs)
                if self._shutdown_event.is_set() or not context.is_active():
                    context.abort(grpc.StatusCode.UNAVAILABLE, "The task hub is being stopped")
                if remaining == 0:
                    context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"Timed out waiting for instance '{request.instanceId}' to {what}")
                was_there = instance is not None
                waiter = memory.StateWaiter(predicate=becomes)
                self._state_waiters.setdefault(request.instanceId, []).append(waiter)
            if on_end is not None and not on_end(waiter.event.set):
                waiter.event.set()  # the caller has gone: its thread is wanted elsewhere
            waiter.event.wait(remaining)
            with self._lock:
                self._forget_waiter(request.instanceId, waiter)

    def _forget_waiter(self, instance_id: str, waiter: memory.StateWaiter) -> None:
        waiters = self._state_waiters.get(instance_id, [])
        if waiter in waiters:
            waiters.remove(waiter)

    def _instance_gone(self, key: str) -> None:
        super()._instance_gone(key)
        for waiter in self._state_waiters.pop(key, []):
            waiter.event.set()  # it looks again, and finds nothing or who has the id now
