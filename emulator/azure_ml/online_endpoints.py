"""Online endpoints: their traffic, keys and life, by the rules of managed endpoints."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from starlette.responses import Response

from emulator.azure_ml import naming, traffic
from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.endpoint_settings import KUBERNETES, MANAGED, MUTABLE, assigned_of, desired_of, identity_of, refuse_change
from emulator.azure_ml.errors import BadRequest, Conflict, NotFound, OperationFailed
from emulator.azure_ml.listing import has
from emulator.azure_ml.regions import refuse_taken_name
from emulator.azure_ml.resource import PROVIDER, ArmRequest, ResourceType, Unsupported, json_response
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown, stamp

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

PUT, DELETE = "onlineEndpoint.put", "onlineEndpoint.delete"
KEYS = "_keys"
DESIRED = "_desired"
"""What an update that still runs will apply; until then the endpoint routes as before."""
TOKEN_SECONDS = 3600


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    return {"onlineendpoints": OnlineEndpoints(azure_ml)}


class OnlineEndpoints(Unsupported):
    fidelity: ClassVar[dict[str, str]] = dict.fromkeys(
        ("get", "list", "put", "patch", "delete", "post:listkeys", "post:regeneratekeys", "post:token"), "documented"
    )

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
        desired = desired_of(request)
        self._check_cluster(request, desired["properties"]["compute"])
        self._azure_ml.scorers.warm()  # a deployment comes next
        return self._begin(request, desired)

    async def patch(self, request: ArmRequest) -> Response:
        """Change tags and nothing else; traffic is changed by a PUT, as in Azure."""
        old = self._existing(request)
        if unknown := sorted(set(request.body) - set(MUTABLE)):
            raise BadRequest(f"Only {' and '.join(MUTABLE)} of an endpoint can be patched, not {', '.join(unknown)}.")
        tags = fields.texts(request.body, "tags") if "tags" in request.body else old["tags"]
        kept = {name: value for name, value in old["properties"].items() if name != "provisioningState"}
        return self._begin(request, {"tags": tags, "properties": kept})

    def _begin(self, request: ArmRequest, desired: Resource) -> Response:
        identity = identity_of(request)
        with self._store.transaction():
            old = self._store.get(request.id)
            self._refuse_overlap(request, old)
            traffic.check(
                desired["properties"]["traffic"],
                desired["properties"]["mirrorTraffic"],
                self._serving(request.id),
            )
            if old is None:
                refuse_taken_name(request, self._azure_ml.scopes, self._store)
                resource = self._new(request, desired, identity or "SystemAssigned")
            else:
                refuse_change(request, old, desired, identity)
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
                _require_mode(endpoint, "Key", "keys")
                return json_response(endpoint[KEYS])
            case "regeneratekeys":
                return self._regenerate(request)
            case "token":
                _require_mode(endpoint, "AMLToken", "a token")
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
        which = fields.choice(request.body, "keyType", "", ("primary", "secondary"))
        if not which:
            raise BadRequest("keyType must be Primary or Secondary.")
        given = fields.text(request.body, "keyValue")

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

    def _check_cluster(self, request: ArmRequest, reference: str | None) -> None:
        """A Kubernetes endpoint runs on a cluster that is attached to the workspace."""
        if not reference:
            return
        name = reference.rpartition("/")[2].removeprefix("azureml:")
        compute = self._store.get(f"{request.scope.id}/computes/{name}")
        if compute is None:
            raise BadRequest(f"The compute {reference} was not found in {request.scope.name}.", code="ComputeNotFound")
        if compute["properties"].get("computeType") != "Kubernetes":
            raise BadRequest(f"The compute {name} is not of type Kubernetes: endpoints run on no other.", code="BadArgument")

    def _new(self, request: ArmRequest, desired: Resource, identity: str) -> Resource:
        return {
            "id": request.id,
            "name": request.name,
            "type": f"{PROVIDER}/workspaces/onlineEndpoints",
            "location": request.scope.location,
            "kind": KUBERNETES if desired["properties"]["compute"] else MANAGED,
            "identity": {
                "type": identity,
                "tenantId": self._azure_ml.context.config.tenant,
                "principalId": str(uuid.uuid5(uuid.NAMESPACE_URL, request.id.lower())),
                **assigned_of(request),
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


def _require_mode(endpoint: Resource, mode: str, what: str) -> None:
    """An endpoint gives out only what its callers sign in with."""
    found = endpoint["properties"]["authMode"]
    if found != mode:
        raise BadRequest(f"The endpoint {endpoint['name']} has no {what.removeprefix('a ')}: its authMode is {found}.")


def _key() -> str:
    return secrets.token_urlsafe(32)
