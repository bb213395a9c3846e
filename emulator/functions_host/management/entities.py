"""Entities: read one, list, signal. An entity without state doesn't exist."""

from __future__ import annotations

import json
import uuid
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from starlette.responses import Response

from emulator.functions_host.durable import DurableBridge
from emulator.functions_host.in_process import Hub
from emulator.functions_host.management import filters, views
from emulator.functions_host.management.filters import BadRequest
from emulator.functions_host.management.instances import Call

_NO_KEY = "$"
"""Stands for the empty key in a path (HttpApiHandler.cs, EmptyEntityKeySymbol)."""


class Entities:
    def __init__(self, bridge: DurableBridge, hub: Hub) -> None:
        self._bridge, self._hub = bridge, hub

    async def get(self, name: str, key: str) -> Response:
        found = await self._hub.call("GetEntity", pb.GetEntityRequest(instanceId=_id(name, key), includeState=True))
        if not found.exists or not found.entity.HasField("serializedState"):
            return Response(status_code=404)
        return views.answer(views.load(found.entity.serializedState.value))

    async def list(self, call: Call, name: str) -> Response:
        query = call.query
        asked = pb.EntityQuery(includeState=True, includeTransient=False)
        size = query.page_size()
        asked.instanceIdStartsWith.value = f"@{_name(name)}@" if name else "@"
        if since := query.time("lastOperationTimeFrom"):
            asked.lastModifiedFrom.CopyFrom(filters.timestamp(since))
        if until := query.time("lastOperationTimeTo"):
            asked.lastModifiedTo.CopyFrom(filters.just_after(until))
        if token := filters.continuation(call.headers.get("x-ms-continuation-token")):
            asked.continuationToken.value = token
        fetch = query.boolean("fetchState", False)
        listed: list[dict[str, Any]] = []
        while True:
            asked.pageSize.value = size - len(listed)
            found = await self._hub.call("QueryEntities", pb.QueryEntitiesRequest(query=asked))
            listed += [views.entity_of(entity, fetch_state=fetch) for entity in found.entities if entity.HasField("serializedState")]
            token = found.continuationToken.value
            if not token or len(listed) >= size:
                break
            asked.continuationToken.value = token  # entities without state took places of the page
        return views.answer(listed, 200, {"x-ms-continuation-token": filters.opaque(token)} if token else {})

    async def signal(self, call: Call, name: str, key: str) -> Response:
        """POST with `?op=`, or DELETE, which is the operation `delete`. 400 for an entity that the app doesn't have."""
        if not self._bridge.has_entity(name):
            raise BadRequest(f"The function '{name}' doesn't exist, is disabled, or is not an entity function.")
        operation = "delete" if call.method == "DELETE" else call.query.text("op") or ""
        request = pb.SignalEntityRequest(instanceId=_id(name, key), name=operation, requestId=str(uuid.uuid4()))
        request.requestTime.CopyFrom(filters.timestamp(self._bridge.now()))
        if call.body:
            request.input.value = _input(call)
        await self._hub.call("SignalEntity", request)
        return Response(status_code=202)


def _input(call: Call) -> str:
    """JSON as it is; other content is a string."""
    if call.headers.get("content-type", "").split(";")[0].strip().lower() == "application/json":
        return filters.json_body(call.body) or "null"
    return json.dumps(call.body.decode(errors="replace"))


def _name(name: str) -> str:
    if "@" in name:
        raise BadRequest("entity names may not contain '@' characters.")
    return name.lower()


def _id(name: str, key: str) -> str:
    return f"@{_name(name)}@{'' if key == _NO_KEY else key}"
