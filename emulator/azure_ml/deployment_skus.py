"""The ARM collection `onlineEndpoints/deployments/skus`: how far a deployment can be scaled, as autoscale rules ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from starlette.responses import Response

from emulator.azure_ml.deployment_settings import MOST_INSTANCES, autoscale_of
from emulator.azure_ml.errors import NotFound
from emulator.azure_ml.resource import PROVIDER, ArmRequest, Unsupported, json_response

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

_TYPE = f"{PROVIDER}/workspaces/onlineEndpoints/deployments"


class DeploymentSkus(Unsupported):
    fidelity: ClassVar[dict[str, str]] = {"list": "documented"}

    def __init__(self, azure_ml: AzureMl) -> None:
        self._store = azure_ml.store

    async def list(self, request: ArmRequest) -> Response:
        deployment = self._store.get(request.id.rpartition("/")[0])
        if deployment is None:
            raise NotFound(f"The Resource '{_TYPE}/{request.names[-1]}' was not found.")
        scale = autoscale_of(deployment["properties"]["scaleSettings"])
        capacity = {
            "default": 1,
            "minimum": scale.least if scale else 1,
            "maximum": scale.most if scale else MOST_INSTANCES,
            "scaleType": "Automatic" if scale else "Manual",
        }
        sku = {name: deployment["sku"][name] for name in ("name", "tier") if deployment["sku"].get(name)}
        return json_response({"value": [{"resourceType": _TYPE, "sku": sku, "capacity": capacity}]})
