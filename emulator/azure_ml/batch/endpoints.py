"""The ARM resource `batchEndpoints`: a name, the way callers sign in, and which deployment answers by default."""

from __future__ import annotations

import uuid
from typing import ClassVar

from starlette.responses import Response

from emulator.azure_ml import naming
from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.errors import BadRequest
from emulator.azure_ml.provisioning import Endpoints
from emulator.azure_ml.regions import refuse_move
from emulator.azure_ml.resource import PROVIDER, ArmRequest
from emulator.azure_ml.store import Resource


class BatchEndpoints(Endpoints):
    """One that is deleted goes with its deployments. Its jobs go on: they have all that they need."""

    TYPE = f"{PROVIDER}/workspaces/batchEndpoints"
    PUT, DELETE = "batchEndpoint.put", "batchEndpoint.delete"
    fidelity: ClassVar[dict[str, str]] = dict.fromkeys(("get", "list", "put", "patch", "delete"), "documented")

    async def put(self, request: ArmRequest) -> Response:
        naming.check_endpoint(request.name)
        return self._begin(request, _desired(request))

    async def patch(self, request: ArmRequest) -> Response:
        """Change tags only, as Azure's update of a batch endpoint does."""
        old = self._existing(request)
        tags = fields.texts(request.body, "tags") if "tags" in request.body else old["tags"]
        return self._begin(request, {"tags": tags, "properties": _kept(old)})

    def _refuse(self, request: ArmRequest, desired: Resource, old: Resource | None) -> None:
        refuse_move(request, old)
        self._check_deployments(request.id, desired)

    def _check_deployments(self, endpoint_id: str, desired: Resource) -> None:
        name = desired["properties"]["defaults"].get("deploymentName")
        if name and self._store.get(f"{endpoint_id}/deployments/{name}") is None:
            raise BadRequest(f"The default deployment {name!r} is not a deployment of the endpoint.")

    def _new(self, request: ArmRequest, desired: Resource) -> Resource:
        return {
            "id": request.id,
            "name": request.name,
            "type": self.TYPE,
            "location": request.scope.location,
            "identity": {
                "type": "SystemAssigned",
                "tenantId": self._azure_ml.context.config.tenant,
                "principalId": str(uuid.uuid5(uuid.NAMESPACE_URL, request.id.lower())),
            },
            **desired,
            "properties": {**desired["properties"], "defaults": {}, "provisioningState": "Creating"},
        }

    def _shown(self, endpoint: Resource) -> Resource:
        """With its URL, made when asked for: the platform's port may be another after a restart."""
        answer = super()._shown(endpoint)
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
