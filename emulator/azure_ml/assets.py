"""Versioned assets over HTTP: containers and versions of models, environments, data and codes.

The same types serve workspaces and registries.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from emulator.azure_ml import naming
from emulator.azure_ml.asset_kinds import KINDS, AssetKind
from emulator.azure_ml.errors import NotFound
from emulator.azure_ml.listing import page
from emulator.azure_ml.registration import container, count_versions, register, version_names
from emulator.azure_ml.resource import ArmRequest, ResourceType, Scope, Unsupported, json_response
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown, stamp

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    types: dict[str, ResourceType] = {}
    for kind in KINDS.values():
        types[kind.plural] = Containers(azure_ml, kind)
        types[f"{kind.plural}/versions"] = Versions(azure_ml, kind)
    return types


class Containers(Unsupported):
    """A name with its versions: `.../models/m`."""

    def __init__(self, azure_ml: AzureMl, kind: AssetKind) -> None:
        self._azure_ml = azure_ml
        self._store = azure_ml.store
        self._kind = kind

    async def get(self, request: ArmRequest) -> Response:
        return json_response(shown(self._existing(request)))

    async def list(self, request: ArmRequest) -> Response:
        return json_response(page(self._store.children(request.id), request))

    async def put(self, request: ArmRequest) -> Response:
        """Archive or restore a container, or change its tags and description; made when it isn't there."""
        naming.check_asset(request.name)
        with self._store.transaction():
            old = self._store.get(request.id)
            resource = container(request.scope, self._kind.plural, request.name, old)
            for name in ("description", "tags", "properties", "isArchived"):
                if name in request.properties:
                    resource["properties"][name] = request.properties[name]
            stamp(resource, request.caller, self._azure_ml.context.clock.now(), old)
            created = self._store.put(request.id, resource)
        return json_response(shown(resource), status=201 if created else 200)

    async def delete(self, request: ArmRequest) -> Response:
        return Response(status_code=200 if self._store.delete(request.id) else 204)

    def _existing(self, request: ArmRequest) -> Resource:
        resource = self._store.get(request.id)
        if resource is None:
            raise NotFound(
                f"{self._kind.plural} container {request.name} was not found in {request.scope.name}.",
                code="UserError",
            )
        return resource


class Versions(Unsupported):
    """One version of an asset: `.../models/m/versions/1`."""

    def __init__(self, azure_ml: AzureMl, kind: AssetKind) -> None:
        self._azure_ml = azure_ml
        self._store = azure_ml.store
        self._kind = kind

    async def get(self, request: ArmRequest) -> Response:
        return json_response(shown(self._existing(request)))

    async def list(self, request: ArmRequest) -> Response:
        return json_response(page(self._store.children(request.id), request))

    async def put(self, request: ArmRequest) -> Response:
        resource, created = await register(
            self._azure_ml,
            self._kind,
            request.scope,
            request.names[0],
            request.names[1],
            request.properties,
            request.caller,
        )
        if request.scope.is_registry:
            # A registry's data plane takes it as a long operation: up to azure-ai-ml 1.34 nothing but 202 will do.
            return json_response(shown(resource), 202, {"retry-after-ms": "50"})
        return json_response(shown(resource), status=201 if created else 200)

    async def delete(self, request: ArmRequest) -> Response:
        with self._store.transaction():
            gone = self._store.delete(request.id)
            container_id = request.id.rsplit("/versions/", 1)[0]
            if gone and self._store.get(container_id) is not None:
                names = version_names(self._store, container_id)
                self._store.change(container_id, lambda found: count_versions(found, names))
        return Response(status_code=200 if gone else 204)

    async def post(self, request: ArmRequest) -> Response:
        if request.action != "startpendingupload":
            return await super().post(request)
        return json_response(
            await pending_upload(self._azure_ml, request.scope, self._kind.plural, *request.names)
        )

    def _existing(self, request: ArmRequest) -> Resource:
        resource = self._store.get(request.id)
        if resource is None:
            name, version = request.names
            raise NotFound(
                f"{self._kind.plural} {name}:{version} was not found in {request.scope.name}.",
                code="UserError",
            )
        return resource


async def pending_upload(
    azure_ml: AzureMl, scope: Scope, plural: str, name: str, version: str
) -> dict[str, Any]:
    """A container of the asset's own to upload to, with a SAS for an hour."""
    storage = azure_ml.context.storage
    group = scope.id.split("/providers/")[0]
    target = naming.container_name(plural, scope.id, name, version)
    await asyncio.to_thread(storage.ensure_container, scope.account, target)
    sas = await asyncio.to_thread(storage.sas, scope.account, target, "racwdl", 1)
    uri = storage.blob_url(scope.account, target)
    return {
        "pendingUploadId": target,
        "pendingUploadType": "TemporaryBlobReference",
        "blobReferenceForConsumption": {
            "blobUri": uri,
            "storageAccountArmId": f"{group}/providers/Microsoft.Storage/storageAccounts/{scope.account}",
            "credential": {"credentialType": "SAS", "sasUri": f"{uri}?{sas}"},
        },
    }
