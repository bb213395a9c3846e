"""Registering a version of an asset: what is kept, what may change later, and the event of it.

A version's path and definition never change once registered; tags, properties, description, stage and
archiving do. Ids are written as a workspace or a registry writes them.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import yaml

from emulator.azure_ml import naming
from emulator.azure_ml.asset_kinds import MODELS, AssetKind
from emulator.azure_ml.errors import AzureMlError
from emulator.azure_ml.locations import BlobLocation
from emulator.azure_ml.resource import PROVIDER, Scope
from emulator.azure_ml.store import Resource, ResourceStore
from emulator.azure_ml.system_data import stamp
from emulator.context import Caller

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

logger = logging.getLogger(__name__)

JOB_URIS = ("azureml://jobs/", "runs:/")
COMMON: dict[str, Any] = {"description": None, "tags": {}, "properties": {}, "isArchived": False}
"""What every version has."""


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
    store = azure_ml.store
    resource_id = f"{scope.id}/{kind.plural}/{name}/versions/{version}"
    given = {key: value for key, value in properties.items() if value is not None}
    derived = {} if store.get(resource_id) else await _derived(azure_ml, kind, scope, given)
    with store.transaction():
        old = store.get(resource_id)
        if old is None:
            kind.check({**kind.defaults, **given})
            settled = {**COMMON, **kind.defaults, **given, **derived}
        else:
            _refuse_changes(azure_ml, kind, scope, old, given)
            settled = {**old["properties"], **given}
            if kind.path is not None:
                settled[kind.path] = old["properties"][kind.path]
        settled["provisioningState"] = "Succeeded"
        for mapping in ("tags", "properties"):
            settled[mapping] = {
                key: str(value) for key, value in settled[mapping].items() if value is not None
            }
        resource: Resource = {
            "id": asset_id(scope, kind.plural, name, version),
            "name": version,
            "type": f"{PROVIDER}/{scope.kind}/{kind.plural}/versions",
            "properties": settled,
        }
        stamp(resource, caller, azure_ml.context.clock.now(), old)
        created = store.put(resource_id, resource)
        if created:
            _add_to_container(azure_ml, kind, scope, name, caller)
            if kind is MODELS:
                data = {
                    "modelName": name,
                    "modelVersion": version,
                    "modelTags": settled["tags"],
                    "modelProperties": settled["properties"],
                }
                azure_ml.events.emit(scope, "ModelRegistered", f"models/{name}:{version}", data)
    return resource, created


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


def version_names(store: ResourceStore, container_id: str) -> list[str]:
    """A container's versions, oldest first."""
    return [version["name"] for version in store.children(f"{container_id}/versions")]


def _add_to_container(azure_ml: AzureMl, kind: AssetKind, scope: Scope, name: str, caller: Caller) -> None:
    container_id = f"{scope.id}/{kind.plural}/{name}"
    old = azure_ml.store.get(container_id)
    resource = container(scope, kind.plural, name, old)
    count_versions(resource, version_names(azure_ml.store, container_id))
    stamp(resource, caller, azure_ml.context.clock.now(), old)
    azure_ml.store.put(container_id, resource)


def _refuse_changes(
    azure_ml: AzureMl, kind: AssetKind, scope: Scope, old: Resource, given: dict[str, Any]
) -> None:
    kept = old["properties"]
    name, version = old["id"].split("/")[-3], old["name"]
    for fixed in kind.fixed:
        if fixed in given and given[fixed] != kept.get(fixed):
            raise kind.refusal(name, version, fixed)
    if kind.path is None or given.get(kind.path, kept[kind.path]) == kept[kind.path]:
        return
    try:
        # The same place may be written in another form: short and long datastore URIs, a job's output.
        asked = azure_ml.locations.blob(given[kind.path], scope)
        same = asked == azure_ml.locations.blob(kept[kind.path], scope)
    except AzureMlError:
        same = False
    if not same:
        raise kind.refusal(name, version, kind.path)


async def _derived(azure_ml: AzureMl, kind: AssetKind, scope: Scope, given: dict[str, Any]) -> dict[str, Any]:
    """What the service works out when a version is registered: a job's path made plain, a model's flavors."""
    if kind.path is None or not given.get(kind.path):
        return {}
    uri = str(given[kind.path])
    if kind is not MODELS and not uri.startswith(JOB_URIS):
        return {}
    location = azure_ml.locations.blob(uri, scope)
    derived: dict[str, Any] = {}
    if uri.startswith(JOB_URIS):
        derived[kind.path] = azure_ml.locations.datastore_uri(location, scope) or location.url
        if kind is MODELS:
            derived["jobName"] = uri.removeprefix(JOB_URIS[0]).removeprefix(JOB_URIS[1]).split("/")[0]
    if kind is MODELS and given.get("modelType") == "mlflow_model" and not given.get("flavors"):
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
