"""Registries: importing a workspace's asset as a long-running copy, and references to upload and read by."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from emulator.azure_ml import assets, naming
from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.asset_kinds import KINDS
from emulator.azure_ml.errors import AzureMlError, BadRequest, Conflict, NotFound, OperationFailed
from emulator.azure_ml.resource import PROVIDER, ArmRequest, ResourceType, Unsupported, json_response
from emulator.azure_ml.store import Resource
from emulator.azure_ml.transfers import copy
from emulator.context import Caller

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

IMPORT = "registry.import"


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    return {
        "tempdatarefs/versions": UploadReferences(azure_ml),
        "datarefs/versions": ReadReferences(azure_ml),
    }


class Registries:
    """The import of assets. What is copied shows where it came from as `originAssetId`."""

    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml
        azure_ml.operations.register(IMPORT, self._copy)

    async def import_asset(self, request: ArmRequest) -> Response:
        """Begin an import; 404 without the source, 409 when the destination exists."""
        properties = request.properties
        source_id = str(properties.get("sourceAssetId") or "")
        source_scope, source = self._azure_ml.locations.asset(source_id, "models", request.scope)
        plural, source_name = source["type"].split("/")[-2], source["id"].split("/")[-3]
        if source_scope.is_registry:
            raise BadRequest("Only a workspace's assets can be imported.")
        self._azure_ml.permissions.require(request.caller, f"{PROVIDER}/workspaces/{plural}/versions/read", source_scope)
        if plural not in KINDS:
            raise BadRequest(f"Assets of type {plural} cannot be imported.")
        name = fields.text(properties, "destinationName") or source_name
        version = fields.text(properties, "destinationVersion") or source["name"]
        naming.check_asset(name, version)
        target_id = f"{request.scope.id}/{plural}/{name}/versions/{version}"
        if self._azure_ml.store.get(target_id) is not None:
            raise Conflict(f"{plural} {name}:{version} exists in the registry already.", code="UserError")
        payload = {
            "registry": request.scope.name,
            "plural": plural,
            "source": source_id,
            "name": name,
            "version": version,
            "caller": {
                "object_id": request.caller.object_id,
                "name": request.caller.name,
                "client_id": request.caller.client_id,
            },
        }
        self._azure_ml.scorers.warm()  # what is shared is about to be deployed
        operation = self._azure_ml.operations.begin(IMPORT, target_id, payload, request.fail)
        return Response(status_code=202, headers=self._azure_ml.operations.response_headers(operation))

    async def _copy(self, payload: dict[str, Any]) -> None:
        """Copy the bytes, then write the version: seen only when complete, repeatable until then."""
        azure_ml = self._azure_ml
        registry = azure_ml.scopes.registry(payload["registry"])
        kind = KINDS[payload["plural"]]
        try:
            scope, source = azure_ml.locations.asset(payload["source"], kind.plural, registry)
            properties = _copied(source)
            if kind.path is not None:
                origin = azure_ml.locations.blob(properties[kind.path], scope)
                container = naming.container_name(
                    kind.plural, registry.id, payload["name"], payload["version"]
                )
                target = type(origin)(registry.account, container, origin.name)
                await asyncio.to_thread(copy, azure_ml.context.storage, origin, target)
                properties[kind.path] = target.url
            properties["originAssetId"] = payload["source"]
            caller = Caller(**payload["caller"])
            await assets.register(
                azure_ml, kind, registry, payload["name"], payload["version"], properties, caller
            )
        except AzureMlError as refusal:
            raise OperationFailed(refusal.message, code=refusal.code) from refusal


def _copied(source: Resource) -> dict[str, Any]:
    """What a registry keeps of a workspace asset: stage and job mean something only where they were set."""
    left_out = ("stage", "jobName", "isArchived", "provisioningState")
    return {
        key: value
        for key, value in source["properties"].items()
        if key not in left_out and not key.startswith("_")
    }


class UploadReferences(Unsupported):
    """`tempdatarefs`: where to upload a registry asset's bytes before it is created."""

    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml

    async def put(self, request: ArmRequest) -> Response:
        plural, name, version = _asset_of(request)
        naming.check_asset(name, version)
        if plural not in KINDS:
            raise BadRequest(f"Assets of type {plural} have no bytes to upload.", code="UserError")
        if self._azure_ml.store.get(f"{request.scope.id}/{plural}/{name}/versions/{version}") is not None:
            # The SDK takes 409 as "uploaded already".
            raise Conflict(f"{plural} {name}:{version} exists in the registry already.", code="UserError")
        return json_response(
            await assets.pending_upload(self._azure_ml, request.scope, plural, name, version)
        )


class ReadReferences(Unsupported):
    """`datarefs`: a SAS to read a registry asset's bytes."""

    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml

    async def post(self, request: ArmRequest) -> Response:
        if request.action is not None:
            return await super().post(request)
        plural, name, version = _asset_of(request)
        resource = self._azure_ml.store.get(f"{request.scope.id}/{plural}/{name}/versions/{version}")
        kind = KINDS.get(plural)
        if resource is None or kind is None or kind.path is None:
            raise NotFound(
                f"{plural} {name}:{version} was not found in {request.scope.name}.", code="UserError"
            )
        location = self._azure_ml.locations.blob(resource["properties"][kind.path], request.scope)
        storage = self._azure_ml.context.storage
        sas = await asyncio.to_thread(storage.sas, location.account, location.container, "rl", 1)
        uri = storage.blob_url(location.account, location.container)
        reference = {
            "blobUri": location.url,
            "credential": {"credentialType": "SAS", "sasUri": f"{uri}?{sas}"},
        }
        return json_response({"blobReferenceForConsumption": reference})


def _asset_of(request: ArmRequest) -> tuple[str, str, str]:
    """Type, name and version: the path has no type, the body's `assetId` has."""
    name, version = request.names
    parts = str(request.body.get("assetId") or "").split("/")
    if len(parts) != 8 or parts[:3] != ["azureml:", "", "registries"]:
        raise BadRequest(
            f"assetId {request.body.get('assetId')!r} is not a registry asset's id.", code="UserError"
        )
    return parts[4], name, version
