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
from emulator.azure_ml.deployments import SERVING, Deployments
from emulator.azure_ml.endpoint_settings import KUBERNETES, MANAGED, MUTABLE, assigned_of, desired_of, identity_of, refuse_change
from emulator.azure_ml.errors import BadRequest
from emulator.azure_ml.provisioning import Endpoints
from emulator.azure_ml.resource import PROVIDER, ArmRequest, ResourceType, json_response
from emulator.azure_ml.store import Resource

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

KEYS = "_keys"
TOKEN_SECONDS = 3600


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    return {"onlineendpoints": OnlineEndpoints(azure_ml)}


class OnlineEndpoints(Endpoints):
    TYPE = f"{PROVIDER}/workspaces/onlineEndpoints"
    PUT, DELETE = "onlineEndpoint.put", "onlineEndpoint.delete"
    fidelity: ClassVar[dict[str, str]] = dict.fromkeys(
        ("get", "list", "put", "patch", "delete", "post:listkeys", "post:regeneratekeys", "post:token"), "documented"
    )

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

    async def _delete(self, payload: dict[str, Any]) -> None:
        deployments = self._azure_ml.types["onlineendpoints/deployments"]
        assert isinstance(deployments, Deployments)
        for deployment in self._store.children(f"{payload['id']}/deployments"):
            await deployments.remove(f"{payload['id']}/deployments/{deployment['name']}")
        self._store.delete(payload["id"])

    def _refuse(self, request: ArmRequest, desired: Resource, old: Resource | None) -> None:
        self._check_deployments(request.id, desired)
        if old is not None:
            refuse_change(request, old, desired, identity_of(request))

    def _check_deployments(self, endpoint_id: str, desired: Resource) -> None:
        properties = desired["properties"]
        traffic.check(properties["traffic"], properties["mirrorTraffic"], self._serving(endpoint_id))

    def _serving(self, endpoint_id: str) -> set[str]:
        """Deployments that can get traffic: those that succeeded once, even if a later update failed."""
        return {
            item["name"].lower()
            for item in self._store.children(f"{endpoint_id}/deployments")
            if item.get(SERVING) and item["properties"]["provisioningState"] != "Deleting"
        }

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

    def _new(self, request: ArmRequest, desired: Resource) -> Resource:
        return {
            "id": request.id,
            "name": request.name,
            "type": self.TYPE,
            "location": request.scope.location,
            "kind": KUBERNETES if desired["properties"]["compute"] else MANAGED,
            "identity": {
                "type": identity_of(request) or "SystemAssigned",
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

    def _shown(self, endpoint: Resource) -> Resource:
        """With its URLs, made when asked for: the platform's port may be another after a restart."""
        root = f"{self._azure_ml.context.base_url}/endpoints/{endpoint['name']}"
        answer = super()._shown(endpoint)
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
