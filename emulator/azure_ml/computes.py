"""Compute clusters: declared, never started; jobs here run on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from starlette.responses import Response

from emulator.azure_ml.errors import NotFound, ValidationError
from emulator.azure_ml.resource import PROVIDER, ArmRequest, ResourceType, Scope, Unsupported, json_response
from emulator.azure_ml.store import Resource

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

SEEDED = "cpu-cluster"
_ENVELOPE = ("location", "tags", "identity", "sku")
"""What a client says of a compute beside its properties."""


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    return {"computes": Computes(azure_ml)}


def seeds(scope: Scope) -> list[Resource]:
    """The one cluster every workspace of the platform has."""
    scale = {"minNodeCount": 0, "maxNodeCount": 1, "nodeIdleTimeBeforeScaleDown": "PT2M"}
    return [
        _resource(
            scope,
            SEEDED,
            {
                "computeType": "AmlCompute",
                "properties": {"vmSize": "STANDARD_DS3_V2", "scaleSettings": scale},
            },
        )
    ]


def _resource(scope: Scope, name: str, properties: Resource) -> Resource:
    return {
        "id": f"{scope.id}/computes/{name}",
        "name": name,
        "type": f"{PROVIDER}/workspaces/computes",
        "location": scope.location,
        "tags": {},
        "properties": {"provisioningState": "Succeeded", "computeLocation": scope.location, **properties},
    }


class Computes(Unsupported):
    fidelity: ClassVar[dict[str, str]] = dict.fromkeys(("get", "list", "put", "delete"), "documented")

    def __init__(self, azure_ml: AzureMl) -> None:
        self._store = azure_ml.store

    async def get(self, request: ArmRequest) -> Response:
        resource = self._store.get(request.id)
        if resource is None:
            raise NotFound(
                f"Compute with name {request.name} not found in {request.scope.name}.", code="ComputeNotFound"
            )
        return json_response(resource)

    async def list(self, request: ArmRequest) -> Response:
        return json_response({"value": self._store.children(request.id)})

    async def put(self, request: ArmRequest) -> Response:
        if not isinstance(request.properties.get("computeType"), str):
            raise ValidationError("A compute needs properties with a computeType, such as AmlCompute.")
        resource = _resource(request.scope, request.name, request.properties)
        resource |= {key: request.body[key] for key in _ENVELOPE if request.body.get(key) is not None}
        created = self._store.put(request.id, resource)
        return json_response(resource, status=201 if created else 200)

    async def delete(self, request: ArmRequest) -> Response:
        return Response(status_code=200 if self._store.delete(request.id) else 204)
