"""The ARM resource `batchEndpoints`: a name, the way callers sign in, and which deployment answers by default."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from starlette.responses import Response

from emulator.azure_ml import naming
from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.errors import BadRequest, Conflict, NotFound, OperationFailed
from emulator.azure_ml.listing import has
from emulator.azure_ml.regions import refuse_move, refuse_taken_name
from emulator.azure_ml.resource import PROVIDER, ArmRequest, Unsupported, json_response
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown, stamp

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

PUT, DELETE = "batchEndpoint.put", "batchEndpoint.delete"
TYPE = f"{PROVIDER}/workspaces/batchEndpoints"
DESIRED = "_desired"
"""What an update that still runs will apply."""


class BatchEndpoints(Unsupported):
    fidelity: ClassVar[dict[str, str]] = dict.fromkeys(("get", "list", "put", "patch", "delete"), "documented")

    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml
        self._store = azure_ml.store
        self._operations = azure_ml.operations
        self._operations.register(PUT, self._apply, self._put_failed)
        self._operations.register(DELETE, self._delete, self._delete_failed)

    async def get(self, request: ArmRequest) -> Response:
        return json_response(self._shown(self._existing(request)))

    async def list(self, request: ArmRequest) -> Response:
        items = self._store.children(request.id)
        found = [item for item in items if has(item.get("tags") or {}, request.query.get("tags"))]
        return json_response({"value": [self._shown(item) for item in found]})

    async def put(self, request: ArmRequest) -> Response:
        naming.check_endpoint(request.name)
        return self._begin(request, _desired(request))

    async def patch(self, request: ArmRequest) -> Response:
        """Change tags only, as Azure's update of a batch endpoint does."""
        old = self._existing(request)
        return self._begin(request, {"tags": fields.texts(request.body, "tags"), "properties": _kept(old)})

    async def delete(self, request: ArmRequest) -> Response:
        with self._store.transaction():
            if self._store.get(request.id) is None:
                return Response(status_code=204)
            self._refuse_overlap(request)
            for deployment in self._store.children(f"{request.id}/deployments"):
                if self._operations.in_progress(f"{request.id}/deployments/{deployment['name']}"):
                    raise Conflict(f"An operation on deployment {deployment['name']} is still in progress.")
            self._store.change(request.id, lambda found: found["properties"].update(provisioningState="Deleting"))
            operation = self._operations.begin(DELETE, request.id, {"id": request.id}, request.fail)
        return Response(status_code=202, headers=self._operations.response_headers(operation))

    def _begin(self, request: ArmRequest, desired: Resource) -> Response:
        with self._store.transaction():
            old = self._store.get(request.id)
            self._refuse_overlap(request)
            refuse_move(request, old)
            self._check_default(request.id, desired)
            if old is None:
                refuse_taken_name(request, self._azure_ml.scopes, self._store)
                resource = self._new(request, desired)
            else:
                resource = {**old, "properties": {**old["properties"], "provisioningState": "Updating"}}
            resource[DESIRED] = desired
            stamp(resource, request.caller, self._azure_ml.context.clock.now(), old)
            created = self._store.put(request.id, resource)
            operation = self._operations.begin(PUT, request.id, {"id": request.id}, request.fail)
        answer = self._shown({**resource, **desired, "properties": {**resource["properties"], **desired["properties"]}})
        return json_response(answer, 201 if created else 200, self._operations.response_headers(operation))

    async def _apply(self, payload: dict[str, Any]) -> Resource | None:
        with self._store.transaction():
            endpoint = self._store.get(payload["id"])
            if endpoint is None:
                raise OperationFailed("The endpoint was deleted.", code="ResourceNotFound")
            desired = endpoint.pop(DESIRED, None)
            if desired is not None:
                try:
                    self._check_default(payload["id"], desired)  # it may have gone since it was asked for
                except BadRequest as refusal:
                    raise OperationFailed(refusal.message, code=refusal.code) from refusal
                endpoint |= {**desired, "properties": {**endpoint["properties"], **desired["properties"]}}
            endpoint["properties"]["provisioningState"] = "Succeeded"
            self._store.put(payload["id"], endpoint)
        return self._shown(endpoint)

    def _put_failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        endpoint = self._store.get(payload["id"])
        if endpoint is not None:
            endpoint.pop(DESIRED, None)
            endpoint["properties"]["provisioningState"] = "Failed"
            self._store.put(payload["id"], endpoint)

    async def _delete(self, payload: dict[str, Any]) -> None:
        """With its deployments. Jobs go on: they have all that they need."""
        self._store.delete(payload["id"])

    def _delete_failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        if self._store.get(payload["id"]) is not None:
            self._store.change(payload["id"], lambda found: found["properties"].update(provisioningState="Failed"))

    def _check_default(self, endpoint_id: str, desired: Resource) -> None:
        name = desired["properties"]["defaults"].get("deploymentName")
        if name and self._store.get(f"{endpoint_id}/deployments/{name}") is None:
            raise BadRequest(f"The default deployment {name!r} is not a deployment of the endpoint.")

    def _refuse_overlap(self, request: ArmRequest) -> None:
        if self._operations.in_progress(request.id):
            raise Conflict(f"Another operation on endpoint {request.name} is still in progress: wait for it to end.")

    def _new(self, request: ArmRequest, desired: Resource) -> Resource:
        return {
            "id": request.id,
            "name": request.name,
            "type": TYPE,
            "location": request.scope.location,
            "identity": {
                "type": "SystemAssigned",
                "tenantId": self._azure_ml.context.config.tenant,
                "principalId": str(uuid.uuid5(uuid.NAMESPACE_URL, request.id.lower())),
            },
            **desired,
            "properties": {**desired["properties"], "defaults": {}, "provisioningState": "Creating"},
        }

    def _existing(self, request: ArmRequest) -> Resource:
        endpoint = self._store.get(request.id)
        if endpoint is None:
            raise NotFound(f"The Resource '{TYPE}/{request.name}' was not found.")
        return endpoint

    def _shown(self, endpoint: Resource) -> Resource:
        """With its URL, made when asked for: the platform's port may be another after a restart."""
        answer = shown(endpoint)
        uri = f"{self._azure_ml.context.base_url}/batch/{endpoint['name']}/jobs"
        answer["properties"] = {**answer["properties"], "scoringUri": uri}
        return answer


def _desired(request: ArmRequest) -> Resource:
    """The parts of a PUT that an update may change. Batch endpoints take Microsoft Entra tokens only."""
    properties = request.properties
    fields.choice(properties, "authMode", "AADToken", ("AADToken",))
    name = fields.text(fields.mapping(properties, "defaults"), "deploymentName", "defaults.")
    return {
        "tags": fields.texts(request.body, "tags"),
        "properties": {
            "authMode": "AADToken",
            "description": fields.text(properties, "description"),
            "defaults": {"deploymentName": name} if name else {},
            "properties": fields.texts(properties, "properties"),
        },
    }


def _kept(endpoint: Resource) -> Resource:
    return {name: endpoint["properties"].get(name) for name in ("authMode", "description", "defaults", "properties")}
