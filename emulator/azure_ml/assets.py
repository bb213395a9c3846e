"""Versioned assets: containers and versions of models, environments, data and codes.

A version's path and definition never change once registered; tags, properties, description, stage and
archiving do. The same rules serve workspaces and registries; ids are written as each of them does.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import yaml
from starlette.responses import Response

from emulator.azure_ml import naming
from emulator.azure_ml.asset_kinds import KINDS, MODELS, AssetKind
from emulator.azure_ml.errors import AzureMlError, NotFound
from emulator.azure_ml.listing import page
from emulator.azure_ml.locations import BlobLocation
from emulator.azure_ml.resource import PROVIDER, ArmRequest, ResourceType, Scope, Unsupported, json_response
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown, stamp
from emulator.context import Caller

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

logger = logging.getLogger(__name__)


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
        """Archive or restore, or change the description and tags, of a container; made when it isn't there."""
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
        return json_response(shown(resource), status=201 if created else 200)

    async def delete(self, request: ArmRequest) -> Response:
        with self._store.transaction():
            gone = self._store.delete(request.id)
            container_id = request.id.rsplit("/versions/", 1)[0]
            if gone and self._store.get(container_id) is not None:
                self._store.change(
                    container_id, lambda found: count_versions(found, self._versions(container_id))
                )
        return Response(status_code=200 if gone else 204)

    async def post(self, request: ArmRequest) -> Response:
        if request.action != "startpendingupload":
            return await super().post(request)
        return json_response(
            await pending_upload(self._azure_ml, request.scope, self._kind.plural, *request.names)
        )

    def _versions(self, container_id: str) -> list[str]:
        return [version["name"] for version in self._store.children(f"{container_id}/versions")]

    def _existing(self, request: ArmRequest) -> Resource:
        resource = self._store.get(request.id)
        if resource is None:
            name, version = request.names
            raise NotFound(
                f"{self._kind.plural} {name}:{version} was not found in {request.scope.name}.",
                code="UserError",
            )
        return resource


async def register(
    azure_ml: AzureMl,
    kind: AssetKind,
    scope: Scope,
    name: str,
    version: str,
    properties: dict[str, Any],
    caller: Caller,
) -> tuple[Resource, bool]:
    """Create a version, or change what may change of it; whether it was created.

    Emits `ModelRegistered` in the same transaction when a model is created in a workspace.
    """
    naming.check_asset(name, version)
    resource_id = f"{scope.id}/{kind.plural}/{name}/versions/{version}"
    derived = (
        await _derived(azure_ml, kind, scope, properties) if azure_ml.store.get(resource_id) is None else {}
    )
    with azure_ml.store.transaction():
        old = azure_ml.store.get(resource_id)
        if old is None:
            kind.check({**kind.defaults, **properties})
            settled = {
                "description": None,
                "tags": {},
                "properties": {},
                "isArchived": False,
                **kind.defaults,
            }
            settled |= {key: value for key, value in properties.items() if value is not None} | derived
        else:
            _refuse_changes(azure_ml, kind, scope, name, version, old["properties"], properties)
            settled = {
                **old["properties"],
                **{key: value for key, value in properties.items() if value is not None},
            }
            if kind.path is not None:
                settled[kind.path] = old["properties"][kind.path]
        settled["provisioningState"] = "Succeeded"
        for mapping in ("tags", "properties"):
            settled[mapping] = {
                key: str(value) for key, value in (settled.get(mapping) or {}).items() if value is not None
            }
        resource: Resource = {
            "id": asset_id(scope, kind.plural, name, version),
            "name": version,
            "type": f"{PROVIDER}/{scope.kind}/{kind.plural}/versions",
            "properties": settled,
        }
        stamp(resource, caller, azure_ml.context.clock.now(), old)
        created = azure_ml.store.put(resource_id, resource)
        if created:
            _add_to_container(azure_ml, kind, scope, name, caller)
            if kind is MODELS:
                azure_ml.events.emit(
                    scope,
                    "ModelRegistered",
                    f"models/{name}:{version}",
                    {
                        "modelName": name,
                        "modelVersion": version,
                        "modelTags": settled["tags"],
                        "modelProperties": settled["properties"],
                    },
                )
    return resource, created


async def pending_upload(
    azure_ml: AzureMl, scope: Scope, plural: str, name: str, version: str
) -> dict[str, Any]:
    """A container of the asset's own to upload to, with a SAS for an hour."""
    storage = azure_ml.context.storage
    target = naming.container_name(plural, scope.id, name, version)
    await asyncio.to_thread(storage.ensure_container, scope.account, target)
    sas = await asyncio.to_thread(storage.sas, scope.account, target, "racwdl", 1)
    uri = storage.blob_url(scope.account, target)
    return {
        "pendingUploadId": target,
        "pendingUploadType": "TemporaryBlobReference",
        "blobReferenceForConsumption": {
            "blobUri": uri,
            "storageAccountArmId": f"{scope.id.split('/providers/')[0]}/providers/Microsoft.Storage/storageAccounts/{scope.account}",
            "credential": {"credentialType": "SAS", "sasUri": f"{uri}?{sas}"},
        },
    }


def asset_id(scope: Scope, plural: str, name: str, version: str) -> str:
    """The id that an asset shows: an ARM id in a workspace, `azureml://registries/...` in a registry."""
    root = f"azureml://registries/{scope.name}" if scope.is_registry else scope.id
    return f"{root}/{plural}/{name}/versions/{version}"


def container(scope: Scope, plural: str, name: str, old: Resource | None) -> Resource:
    """The container of a name, as it is or new."""
    if old is not None:
        return old
    root = f"azureml://registries/{scope.name}" if scope.is_registry else scope.id
    return {
        "id": f"{root}/{plural}/{name}",
        "name": name,
        "type": f"{PROVIDER}/{scope.kind}/{plural}",
        "properties": {
            "description": None,
            "tags": {},
            "properties": {},
            "isArchived": False,
            "latestVersion": None,
            "nextVersion": "1",
            "provisioningState": "Succeeded",
        },
    }


def count_versions(resource: Resource, versions: list[str]) -> None:
    """Set a container's latest version (the one created last) and its next."""
    resource["properties"]["latestVersion"] = versions[-1] if versions else None
    resource["properties"]["nextVersion"] = naming.next_version(versions)


def _add_to_container(azure_ml: AzureMl, kind: AssetKind, scope: Scope, name: str, caller: Caller) -> None:
    container_id = f"{scope.id}/{kind.plural}/{name}"
    old = azure_ml.store.get(container_id)
    resource = container(scope, kind.plural, name, old)
    count_versions(
        resource, [version["name"] for version in azure_ml.store.children(f"{container_id}/versions")]
    )
    stamp(resource, caller, azure_ml.context.clock.now(), old)
    azure_ml.store.put(container_id, resource)


def _refuse_changes(
    azure_ml: AzureMl,
    kind: AssetKind,
    scope: Scope,
    name: str,
    version: str,
    old: dict[str, Any],
    new: dict[str, Any],
) -> None:
    for changed in kind.fixed:
        if new.get(changed) is not None and new[changed] != old.get(changed):
            raise kind.refusal(name, version, changed)
    if kind.path is None or new.get(kind.path) in (None, old.get(kind.path)):
        return
    try:
        # The same place may be written in another form: short and long datastore URIs, a job's output.
        same = azure_ml.locations.blob(new[kind.path], scope) == azure_ml.locations.blob(
            old[kind.path], scope
        )
    except AzureMlError:
        same = False
    if not same:
        raise kind.refusal(name, version, kind.path)


async def _derived(
    azure_ml: AzureMl, kind: AssetKind, scope: Scope, properties: dict[str, Any]
) -> dict[str, Any]:
    """What the service works out when a version is registered: a job's path made plain, a model's flavors."""
    if kind.path is None or not properties.get(kind.path):
        return {}
    uri = str(properties[kind.path])
    if not uri.startswith(("azureml://jobs/", "runs:/")) and kind is not MODELS:
        return {}
    location = azure_ml.locations.blob(uri, scope)
    derived: dict[str, Any] = {}
    if uri.startswith(("azureml://jobs/", "runs:/")):
        derived[kind.path] = azure_ml.locations.datastore_uri(location, scope) or location.url
        if kind is MODELS:
            derived["jobName"] = uri.removeprefix("azureml://jobs/").removeprefix("runs:/").split("/")[0]
    if kind is MODELS and properties.get("modelType") == "mlflow_model" and not properties.get("flavors"):
        derived["flavors"] = await asyncio.to_thread(_flavors, azure_ml, location)
    return derived


def _flavors(azure_ml: AzureMl, location: BlobLocation) -> dict[str, Any]:
    """The flavors of an MLflow model, read from its MLmodel file; empty when there is none to read."""
    storage = azure_ml.context.storage
    blob = f"{location.path}/MLmodel".lstrip("/")
    try:
        document = yaml.safe_load(storage.read(location.account, location.container, blob))
    except Exception as problem:  # whatever the storage client raises: Azure ML registers such a model too
        logger.warning("%s/%s could not be read: %s", location.container, blob, problem)
        return {}
    flavors = document.get("flavors") if isinstance(document, dict) else None
    return {
        name: {"data": {key: str(value) for key, value in (details or {}).items()}}
        for name, details in (flavors or {}).items()
    }
