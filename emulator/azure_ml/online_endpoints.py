"""Online endpoints: their traffic, keys and life, by the rules of managed endpoints."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
import uuid
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from emulator.azure_ml import naming, traffic
from emulator.azure_ml.errors import BadRequest, Conflict, NotFound, OperationFailed
from emulator.azure_ml.listing import has
from emulator.azure_ml.resource import PROVIDER, ArmRequest, ResourceType, Unsupported, json_response
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown, stamp

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

PUT, DELETE = "onlineEndpoint.put", "onlineEndpoint.delete"
KEYS = "_keys"
DESIRED = "_desired"
"""What an update that still runs will apply; until then the endpoint routes as before."""
AUTH_MODES = {"key": "Key", "amltoken": "AMLToken", "aadtoken": "AADToken"}
TOKEN_SECONDS = 3600


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    return {"onlineendpoints": OnlineEndpoints(azure_ml)}


class OnlineEndpoints(Unsupported):
    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml
        self._store = azure_ml.store
        self._operations = azure_ml.operations
        self._operations.register(PUT, self._apply, self._put_failed)
        self._operations.register(DELETE, self._delete, self._delete_failed)

    async def get(self, request: ArmRequest) -> Response:
        return json_response(self._shown(self._existing(request)))

    async def list(self, request: ArmRequest) -> Response:
        items = [
            item
            for item in self._store.children(request.id)
            if has(item.get("tags") or {}, request.query.get("tags"))
        ]
        return json_response({"value": [self._shown(item) for item in items]})

    async def put(self, request: ArmRequest) -> Response:
        """Create an endpoint, or begin an update of its traffic, tags or description."""
        naming.check_endpoint(request.name)
        desired = _desired(request)
        self._azure_ml.scorers.warm()  # a deployment comes next
        with self._store.transaction():
            old = self._store.get(request.id)
            self._refuse_overlap(request, old)
            traffic.check(
                desired["properties"]["traffic"],
                desired["properties"]["mirrorTraffic"],
                self._serving(request.id),
            )
            if old is None:
                self._refuse_taken_name(request)
                resource = self._new(request, desired)
            else:
                resource = {**old, "properties": {**old["properties"], "provisioningState": "Updating"}}
            resource[DESIRED] = desired
            stamp(resource, request.caller, self._azure_ml.context.clock.now(), old)
            created = self._store.put(request.id, resource)
            operation = self._operations.begin(PUT, request.id, {"id": request.id}, request.fail)
        answer = self._shown(
            {**resource, **desired, "properties": {**resource["properties"], **desired["properties"]}}
        )
        return json_response(answer, 201 if created else 200, self._operations.response_headers(operation))

    async def delete(self, request: ArmRequest) -> Response:
        with self._store.transaction():
            if self._store.get(request.id) is None:
                return Response(status_code=204)
            self._refuse_overlap(request, None)
            for deployment in self._store.children(f"{request.id}/deployments"):
                if self._operations.in_progress(f"{request.id}/deployments/{deployment['name']}"):
                    raise Conflict(f"An operation on deployment {deployment['name']} is still in progress.")
            self._store.change(
                request.id, lambda found: found["properties"].update(provisioningState="Deleting")
            )
            operation = self._operations.begin(DELETE, request.id, {"id": request.id}, request.fail)
        return Response(status_code=202, headers=self._operations.response_headers(operation))

    async def post(self, request: ArmRequest) -> Response:
        endpoint = self._existing(request)
        match request.action:
            case "listkeys":
                return json_response(endpoint[KEYS])
            case "regeneratekeys":
                return self._regenerate(request)
            case "token":
                expiry = int(time.time()) + TOKEN_SECONDS
                return json_response(
                    {
                        "accessToken": token(endpoint, expiry),
                        "expiryTimeUtc": expiry,
                        "refreshAfterTimeUtc": expiry - TOKEN_SECONDS // 2,
                        "tokenType": "Bearer",
                    }
                )
        return await super().post(request)

    def _regenerate(self, request: ArmRequest) -> Response:
        which = str(request.body.get("keyType", "")).lower()
        if which not in ("primary", "secondary"):
            raise BadRequest("keyType must be Primary or Secondary.")
        given = request.body.get("keyValue")

        def renew(endpoint: Resource) -> None:
            keys = endpoint[KEYS]
            # The SDK sends the present key back as the new one, and still means a new one.
            keys[f"{which}Key"] = given if given and given not in keys.values() else _key()

        self._store.change(request.id, renew)
        return Response(status_code=200)

    async def _apply(self, payload: dict[str, Any]) -> Resource | None:
        """Make the desired state the endpoint's own. Deployments may have gone since it was asked for."""
        with self._store.transaction():
            endpoint = self._store.get(payload["id"])
            if endpoint is None:
                raise OperationFailed("The endpoint was deleted.", code="ResourceNotFound")
            desired = endpoint.pop(DESIRED, None)
            if desired is not None:
                names = self._serving(payload["id"])
                gone = [name for name in desired["properties"]["traffic"] if name.lower() not in names]
                if gone:
                    raise OperationFailed(
                        f"The traffic names {gone[0]!r}, which is not a deployment of the endpoint."
                    )
                endpoint |= {**desired, "properties": {**endpoint["properties"], **desired["properties"]}}
            endpoint["properties"]["provisioningState"] = "Succeeded"
            self._store.put(payload["id"], endpoint)
        return self._shown(endpoint)

    def _put_failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        endpoint = self._store.get(payload["id"])
        if endpoint is not None:
            endpoint.pop(DESIRED, None)
            endpoint["properties"]["provisioningState"] = "Failed"
            self._store.put(payload["id"], endpoint)

    async def _delete(self, payload: dict[str, Any]) -> None:
        for deployment in self._store.children(f"{payload['id']}/deployments"):
            await self._azure_ml.scorers.remove(f"{payload['id']}/deployments/{deployment['name']}")
        self._store.delete(payload["id"])

    def _delete_failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        if self._store.get(payload["id"]) is not None:
            self._store.change(
                payload["id"], lambda found: found["properties"].update(provisioningState="Failed")
            )

    def _serving(self, endpoint_id: str) -> set[str]:
        """Deployments that can get traffic: those that succeeded once, even if a later update failed."""
        return {
            item["name"].lower()
            for item in self._store.children(f"{endpoint_id}/deployments")
            if item.get("_serving") and item["properties"]["provisioningState"] != "Deleting"
        }

    def _refuse_overlap(self, request: ArmRequest, old: Resource | None) -> None:
        if self._operations.in_progress(request.id):
            raise Conflict(
                f"Another operation on endpoint {request.name} is still in progress: wait for it to end."
            )

    def _refuse_taken_name(self, request: ArmRequest) -> None:
        """Endpoint names are hosts' names: unique in a region, across workspaces."""
        for scope in self._azure_ml.scopes:
            if scope.location != request.scope.location or scope.id == request.scope.id:
                continue
            if self._store.get(f"{scope.id}/onlineEndpoints/{request.name}") is not None:
                raise BadRequest(
                    f"An endpoint named {request.name} exists in {scope.location} already:"
                    " names are unique in a region.",
                    code="EndpointNameNotAvailable",
                )

    def _new(self, request: ArmRequest, desired: Resource) -> Resource:
        return {
            "id": request.id,
            "name": request.name,
            "type": f"{PROVIDER}/workspaces/onlineEndpoints",
            "location": request.scope.location,
            "kind": "K8S" if desired["properties"].get("compute") else "Managed",
            "identity": {
                "type": "SystemAssigned",
                "tenantId": self._azure_ml.context.config.tenant,
                "principalId": str(uuid.uuid5(uuid.NAMESPACE_URL, request.id.lower())),
            },
            **desired,
            "properties": {
                **desired["properties"],
                "traffic": {},
                "mirrorTraffic": {},
                "provisioningState": "Creating",
            },
            KEYS: {"primaryKey": _key(), "secondaryKey": _key()},
        }

    def _existing(self, request: ArmRequest) -> Resource:
        endpoint = self._store.get(request.id)
        if endpoint is None:
            raise NotFound(
                f"The Resource '{PROVIDER}/workspaces/onlineEndpoints/{request.name}' was not found."
            )
        return endpoint

    def _shown(self, endpoint: Resource) -> Resource:
        """With its URLs, made when asked for: the platform's port may be another after a restart."""
        root = f"{self._azure_ml.context.base_url}/endpoints/{endpoint['name']}"
        answer = shown(endpoint)
        answer["properties"] = {
            **answer["properties"],
            "scoringUri": f"{root}/score",
            "swaggerUri": f"{root}/swagger.json",
        }
        return answer


def token(endpoint: Resource, expiry: int) -> str:
    """An `aml_token`: who knows the endpoint's key made it, and until when it holds (Unix seconds)."""
    key = endpoint[KEYS]["primaryKey"].encode()
    signature = hmac.new(key, f"{endpoint['id'].lower()}|{expiry}".encode(), hashlib.sha256).digest()
    return f"{expiry}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def _desired(request: ArmRequest) -> Resource:
    """The parts of a PUT that an update may change."""
    properties = request.properties
    mode = str(properties.get("authMode") or "Key")
    if mode.lower() not in AUTH_MODES:
        raise BadRequest(f"authMode {mode!r} is not one of {', '.join(AUTH_MODES.values())}.")
    return {
        "tags": request.body.get("tags") or {},
        "properties": {
            "authMode": AUTH_MODES[mode.lower()],
            "description": properties.get("description"),
            "compute": properties.get("compute"),
            "publicNetworkAccess": properties.get("publicNetworkAccess") or "Enabled",
            "traffic": properties.get("traffic") or {},
            "mirrorTraffic": properties.get("mirrorTraffic") or {},
            "properties": properties.get("properties") or {},
        },
    }


def _key() -> str:
    return secrets.token_urlsafe(32)
