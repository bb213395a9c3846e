"""Orchestration instances: start, status, list, purge, and the operations on one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.client import AsyncTaskHubGrpcClient
from google.protobuf import wrappers_pb2
from starlette.responses import Response

from emulator.functions_host.durable import DurableBridge
from emulator.functions_host.in_process import Hub, Refused
from emulator.functions_host.management import filters, views
from emulator.functions_host.management.filters import BadRequest, Query
from emulator.functions_host.management.history import history_events

_RUNNING = (pb.ORCHESTRATION_STATUS_RUNNING, pb.ORCHESTRATION_STATUS_PENDING, pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW,
            pb.ORCHESTRATION_STATUS_SUSPENDED)


@dataclass(frozen=True, slots=True)
class Call:
    """One management request, read."""

    method: str
    url: str
    query: Query
    headers: Any
    body: bytes


class Instances:
    def __init__(self, bridge: DurableBridge, hub: Hub, client: AsyncTaskHubGrpcClient) -> None:
        self._bridge, self._hub, self._client = bridge, hub, client

    # --- start ------------------------------------------------------------------------------------------------

    async def start(self, call: Call, name: str, wanted: str) -> Response:
        """202 with the management URLs; with `timeout` and `pollingInterval`, the result if it comes in time. 409 for an id in use."""
        if not self._bridge.has_orchestrator(name):
            raise BadRequest(f"The function '{name}' doesn't exist, is disabled, or is not an orchestrator function.")
        request = pb.CreateInstanceRequest(instanceId=filters.instance_id(wanted) if wanted else self._bridge.new_id(), name=name)
        if (text := filters.json_body(call.body)) is not None:
            request.input.value = text
        request.orchestrationIdReusePolicy.replaceableStatus.extend(self._bridge.replaceable)
        wait = _wait(call.query)
        await self._create(request)
        return await self._accepted(call, request.instanceId, wait)

    async def _create(self, request: pb.CreateInstanceRequest) -> None:
        try:
            await self._hub.call("StartInstance", request)
        except Refused as refused:
            if refused.code == "ALREADY_EXISTS":
                raise Conflict(f"An Orchestration instance with the ID {request.instanceId} already exists.") from refused
            raise

    async def _accepted(self, call: Call, instance_id: str, wait: float | None) -> Response:
        if wait is not None:
            try:
                # Over gRPC: a wait holds a thread, and those of this process's pool commit turns.
                await self._client.wait_for_orchestration_completion(instance_id, timeout=max(wait, 0.001), fetch_payloads=False)
            except TimeoutError:
                pass
            else:
                state = await self.find(instance_id)
                if state is not None and state.orchestrationStatus == pb.ORCHESTRATION_STATUS_COMPLETED:
                    return views.answer(views.load(state.output.value if state.HasField("output") else None))
                if state is not None and state.orchestrationStatus not in _RUNNING:
                    return views.answer(views.status_of(state, show_input=True))
        urls = self._bridge.management_urls(instance_id)
        return views.answer(urls, 202, {"location": urls["statusQueryGetUri"], "retry-after": "10"})

    # --- reading ------------------------------------------------------------------------------------------------

    async def find(self, instance_id: str) -> Any | None:
        """The backend's state, or None."""
        found = await self._hub.call("GetInstance", pb.GetInstanceRequest(instanceId=instance_id, getInputsAndOutputs=True))
        return found.orchestrationState if found.exists else None

    async def status(self, call: Call, instance_id: str) -> Response:
        query = call.query
        show_input, show_history = query.boolean("showInput", True), query.boolean("showHistory", False)
        show_output, fail = query.boolean("showHistoryOutput", False), query.boolean("returnInternalServerErrorOnFailure", False)
        state = await self.find(instance_id)
        if state is None:
            return Response(status_code=404)
        content = views.status_of(state, show_input=show_input)
        if show_history and state.orchestrationStatus != pb.ORCHESTRATION_STATUS_PENDING:
            try:
                chunks = await self._hub.stream("StreamInstanceHistory", pb.StreamInstanceHistoryRequest(instanceId=instance_id))
            except Refused:
                return Response(status_code=404)  # purged since
            content["historyEvents"] = history_events((event for chunk in chunks for event in chunk.events), show_input=show_input,
                                                      show_output=show_output)
        if state.orchestrationStatus in _RUNNING:
            return views.answer(content, 202, {"location": call.url, "retry-after": "5"})
        return views.answer(content, 500 if fail and state.orchestrationStatus == pb.ORCHESTRATION_STATUS_FAILED else 200)

    async def list(self, call: Call) -> Response:
        query = call.query
        asked = pb.InstanceQuery(runtimeStatus=query.statuses(), maxInstanceCount=query.page_size(), fetchInputsAndOutputs=True)
        if created_from := query.time("createdTimeFrom"):
            asked.createdTimeFrom.CopyFrom(filters.timestamp(created_from))
        if created_to := query.time("createdTimeTo"):
            asked.createdTimeTo.CopyFrom(filters.just_after(created_to))
        if prefix := query.text("instanceIdPrefix"):
            asked.instanceIdPrefix.value = prefix
        if token := filters.continuation(call.headers.get("x-ms-continuation-token")):
            asked.continuationToken.value = token
        show_input = query.boolean("showInput", True)
        found = await self._hub.call("QueryInstances", pb.QueryInstancesRequest(query=asked))
        headers = {"x-ms-continuation-token": filters.opaque(found.continuationToken.value)} if found.continuationToken.value else {}
        return views.answer([views.status_of(state, show_input=show_input) for state in found.orchestrationState], 200, headers)

    # --- purging ------------------------------------------------------------------------------------------------

    async def purge(self, instance_id: str) -> Response:
        """404 for an unknown instance; one that still runs is left alone and counts as none."""
        if await self.find(instance_id) is None:
            return Response(status_code=404)
        request = pb.PurgeInstancesRequest(instanceId=instance_id, recursive=True, isOrchestration=True)
        done = await self._hub.call("PurgeInstances", request)
        return views.answer({"instancesDeleted": done.deletedInstanceCount})

    async def purge_all(self, call: Call) -> Response:
        created_from, created_to = call.query.time("createdTimeFrom"), call.query.time("createdTimeTo")
        if created_from is None:
            raise BadRequest("Please provide value for 'createdTimeFrom' parameter.")
        chosen = pb.PurgeInstanceFilter(createdTimeFrom=filters.timestamp(created_from), runtimeStatus=call.query.statuses())
        if created_to is not None:
            chosen.createdTimeTo.CopyFrom(filters.just_after(created_to))
        done = await self._hub.call("PurgeInstances", pb.PurgeInstancesRequest(purgeInstanceFilter=chosen, isOrchestration=True))
        return views.answer({"instancesDeleted": done.deletedInstanceCount}) if done.deletedInstanceCount else Response(status_code=404)

    # --- operations on one ----------------------------------------------------------------------------------------

    async def raise_event(self, call: Call, instance_id: str, name: str) -> Response:
        if (gone := await self._not_running(instance_id)) is not None:
            return gone
        if call.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            raise BadRequest("Only application/json request content is supported")
        request = pb.RaiseEventRequest(instanceId=instance_id, name=name)
        if (text := filters.json_body(call.body)) is not None:
            request.input.value = text
        return await self._accept("RaiseEvent", request)

    async def operate(self, call: Call, instance_id: str, operation: str) -> Response:
        """terminate, suspend, resume, rewind or restart; 404 for another."""
        reason = call.query.text("reason")
        text = wrappers_pb2.StringValue(value=reason) if reason is not None else None
        if operation == "restart":
            return await self._restart(call, instance_id)
        if operation == "rewind":
            return await self._rewind(instance_id, text)
        if operation not in ("terminate", "suspend", "resume"):
            return Response(status_code=404)
        recursive = call.query.boolean("recursive", True)
        if (gone := await self._not_running(instance_id)) is not None:
            return gone
        if operation == "terminate":
            # As the client library does it: the output is JSON, so the reason is a JSON string.
            output = wrappers_pb2.StringValue(value=views.quoted(reason)) if reason is not None else None
            return await self._accept("TerminateInstance", pb.TerminateRequest(instanceId=instance_id, output=output, recursive=recursive))
        kind = pb.SuspendRequest if operation == "suspend" else pb.ResumeRequest
        return await self._accept(f"{operation.capitalize()}Instance", kind(instanceId=instance_id, reason=text))

    async def _rewind(self, instance_id: str, reason: wrappers_pb2.StringValue | None) -> Response:
        state = await self.find(instance_id)
        if state is None:
            return Response(status_code=404)
        if state.orchestrationStatus in _RUNNING:
            raise BadRequest(f"The instance '{instance_id}' has not failed: only a failed instance can be rewound.")
        if state.orchestrationStatus != pb.ORCHESTRATION_STATUS_FAILED:
            return Response(status_code=410)
        return await self._accept("RewindInstance", pb.RewindInstanceRequest(instanceId=instance_id, reason=reason))

    async def _restart(self, call: Call, instance_id: str) -> Response:
        """202 with the management URLs; 400 for an unknown id, as the extension answers; 409 when the id would be used again and runs."""
        new, wait = call.query.boolean("restartWithNewInstanceId", True), _wait(call.query)
        state = await self.find(instance_id)
        if state is None:
            raise BadRequest("InstanceId does not match a valid orchestration instance.")
        if state.orchestrationStatus in _RUNNING and not new:
            raise Conflict(f"An Orchestration instance with the ID {instance_id} already exists.")
        if state.orchestrationStatus in _RUNNING:
            # The backend restarts what has ended; the extension starts the same function anew beside one that runs.
            request = pb.CreateInstanceRequest(instanceId=self._bridge.new_id(), name=state.name)
            if state.HasField("input"):
                request.input.value = state.input.value
            await self._create(request)
            return await self._accepted(call, request.instanceId, wait)
        try:
            started = await self._hub.call("RestartInstance", pb.RestartInstanceRequest(
                instanceId=instance_id, restartWithNewInstanceId=new))
        except Refused as refused:
            raise Conflict(str(refused)) from refused
        return await self._accepted(call, started.instanceId, wait)

    async def _not_running(self, instance_id: str) -> Response | None:
        state = await self.find(instance_id)
        if state is None:
            return Response(status_code=404)
        return None if state.orchestrationStatus in _RUNNING else Response(status_code=410)

    async def _accept(self, method: str, request: Any) -> Response:
        try:
            await self._hub.call(method, request)
        except Refused as refused:
            # It changed between the look and the call.
            return Response(status_code=404 if refused.code == "NOT_FOUND" else 410)
        return Response(status_code=202)


class Conflict(BadRequest):
    """The instance's state is in the way: 409."""


def _wait(query: Query) -> float | None:
    """Seconds to wait for the result: only when both parameters are there, as in the extension."""
    timeout, interval = query.seconds("timeout"), query.seconds("pollingInterval")
    if timeout is None or interval is None:
        return None
    if interval > timeout:
        raise BadRequest(f"Total timeout {timeout:g} should be bigger than retry timeout {interval:g}")
    return timeout
