"""Datastores: the workspace's blob containers, and the secrets the SDK uploads with."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, ClassVar

from starlette.responses import Response

from emulator.azure_ml.errors import NotFound, ValidationError
from emulator.azure_ml.resource import PROVIDER, ArmRequest, ResourceType, Scope, Unsupported, json_response
from emulator.azure_ml.store import Resource

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

_CONTAINER = re.compile(r"^(?=.{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*$")
_HOURS = 7 * 24
"""The longest that a secret holds."""
DEFAULT = "workspaceblobstore"
ARTIFACTS = "workspaceartifactstore"


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    return {"datastores": Datastores(azure_ml)}


def default_container(scope: Scope) -> str:
    """The container behind `workspaceblobstore`."""
    return f"azureml-blobstore-{scope.guid}"


def seeds(scope: Scope) -> list[Resource]:
    """The datastores every workspace is born with (its file shares are left out: jobs here mount none)."""
    return [
        _resource(scope, DEFAULT, default_container(scope), is_default=True),
        _resource(scope, ARTIFACTS, "azureml", is_default=False),
    ]


def _resource(scope: Scope, name: str, container: str, is_default: bool) -> Resource:
    return {
        "id": f"{scope.id}/datastores/{name}",
        "name": name,
        "type": f"{PROVIDER}/workspaces/datastores",
        "properties": {
            "datastoreType": "AzureBlob",
            "accountName": scope.account,
            "containerName": container,
            "endpoint": "core.windows.net",
            "protocol": "https",
            "credentials": {"credentialsType": "AccountKey"},
            "isDefault": is_default,
            "serviceDataAccessAuthIdentity": "None",
            "description": None,
            "tags": {},
            "properties": {},
        },
    }


class Datastores(Unsupported):
    """Blob datastores. Containers of seeded ones are made at start, of others when they are attached."""

    fidelity: ClassVar[dict[str, str]] = dict.fromkeys(("get", "list", "put", "delete", "post:listsecrets"), "documented")

    def __init__(self, azure_ml: AzureMl) -> None:
        self._store = azure_ml.store
        self._storage = azure_ml.context.storage
        self._accounts = azure_ml.context.config.accounts

    async def get(self, request: ArmRequest) -> Response:
        return json_response(self._existing(request))

    async def list(self, request: ArmRequest) -> Response:
        items = self._store.children(request.id)
        if request.query.get("isDefault", "").lower() == "true":
            items = [item for item in items if item["properties"].get("isDefault")]
        return json_response({"value": items})

    async def put(self, request: ArmRequest) -> Response:
        properties = request.properties
        if properties.get("datastoreType") != "AzureBlob":
            raise ValidationError(
                f"Datastores of type {properties.get('datastoreType')} are not part of this platform."
            )
        account, container = properties.get("accountName"), properties.get("containerName")
        if not account or not container:
            raise ValidationError("A blob datastore needs accountName and containerName.")
        if account not in self._accounts:
            raise ValidationError(f"The storage account {account!r} is not one of the platform's: {', '.join(self._accounts)}.")
        if not isinstance(container, str) or not _CONTAINER.match(container):
            raise ValidationError(f"The container name {container!r} is not valid: 3 to 63 small letters, digits and single dashes.")
        given = properties.get("credentials") or {}
        if not isinstance(given, dict) or not isinstance(given.get("credentialsType", ""), str):
            raise ValidationError("The field properties.credentials must be an object with a credentialsType.")
        credentials = {"credentialsType": given.get("credentialsType", "None")}
        await asyncio.to_thread(self._storage.ensure_container, account, container)
        resource = _resource(request.scope, request.name, container, is_default=False)
        sent = {key: value for key, value in properties.items() if value is not None}
        resource["properties"] |= {**sent, "credentials": credentials, "isDefault": request.name.lower() == DEFAULT}
        created = self._store.put(request.id, resource)
        return json_response(resource, status=201 if created else 200)

    async def delete(self, request: ArmRequest) -> Response:
        if request.name.lower() in (DEFAULT, ARTIFACTS):
            raise ValidationError(f"The datastore {request.name} can't be deleted: jobs write their outputs and logs to it.")
        return Response(status_code=200 if self._store.delete(request.id) else 204)

    async def post(self, request: ArmRequest) -> Response:
        if request.action != "listsecrets":
            return await super().post(request)
        properties = self._existing(request)["properties"]
        account, container = properties["accountName"], properties["containerName"]
        if request.body.get("expirableSecret"):
            hours = request.body.get("expireAfterHours") or 1
            if not isinstance(hours, int) or not 1 <= hours <= _HOURS:
                raise ValidationError(f"The field expireAfterHours must be a whole number from 1 to {_HOURS}.")
            sas = await asyncio.to_thread(self._storage.sas, account, container, "racwdl", hours)
            return json_response({"secretsType": "Sas", "sasToken": sas})
        return json_response({"secretsType": "AccountKey", "key": self._storage.account_key(account)})

    def _existing(self, request: ArmRequest) -> Resource:
        resource = self._store.get(request.id)
        if resource is None:
            raise NotFound(f"There is no datastore {request.name} in {request.scope.name}.", code="UserError")
        return resource
