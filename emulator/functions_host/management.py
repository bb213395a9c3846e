"""The durable management API (`/runtime/webhooks/durabletask/...`), as the extension documents it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from durabletask.client import AsyncTaskHubGrpcClient, OrchestrationState, OrchestrationStatus
from durabletask.entities import EntityInstanceId
from starlette.responses import JSONResponse, Response

from emulator.functions_host.durable import DurableBridge

_DONE = {OrchestrationStatus.COMPLETED, OrchestrationStatus.FAILED, OrchestrationStatus.TERMINATED}


class Management:
    def __init__(self, bridge: DurableBridge, client: AsyncTaskHubGrpcClient) -> None:
        self._bridge, self._client = bridge, client

    async def handle(self, method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> Response:
        """`path` is what follows `/runtime/webhooks/durabletask`."""
        if match := re.fullmatch(r"/orchestrators/([^/]+)(?:/([^/]+))?", path):
            return await self._start(match[1], match[2], body) if method == "POST" else Response(status_code=405)
        if match := re.fullmatch(r"/entities/([^/]+)/([^/]+)", path):
            return await self._entity(method, EntityInstanceId(match[1], match[2]), query, body)
        if path.rstrip("/") == "/instances":
            return await self._list(query) if method == "GET" else Response(status_code=405)
        if match := re.fullmatch(r"/instances/([^/]+)(?:/(\w+)(?:/([^/]+))?)?", path):
            return await self._instance(method, match[1], (match[2] or "").lower(), match[3], query, headers, body)
        return Response(status_code=404)

    async def _start(self, name: str, instance_id: str | None, body: bytes) -> Response:
        started = await self._client.schedule_new_orchestration(name, input=json.loads(body) if body else None, instance_id=instance_id)
        urls = {key: url.replace("INSTANCEID", started) for key, url in self._bridge.management_urls().items()}
        return JSONResponse(urls, 202, headers={"location": urls["statusQueryGetUri"], "retry-after": "10"})

    async def _list(self, query: Mapping[str, str]) -> Response:
        wanted = {status.strip().lower() for status in query.get("runtimeStatus", "").split(",") if status}
        prefix = query.get("instanceIdPrefix", "")
        states = [state for state in await self._client.get_all_orchestration_states()
                  if state.instance_id.startswith(prefix) and (not wanted or _status(state).lower() in wanted)]
        return JSONResponse([_payload(state, query) for state in states])

    async def _entity(self, method: str, entity: EntityInstanceId, query: Mapping[str, str], body: bytes) -> Response:
        if method == "GET":
            found = await self._client.get_entity(entity, include_state=True)
            return Response(status_code=404) if found is None else JSONResponse(_load(found.get_state()))
        if method != "POST":
            return Response(status_code=405)
        await self._client.signal_entity(entity, query.get("op", ""), input=json.loads(body) if body else None)
        return Response(status_code=202)

    async def _instance(self, method: str, instance_id: str, operation: str, argument: str | None, query: Mapping[str, str],
                        headers: Mapping[str, str], body: bytes) -> Response:
        state = await self._client.get_orchestration_state(instance_id, fetch_payloads=True)
        if state is None:
            return Response(status_code=404)
        if not operation:
            return await self._status(state, query) if method == "GET" else await self._purge(method, instance_id)
        if method != "POST":
            return Response(status_code=405)
        if operation == "restart":
            new = query.get("restartWithNewInstanceId", "true").lower() != "false"
            return JSONResponse({"id": await self._client.restart_orchestration(instance_id, restart_with_new_instance_id=new)}, 202)
        if operation == "rewind":
            if state.runtime_status is not OrchestrationStatus.FAILED:
                return Response(status_code=410)
            await self._client.rewind_orchestration(instance_id, reason=query.get("reason", ""))
            return Response(status_code=202)
        if state.runtime_status in _DONE:
            return Response(status_code=410)
        if operation == "raiseevent":
            if not headers.get("content-type", "").startswith("application/json"):
                return Response("Only application/json request content is supported", status_code=400)
            await self._client.raise_orchestration_event(instance_id, argument or "", data=json.loads(body) if body else None)
        elif operation == "terminate":
            await self._client.terminate_orchestration(instance_id, output=query.get("reason"))
        elif operation == "suspend":
            await self._client.suspend_orchestration(instance_id)
        elif operation == "resume":
            await self._client.resume_orchestration(instance_id)
        else:
            return Response(status_code=404)
        return Response(status_code=202)

    async def _status(self, state: OrchestrationState, query: Mapping[str, str]) -> Response:
        payload = _payload(state, query)
        if query.get("showHistory", "").lower() == "true":
            payload["historyEvents"] = [
                {"EventType": type(event).__name__, **{name: str(value) for name, value in vars(event).items()}}
                for event in await self._client.get_orchestration_history(state.instance_id)]
        if state.runtime_status not in _DONE:
            location = self._bridge.management_urls()["statusQueryGetUri"].replace("INSTANCEID", state.instance_id)
            return JSONResponse(payload, 202, headers={"location": location, "retry-after": "5"})
        wants_500 = query.get("returnInternalServerErrorOnFailure", "").lower() == "true"
        return JSONResponse(payload, 500 if wants_500 and state.runtime_status is OrchestrationStatus.FAILED else 200)

    async def _purge(self, method: str, instance_id: str) -> Response:
        if method != "DELETE":
            return Response(status_code=405)
        purged = await self._client.purge_orchestration(instance_id)
        return JSONResponse({"instancesDeleted": purged.deleted_instance_count})


def _status(state: OrchestrationState) -> str:
    name = state.runtime_status.name
    return "ContinuedAsNew" if name == "CONTINUED_AS_NEW" else name.capitalize()


def _payload(state: OrchestrationState, query: Mapping[str, str]) -> dict[str, Any]:
    output = _load(state.serialized_output)
    if output is None and state.failure_details is not None:
        output = f"{state.failure_details.error_type}: {state.failure_details.message}"
    return {
        "name": state.name, "instanceId": state.instance_id, "runtimeStatus": _status(state),
        "input": None if query.get("showInput", "").lower() == "false" else _load(state.serialized_input),
        "customStatus": _load(state.serialized_custom_status), "output": output,
        "createdTime": _time(state.created_at), "lastUpdatedTime": _time(state.last_updated_at)}


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _load(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
