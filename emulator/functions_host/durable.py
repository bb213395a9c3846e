"""Between the durable backend and the app: work items go to its functions, answers come back."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import threading
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any
from urllib.parse import quote

import durabletask.internal.helpers as helpers
import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.entities import EntityInstanceId
from google.protobuf import wrappers_pb2

from emulator.durable import SqliteBackend
from emulator.errors import EmulatorError
from emulator.functions_host.in_process import InProcess
from emulator.functions_host.protos import TypedData
from emulator.functions_host.runtime import AppRuntime, Function, InvocationFailed
from emulator.functions_host.settings import InvalidSettings, number, resolve
from emulator.functions_host.versions import Versions

log = logging.getLogger("emulator.durable")


class DurableBridge:
    def __init__(self, runtime: AppRuntime, backend: SqliteBackend, base_url: str, key: str) -> None:
        self._runtime, self._backend, self.base_url, self._key = runtime, backend, base_url, key
        settings = runtime.extension("durableTask")
        self.hub = resolve(str(settings.get("hubName", "TestHubName")))
        provider = settings.get("storageProvider") or {}
        self._connection = str(provider.get("connectionName") or provider.get("connectionStringName") or "Storage")
        self.versions = Versions(settings)
        self.replaceable = _replaceable(settings)
        """Statuses in which an id can be started again (over HTTP)."""
        # The documented default is ten times the processors for activities and orchestrators; a laptop is given twenty of each.
        self._activities_at_once = asyncio.Semaphore(number(settings, "maxConcurrentActivityFunctions", 20))
        self._orchestrators_at_once = asyncio.Semaphore(number(settings, "maxConcurrentOrchestratorFunctions", 20))
        self._entities_at_once = asyncio.Semaphore(number(settings, "maxConcurrentEntityFunctions", 20))
        self._orchestrators = self._by_name("orchestrationTrigger", "orchestration")
        self._activities = self._by_name("activityTrigger", "activity")
        self._entities = self._by_name("entityTrigger", "entityName")
        self._context = InProcess()
        self._tasks: set[asyncio.Task[None]] = set()
        self._address = ""

    def _by_name(self, trigger: str, field: str) -> dict[str, Function]:
        return {str(f.trigger.get(field) or f.name).lower(): f for f in self._runtime.of_type(trigger)}

    @property
    def has_functions(self) -> bool:
        return bool(self._orchestrators or self._activities or self._entities)

    def has_orchestrator(self, name: str) -> bool:
        return name.lower() in self._orchestrators

    def has_entity(self, name: str) -> bool:
        return name.lower() in self._entities

    def new_id(self) -> str:
        """An instance id as the extension makes them: a GUID without dashes."""
        return uuid.uuid4().hex

    def now(self) -> datetime:
        """The task hub's time."""
        return self._backend.clock.now()

    def start(self, address: str) -> None:
        self._address = address
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._receive, daemon=True, name="work-items").start()

    async def drain(self, seconds: float) -> None:
        """Give what is under way a moment; what does not make it is run again at the next start."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    def _receive(self) -> None:
        for item in self._backend.GetWorkItems(pb.GetWorkItemsRequest(), self._context):
            self._loop.call_soon_threadsafe(self._spawn, item)

    def _spawn(self, item: pb.WorkItem) -> None:
        task = self._loop.create_task(self._handle(item))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _handle(self, item: pb.WorkItem) -> None:
        kind = item.WhichOneof("request")
        try:
            if kind == "orchestratorRequest":
                async with self._orchestrators_at_once:
                    await self._orchestrate(item.orchestratorRequest, item.completionToken)
            elif kind == "activityRequest":
                async with self._activities_at_once:
                    await self._act(item.activityRequest, item.completionToken)
            elif kind in ("entityRequest", "entityRequestV2"):
                async with self._entities_at_once:
                    await self._serve_entity(getattr(item, kind), item.completionToken)
        except Exception:
            log.exception("a work item could not be handled")

    async def _complete(self, method: Callable[..., Any], answer: Any) -> None:
        # A thread: the commit waits for the disk, and the event loop must not.
        await asyncio.to_thread(method, answer, self._context)

    async def _call(self, function: Function, message: Any) -> bytes:
        encoded = base64.b64encode(message.SerializeToString()).decode()
        answer = await self._runtime.invoke(function, {function.trigger["name"]: TypedData(string=encoded)})
        return base64.b64decode(answer.return_value.string)

    async def _orchestrate(self, request: pb.OrchestratorRequest, token: str) -> None:
        started = next(e for e in [*request.newEvents, *request.pastEvents] if e.HasField("executionStarted"))
        name, version = started.executionStarted.name, started.executionStarted.version.value
        mismatch = self.versions.mismatch(version)
        if mismatch and not self.versions.fails:
            # Rejected: it stays as it is, for a host of its version. This host's version changes with a restart only, and so it is
            # held until then: giving it back now would bring it back at once, for ever.
            log.warning("%s (%s) is left alone: %s", request.instanceId, name, mismatch)
            return
        try:
            if mismatch:
                raise VersionMismatch(mismatch)
            answer = pb.OrchestratorResponse.FromString(await self._call(_find(self._orchestrators, name, "orchestrator"), request))
        except Exception as error:
            answer = pb.OrchestratorResponse(actions=[
                helpers.new_complete_orchestration_action(-1, pb.ORCHESTRATION_STATUS_FAILED, "", _details(error))])
        if self.versions.default is not None:
            for action in answer.actions:
                # defaultVersion is for sub-orchestrations too (durable-functions-orchestration-versioning).
                if action.HasField("createSubOrchestration") and not action.createSubOrchestration.HasField("version"):
                    action.createSubOrchestration.version.value = self.versions.default
        answer.instanceId, answer.completionToken = request.instanceId, token
        await self._complete(self._backend.CompleteOrchestratorTask, answer)

    async def _act(self, request: pb.ActivityRequest, token: str) -> None:
        instance = request.orchestrationInstance.instanceId
        answer = pb.ActivityResponse(instanceId=instance, taskId=request.taskId, completionToken=token)
        try:
            function = _find(self._activities, request.name, "activity")
            inputs = {function.trigger["name"]: TypedData(json=request.input.value or "null"), **self.clients(function)}
            result = await self._runtime.invoke(function, inputs, {"instanceId": TypedData(string=instance)})
            if result.return_value is not None:
                answer.result.value = getattr(result.return_value, result.return_value.WhichOneof("data"))
        except Exception as error:
            answer.failureDetails.CopyFrom(_details(error))
        await self._complete(self._backend.CompleteActivityTask, answer)

    async def _serve_entity(self, request: Any, token: str) -> None:
        infos: list[Any] = []
        if isinstance(request, pb.EntityRequest):
            request, infos = helpers.convert_to_entity_batch_request(request)
        try:
            function = _find(self._entities, EntityInstanceId.parse(request.instanceId).entity, "entity")
            answer = pb.EntityBatchResult.FromString(await self._call(function, request))
        except Exception as error:
            failed = pb.OperationResult(failure=pb.OperationResultFailure(failureDetails=_details(error)))
            answer = pb.EntityBatchResult(results=[failed] * len(request.operations), entityState=request.entityState)
        answer.completionToken = token
        del answer.operationInfos[:]
        answer.operationInfos.extend(infos)
        await self._complete(self._backend.CompleteEntityTask, answer)

    # --- the durable client's binding ---------------------------------------------------------------------

    def clients(self, function: Function) -> dict[str, TypedData]:
        """Values for the function's durable client parameters."""
        return {name: TypedData(string=self.client_configuration()) for name in function.durable_clients}

    def management_urls(self, instance_id: str = "INSTANCEID") -> dict[str, str]:
        """URLs with INSTANCEID in the place of the instance's id, or for an instance."""
        query = self.query()
        instance = f"{self.base_url}/runtime/webhooks/durabletask/instances/{quote(instance_id, safe='')}"
        return {
            "id": instance_id, "statusQueryGetUri": f"{instance}?{query}",
            "sendEventPostUri": f"{instance}/raiseEvent/{{eventName}}?{query}",
            "terminatePostUri": f"{instance}/terminate?reason={{text}}&{query}",
            "rewindPostUri": f"{instance}/rewind?reason={{text}}&{query}",
            "purgeHistoryDeleteUri": f"{instance}?{query}", "restartPostUri": f"{instance}/restart?{query}",
            "suspendPostUri": f"{instance}/suspend?reason={{text}}&{query}",
            "resumePostUri": f"{instance}/resume?reason={{text}}&{query}",
        }

    def query(self) -> str:
        return f"taskHub={quote(self.hub, safe='')}&connection={quote(self._connection, safe='')}&code={self._key}"

    def client_configuration(self) -> str:
        base = f"{self.base_url}/runtime/webhooks/durabletask"
        return json.dumps({
            "taskHubName": self.hub, "connectionName": self._connection,
            "creationUrls": {"createNewInstancePostUri": f"{base}/orchestrators/{{functionName}}[/{{instanceId}}]?{self.query()}"},
            "managementUrls": self.management_urls(), "baseUrl": base, "httpBaseUrl": base,
            "requiredQueryStringParameters": self.query(), "rpcBaseUrl": f"http://{self._address}", "useForwardedHost": False,
            "maxGrpcMessageSizeInBytes": 2147483647, "grpcHttpClientTimeout": "00:01:40"})


_ENDED = (pb.ORCHESTRATION_STATUS_COMPLETED, pb.ORCHESTRATION_STATUS_FAILED, pb.ORCHESTRATION_STATUS_TERMINATED,
          pb.ORCHESTRATION_STATUS_CANCELED)


class VersionMismatch(EmulatorError):
    """The instance's version is not one that this app runs."""


def _replaceable(settings: dict[str, Any]) -> list[pb.OrchestrationStatus]:
    """overridableExistingInstanceStates: by default the statuses of instances that have ended. Raises InvalidSettings."""
    states = settings.get("overridableExistingInstanceStates", "NonRunningStates")
    if states not in ("NonRunningStates", "AnyState"):
        raise InvalidSettings(f"host.json: 'overridableExistingInstanceStates' must be NonRunningStates or AnyState, it is {states!r}")
    return list(pb.OrchestrationStatus.values()) if states == "AnyState" else list(_ENDED)


def _find(functions: dict[str, Function], name: str, kind: str) -> Function:
    try:
        return functions[name.lower()]
    except KeyError:
        raise LookupError(f"The {kind} function '{name}' doesn't exist, is disabled, or is not an {kind} function") from None


def _details(error: Exception) -> pb.TaskFailureDetails:
    if isinstance(error, InvocationFailed):
        return pb.TaskFailureDetails(errorType=error.kind, errorMessage=error.text, stackTrace=wrappers_pb2.StringValue(value=error.stack))
    return pb.TaskFailureDetails(errorType=type(error).__name__, errorMessage=str(error), isNonRetriable=isinstance(error, LookupError))
