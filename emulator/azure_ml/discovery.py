"""How the SDK finds its way: cloud metadata, a registry's home, a workspace's services."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from emulator.azure_ml.errors import AzureMlError, error_response
from emulator.azure_ml.resource import ArmRequest, ResourceType, Unsupported, json_response

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

CLOUD = "PilotageLocal"
"""Not a built-in cloud's name, or the SDK would use that cloud's endpoints."""


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    return {"": Home(azure_ml)}


def routes(azure_ml: AzureMl) -> list[BaseRoute]:
    answers = _Discovery(azure_ml)
    return [
        Route("/metadata/endpoints", answers.metadata, methods=["GET"]),
        Route("/registrymanagement/v1.0/registries/{registry}/discovery", answers.registry, methods=["GET"]),
        Route("/discovery/workspaces/{guid}", answers.workspace, methods=["GET"]),
    ]


class Home(Unsupported):
    """A workspace or registry itself; a registry's actions are in `registries.py`."""

    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml

    async def get(self, request: ArmRequest) -> Response:
        return json_response(self._azure_ml.scopes.resource(request.scope))

    async def post(self, request: ArmRequest) -> Response:
        if request.scope.is_registry and request.action == "import":
            return await self._azure_ml.registries.import_asset(request)
        return await super().post(request)


class _Discovery:
    """Answers that need no token, as in Azure."""

    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml
        self._base_url = azure_ml.context.base_url

    async def metadata(self, request: Request) -> Response:
        """The shape of api-version 2019-05-01; `portal` is Azure's: the SDK derives its audience from it."""
        return json_response(
            {
                "name": CLOUD,
                "portal": "https://portal.azure.com",
                "resourceManager": f"{self._base_url}/",
                "authentication": {
                    "loginEndpoint": f"{self._base_url}/",
                    "audiences": ["https://management.core.windows.net/", "https://management.azure.com/"],
                    "tenant": "common",
                    "identityProvider": "AAD",
                },
                "suffixes": {"storage": "core.windows.net", "keyVaultDns": "vault.azure.net"},
            }
        )

    async def registry(self, request: Request) -> Response:
        try:
            scope = self._azure_ml.scopes.registry(request.path_params["registry"])
        except AzureMlError as error:
            return error_response(error)
        return json_response(
            {
                "registryName": scope.name,
                "tenantId": self._azure_ml.context.config.tenant,
                "primaryRegion": scope.location,
                "regions": [scope.location],
                "subscriptionId": scope.subscription,
                "resourceGroup": scope.resource_group,
                "workspaceName": None,
                # With the slash: the SDK appends its path without one.
                "primaryRegionResourceProviderUri": f"{self._base_url}/",
                "registryFqdns": {scope.location: {"uri": f"{self._base_url}/"}},
            }
        )

    async def workspace(self, request: Request) -> Response:
        try:
            self._azure_ml.scopes.workspace_by_guid(request.path_params["guid"])
        except AzureMlError as error:
            return error_response(error)
        names = (
            "api",
            "catalog",
            "experimentation",
            "history",
            "hyperdrive",
            "labeling",
            "modelmanagement",
            "pipelines",
            "studio",
        )
        return json_response(dict.fromkeys(names, self._base_url))
