"""Online deployments: a model and its scoring code, brought up as a real process."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from emulator.azure_ml import naming
from emulator.azure_ml.errors import BadRequest, Conflict, NotFound, OperationFailed
from emulator.azure_ml.materials import Materials
from emulator.azure_ml.resource import PROVIDER, ArmRequest, ResourceType, Unsupported, json_response
from emulator.azure_ml.scorers import ScorerSpec
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown, stamp
from emulator.azure_ml.traffic import shares

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

_TYPE = f"{PROVIDER}/workspaces/onlineEndpoints/deployments"
PUT, DELETE = "onlineDeployment.put", "onlineDeployment.delete"
SERVING = "_serving"
"""The `ScorerSpec` of the process that serves: a deployment whose update failed still has its old one."""
ROLLED = (
    "model",
    "codeConfiguration",
    "environmentId",
    "environmentVariables",
    "instanceType",
    "modelMountPath",
)
"""A change of one of these needs a new process."""
DEFAULTS: dict[str, Any] = {
    "endpointComputeType": "Managed",
    "scaleSettings": {"scaleType": "Default"},
    "requestSettings": {
        "maxConcurrentRequestsPerInstance": 1,
        "maxQueueWait": "PT0.5S",
        "requestTimeout": "PT5S",
    },
    "environmentVariables": {},
    "appInsightsEnabled": False,
    "egressPublicNetworkAccess": "Enabled",
    "properties": {},
}
PROBE = {
    "failureThreshold": 30,
    "initialDelay": "PT10S",
    "period": "PT10S",
    "successThreshold": 1,
    "timeout": "PT2S",
}


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    return {"onlineendpoints/deployments": Deployments(azure_ml)}


class Deployments(Unsupported):
    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml
        self._store = azure_ml.store
        self._operations = azure_ml.operations
        context = azure_ml.context
        self._materials = Materials(
            context.state / "azureml" / "deployments",
            azure_ml.locations,
            context.storage,
            context.clock,
            azure_ml.scorers.mlflow_script,
        )
        self._operations.register(PUT, self._bring_up, self._put_failed)
        self._operations.register(DELETE, self._delete, self._delete_failed)

    def restore(self) -> None:
        """Start the processes of every deployment that served when the platform ended."""
        for scope in self._azure_ml.scopes:
            for endpoint in self._store.children(f"{scope.id}/onlineEndpoints"):
                for deployment in self._store.children(f"{endpoint['id']}/deployments"):
                    if deployment.get(SERVING):
                        self._azure_ml.scorers.restore(deployment["id"], ScorerSpec(**deployment[SERVING]))

    async def get(self, request: ArmRequest) -> Response:
        return json_response(shown(self._existing(request)))

    async def list(self, request: ArmRequest) -> Response:
        self._endpoint(request)
        return json_response({"value": [shown(item) for item in self._store.children(request.id)]})

    async def put(self, request: ArmRequest) -> Response:
        """Begin to create, update or scale a deployment."""
        naming.check_deployment(request.name)
        with self._store.transaction():
            endpoint = self._endpoint(request)
            if (
                self._operations.in_progress(endpoint["id"])
                or endpoint["properties"]["provisioningState"] == "Deleting"
            ):
                raise _busy("endpoint", endpoint["name"])
            if self._operations.in_progress(request.id):
                raise _busy("deployment", request.name)
            old = self._store.get(request.id)
            resource = self._resource(request, old)
            stamp(resource, request.caller, self._azure_ml.context.clock.now(), old)
            created = self._store.put(request.id, resource)
            payload = {
                "id": request.id,
                "revision": uuid.uuid4().hex[:12],
                "roll": old is None or not old.get(SERVING) or _rolls(old, resource),
            }
            operation = self._operations.begin(PUT, request.id, payload, request.fail)
        return json_response(
            shown(resource), 201 if created else 200, self._operations.response_headers(operation)
        )

    async def delete(self, request: ArmRequest) -> Response:
        with self._store.transaction():
            if self._store.get(request.id) is None:
                return Response(status_code=204)
            endpoint = self._endpoint(request)
            if self._operations.in_progress(endpoint["id"]):
                raise _busy("endpoint", endpoint["name"])  # it may be about to give this one traffic
            properties = endpoint["properties"]
            live = shares(properties["traffic"]) | shares(properties["mirrorTraffic"])
            if share := live.get(request.name.lower()):
                raise BadRequest(
                    f"Deployment {request.name} receives {share} percent of traffic: set it to 0 before."
                )
            if self._operations.in_progress(request.id):
                raise _busy("deployment", request.name)
            self._store.change(
                request.id, lambda found: found["properties"].update(provisioningState="Deleting")
            )
            operation = self._operations.begin(DELETE, request.id, {"id": request.id}, request.fail)
        return Response(status_code=202, headers=self._operations.response_headers(operation))

    async def post(self, request: ArmRequest) -> Response:
        if request.action != "getlogs":
            return await super().post(request)
        self._existing(request)
        container = str(request.body.get("containerType") or "InferenceServer")
        tail = int(request.body.get("tail") or 500)
        content = await asyncio.to_thread(self._materials.log, request.id, container, tail)
        return json_response({"content": content})

    async def _bring_up(self, payload: dict[str, Any]) -> Resource | None:
        """Fetch the model and the code, start the process, and only then say that it succeeded."""
        deployment_id = payload["id"]
        deployment = self._store.get(deployment_id)
        if deployment is None:
            raise OperationFailed("The deployment was deleted.", code="ResourceNotFound")
        spec = None
        if payload["roll"]:
            scope = self._azure_ml.scopes.of_id(deployment_id)
            spec = await self._materials.prepare(scope, deployment, payload["revision"])
            await self._azure_ml.scorers.replace(deployment_id, spec)
        with self._store.transaction():
            before = (self._store.get(deployment_id) or {}).get(SERVING)
            deployment = self._store.change(deployment_id, lambda found: _succeed(found, spec))
            if spec is not None:
                self._announce(deployment)
        if spec is not None and before is not None and before["home"] != spec.home:
            await asyncio.to_thread(self._materials.discard_revision, before["home"])
        return shown(deployment)

    def _put_failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        if self._store.get(payload["id"]) is not None:
            self._store.change(
                payload["id"], lambda found: found["properties"].update(provisioningState="Failed")
            )
        self._materials.note(payload["id"], f"{error['code']}: {error['message']}")

    async def _delete(self, payload: dict[str, Any]) -> None:
        await self._azure_ml.scorers.remove(payload["id"])
        self._store.delete(payload["id"])
        await asyncio.to_thread(self._materials.discard, payload["id"])

    def _delete_failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        if self._store.get(payload["id"]) is not None:
            self._store.change(
                payload["id"], lambda found: found["properties"].update(provisioningState="Failed")
            )

    def _announce(self, deployment: Resource) -> None:
        properties = deployment["properties"]
        endpoint = deployment["id"].split("/")[-3]
        self._azure_ml.events.emit(
            self._azure_ml.scopes.of_id(deployment["id"]),
            "ModelDeployed",
            f"endpoints/{endpoint}",
            {
                "serviceName": endpoint,
                "serviceComputeType": properties["endpointComputeType"],
                "modelIds": properties.get("model") or "",
                "serviceTags": deployment.get("tags") or {},
                "serviceProperties": properties.get("properties") or {},
            },
        )

    def _resource(self, request: ArmRequest, old: Resource | None) -> Resource:
        properties = {
            **DEFAULTS,
            **{key: value for key, value in request.properties.items() if value is not None},
        }
        properties["requestSettings"] = {
            **DEFAULTS["requestSettings"],
            **_present(properties["requestSettings"]),
        }
        for probe in ("livenessProbe", "readinessProbe"):
            properties[probe] = {**PROBE, **_present(properties.get(probe) or {})}
        if properties["endpointComputeType"] == "Managed" and not properties.get("instanceType"):
            raise BadRequest("A managed online deployment needs an instanceType.", code="BadArgument")
        sku = {"name": "Default", "capacity": 1, **_present(request.body.get("sku") or {})}
        if not isinstance(sku["capacity"], int) or sku["capacity"] < 1:
            raise BadRequest(
                f"The instance count must be at least 1, not {sku['capacity']!r}.", code="BadArgument"
            )
        properties["provisioningState"] = "Creating" if old is None else "Updating"
        resource: Resource = {
            "id": request.id,
            "name": request.name,
            "type": _TYPE,
            "location": request.scope.location,
            "kind": properties["endpointComputeType"],
            "sku": sku,
            "tags": request.body.get("tags") or {},
            "properties": properties,
        }
        if old is not None and old.get(SERVING):
            resource[SERVING] = old[SERVING]
        return resource

    def _endpoint(self, request: ArmRequest) -> Resource:
        endpoint = self._store.get("/".join((request.scope.id, *request.segments[:2])))
        if endpoint is None:
            raise NotFound(
                f"The Resource '{PROVIDER}/workspaces/onlineEndpoints/{request.names[0]}' was not found."
            )
        return endpoint

    def _existing(self, request: ArmRequest) -> Resource:
        deployment = self._store.get(request.id)
        if deployment is None:
            raise NotFound(f"The Resource '{_TYPE}/{request.name}' was not found.")
        return deployment


def _busy(kind: str, name: str) -> Conflict:
    return Conflict(f"Another operation on {kind} {name} is still in progress: wait for it to end.")


def _succeed(deployment: Resource, spec: ScorerSpec | None) -> None:
    deployment["properties"]["provisioningState"] = "Succeeded"
    if spec is not None:
        deployment[SERVING] = spec.as_dict()


def _rolls(old: Resource, new: Resource) -> bool:
    # After a failure what runs is not what the resource says: start anew.
    if old["properties"]["provisioningState"] != "Succeeded":
        return True
    return any(old["properties"].get(name) != new["properties"].get(name) for name in ROLLED)


def _present(settings: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in settings.items() if value is not None}
