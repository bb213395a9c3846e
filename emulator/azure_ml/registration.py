"""Registering a version of an asset: what is kept, what may change later, and the event of it.

A version's path and definition never change once registered; tags, description, stage and archiving do.
Properties can be added, not changed or taken away. Ids are written as a workspace or a registry writes them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml

from emulator.azure_ml import naming
from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.asset_kinds import DATA, MODELS, AssetKind
from emulator.azure_ml.errors import AzureMlError, ValidationError
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
ALIASES = "_mlflow_aliases"
"""A hidden key of a model's container: MLflow's aliases, each with the version that it means."""


async def register(
    azure_ml: AzureMl,
    kind: AssetKind,
    scope: Scope,
    name: str,
    version: str | None,
    properties: dict[str, Any],
    caller: Caller,
    hidden: Mapping[str, Any] = MappingProxyType({}),
) -> tuple[Resource, bool]:
    """Create a version, or change what may change of it; whether it was created. Without `version` it is the next number.

    Emits `ModelRegistered` in the same transaction when a model is created in a workspace. `hidden` are keys of a new
    version that Azure Resource Manager doesn't show.
    """
    naming.check_asset(name, version)
    store = azure_ml.store
    container_id = f"{scope.id}/{kind.plural}/{name}"
    given = {key: value for key, value in properties.items() if value is not None}
    kind.check_types(given)
    known = version is not None and store.get(f"{container_id}/versions/{version}") is not None
    derived = {} if known else await _derived(azure_ml, kind, scope, given)
    with store.transaction():
        version = version or naming.next_version(version_names(store, container_id))
        resource_id = f"{container_id}/versions/{version}"
        old = store.get(resource_id)
        if old is None:
            kind.check({**kind.defaults, **given})
            settled = {**COMMON, **kind.defaults, **given, **derived}
        else:
            _refuse_changes(azure_ml, kind, scope, old, given)
            settled = {**old["properties"], **given}
            settled["properties"] = {**old["properties"]["properties"], **fields.texts(settled, "properties", "properties.")}
            if kind.path is not None:
                settled[kind.path] = old["properties"][kind.path]
        if kind is not DATA:  # the one asset without a provisioning state
            settled["provisioningState"] = "Succeeded"
        for mapping in ("tags", "properties"):
            settled[mapping] = fields.texts(settled, mapping, "properties.")
        resource: Resource = {
            "id": asset_id(scope, kind.plural, name, version),
            "name": version,
            "type": f"{PROVIDER}/{scope.kind}/{kind.plural}/versions",
            "properties": settled,
            **_hidden(old if old is not None else hidden),
        }
        stamp(resource, caller, azure_ml.context.clock.now(), old)
        created = store.put(resource_id, resource)
        if created:
            counted = counts(version_names(store, container_id))
            put_container(azure_ml, kind, scope, name, caller, counted, settled.get("dataType"))
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


def container(scope: Scope, plural: str, name: str, old: Resource | None, data_type: str | None = None) -> Resource:
    """The container of a name, as it is or new; one of data has its first version's type."""
    if old is not None:
        return old
    own = {"dataType": data_type} if plural == DATA.plural else {"provisioningState": "Succeeded"}
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
            **own,
        },
    }


def put_container(
    azure_ml: AzureMl, kind: AssetKind, scope: Scope, name: str, caller: Caller, changes: Mapping[str, Any], data_type: str | None = None
) -> tuple[Resource, bool]:
    """Write changes into the properties of a container, which is made when it isn't there; whether it was."""
    container_id = f"{scope.id}/{kind.plural}/{name}"
    with azure_ml.store.transaction():
        old = azure_ml.store.get(container_id)
        resource = container(scope, kind.plural, name, old, data_type)
        resource["properties"] |= changes
        stamp(resource, caller, azure_ml.context.clock.now(), old)
        return resource, azure_ml.store.put(container_id, resource)


def remove_version(store: ResourceStore, scope: Scope, kind: AssetKind, name: str, version: str) -> bool:
    """Delete a version, with the aliases that mean it: its number may be another's one day. Whether it was there."""
    container_id = f"{scope.id}/{kind.plural}/{name}"

    def forget(found: Resource) -> None:
        found["properties"] |= counts(version_names(store, container_id))
        if ALIASES in found:
            found[ALIASES] = {alias: target for alias, target in found[ALIASES].items() if target.lower() != version.lower()}

    with store.transaction():
        gone = store.delete(f"{container_id}/versions/{version}")
        if gone and store.get(container_id) is not None:
            store.change(container_id, forget)
    return bool(gone)


def counts(versions: list[str]) -> dict[str, Any]:
    """A container's latest version (the one created last) and its next."""
    return {"latestVersion": versions[-1] if versions else None, "nextVersion": naming.next_version(versions)}


def version_names(store: ResourceStore, container_id: str) -> list[str]:
    """A container's versions, oldest first."""
    return [version["name"] for version in store.children(f"{container_id}/versions")]


def _hidden(values: Mapping[str, Any]) -> dict[str, Any]:
    """What Azure Resource Manager doesn't show of a version; a change of what it shows leaves it alone."""
    return {key: value for key, value in values.items() if key.startswith("_")}


def _refuse_changes(
    azure_ml: AzureMl, kind: AssetKind, scope: Scope, old: Resource, given: dict[str, Any]
) -> None:
    kept = old["properties"]
    name, version = old["id"].split("/")[-3], old["name"]
    for fixed in kind.fixed:
        if fixed in given and given[fixed] != kept.get(fixed):
            raise kind.refusal(name, version, fixed)
    for label, value in fields.texts(given, "properties", "properties.").items():
        if kept["properties"].get(label, value) != value:
            raise ValidationError(f"The property {label} of {name}:{version} is immutable.", code="UserError")
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
        str(name): {"data": {str(key): str(value) for key, value in _mapping(details).items()}}
        for name, details in _mapping(flavors).items()
    }


def _mapping(value: Any) -> dict[str, Any]:
    """An object of a file that anybody may have written; empty when it is none."""
    return value if isinstance(value, dict) else {}
