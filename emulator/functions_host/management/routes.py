"""From a path and a method to an operation, in the order of the extension's HttpApiHandler."""

from __future__ import annotations

from urllib.parse import unquote

from durabletask.client import AsyncTaskHubGrpcClient
from starlette.requests import Request
from starlette.responses import Response

from emulator.functions_host.durable import DurableBridge
from emulator.functions_host.in_process import Hub
from emulator.functions_host.management import views
from emulator.functions_host.management.entities import Entities
from emulator.functions_host.management.filters import BadRequest, Query
from emulator.functions_host.management.instances import Call, Conflict, Instances
from emulator.functions_host.urls import raw_path, raw_url

ROOT = "/runtime/webhooks/durabletask"


class Management:
    def __init__(self, bridge: DurableBridge, hub: Hub, client: AsyncTaskHubGrpcClient) -> None:
        self._instances, self._entities = Instances(bridge, hub, client), Entities(bridge, hub)
        self._task_hub = bridge.hub

    async def handle(self, request: Request) -> Response:
        """The caller has checked the key."""
        # The raw path: an id may hold an encoded slash, and an encoded question mark ends no path.
        segments = [unquote(segment) for segment in raw_path(request)[len(ROOT):].strip("/").split("/")]
        call = Call(request.method, raw_url(request), Query(request.query_params.multi_items()), request.headers, await request.body())
        try:
            hub = call.query.text("taskHub")
            if hub is not None and hub.lower() != self._task_hub.lower():
                raise BadRequest(f"The task hub '{hub}' is not on this machine: this app's is '{self._task_hub}'.")
            return await self._route(call, segments)
        except Conflict as conflict:
            return views.error(409, str(conflict))
        except BadRequest as bad:
            return views.error(400, str(bad))

    async def _route(self, call: Call, segments: list[str]) -> Response:
        controller, *rest = segments
        match controller.lower(), call.method, rest:
            case "orchestrators", "POST", [name] | [name, ""] if name:
                return await self._instances.start(call, name, "")
            case "orchestrators", "POST", [name, instance_id] if name:
                return await self._instances.start(call, name, instance_id)
            case "entities", "GET", [] | [_]:
                return await self._entities.list(call, rest[0] if rest else "")
            case "entities", "GET", [name, key] if name and key:
                return await self._entities.get(name, key)
            case "entities", "POST" | "DELETE", [name] | [name, _] if name:
                return await self._entities.signal(call, name, rest[1] if len(rest) > 1 else "")
            case "instances", "GET", []:
                return await self._instances.list(call)
            case "instances", "DELETE", []:
                return await self._instances.purge_all(call)
            case "instances", "GET", [instance_id] if instance_id:
                return await self._instances.status(call, instance_id)
            case "instances", "DELETE", [instance_id] if instance_id:
                return await self._instances.purge(instance_id)
            case "instances", "POST", [instance_id, operation] if instance_id:
                return await self._instances.operate(call, instance_id, operation.lower())
            case "instances", "POST", [instance_id, operation, name] if instance_id and operation.lower() == "raiseevent" and name:
                return await self._instances.raise_event(call, instance_id, name)
            case "makeprimary", "POST", []:
                return Response(status_code=200)  # one host: it always has the lease
        return Response(status_code=404)
