"""Versioned assets over HTTP: containers and versions of models, environments, data and codes.

The same types serve workspaces and registries.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

from starlette.responses import Response

from emulator.azure_ml import naming
from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.asset_kinds import KINDS, AssetKind
from emulator.azure_ml.errors import NotFound
from emulator.azure_ml.listing import page
from emulator.azure_ml.registration import put_container, register, remove_version
from emulator.azure_ml.resource import ArmRequest, ResourceType, Scope, Unsupported, json_response
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    types: dict[str, ResourceType] = {}
    for kind in KINDS.values():
        types[kind.plural] = Containers(azure_ml, kind)
        types[f"{kind.plural}/versions"] = Versions(azure_ml, kind)
    return types


class _Assets(Unsupported):
    """What containers and versions are read by."""

    def __init__(self, azure_ml: AzureMl, kind: AssetKind) -> None:
        self._azure_ml = azure_ml
        self._store = azure_ml.store
        self._kind = kind

    async def get(self, request: ArmRequest) -> Response:
        return json_response(shown(self._existing(request)))

    async def list(self, request: ArmRequest) -> Response:
        return json_response(page(self._store.children(request.id), request))

    def _existing(self, request: ArmRequest) -> Resource:
        """Raises `NotFound`."""
        resource = self._store.get(request.id)
        if resource is None:
            raise NotFound(f"{self._kind.plural} {self._words(request)} was not found in {request.scope.name}.", code="UserError")
        return resource

    def _words(self, request: ArmRequest) -> str:
        return f"container {request.name}" if len(request.names) == 1 else ":".join(request.names)


class Containers(_Assets):
    """A name with its versions: `.../models/m`."""

    fidelity: ClassVar[dict[str, str]] = dict.fromkeys(("get", "list", "put", "delete"), "documented")

    async def put(self, request: ArmRequest) -> Response:
        """Archive or restore a container, or change its tags and description; made when it isn't there."""
        naming.check_asset(request.name)
        sent = request.properties
        changes: dict[str, Any] = {name: sent[name] for name in ("description", "isArchived") if sent.get(name) is not None}
        changes |= {name: fields.texts(sent, name, "properties.") for name in ("tags", "properties") if sent.get(name) is not None}
        resource, created = put_container(
            self._azure_ml, self._kind, request.scope, request.name, request.caller, changes, sent.get("dataType")
        )
        return json_response(shown(resource), status=201 if created else 200)

    async def delete(self, request: ArmRequest) -> Response:
        return Response(status_code=200 if self._store.delete(request.id) else 204)


class Versions(_Assets):
    """One version of an asset: `.../models/m/versions/1`."""

    fidelity: ClassVar[dict[str, str]] = dict.fromkeys(("get", "list", "put", "delete", "post:startpendingupload"), "documented")

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
        gone = remove_version(self._store, request.scope, self._kind, *request.names)
        return Response(status_code=200 if gone else 204)

    async def post(self, request: ArmRequest) -> Response:
        if request.action != "startpendingupload":
            return await super().post(request)
        return json_response(
            await pending_upload(self._azure_ml, request.scope, self._kind.plural, *request.names)
        )


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
