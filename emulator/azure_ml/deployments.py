"""Online deployments: a model and its scoring code, brought up as a real process."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, ClassVar

from starlette.responses import Response

from emulator.azure_ml import collection, naming
from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.deployment_settings import KUBERNETES, MANAGED, properties_of, sku_of, startup_of
from emulator.azure_ml.deployment_skus import DeploymentSkus
from emulator.azure_ml.errors import BadRequest, OperationFailed
from emulator.azure_ml.materials import Materials
from emulator.azure_ml.provisioning import EndpointDeployments
from emulator.azure_ml.quota import RESERVED, Quota
from emulator.azure_ml.regions import refuse_move
from emulator.azure_ml.resource import PROVIDER, ArmRequest, ResourceType, json_response
from emulator.azure_ml.scorers import ScorerSpec
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown
from emulator.azure_ml.traffic import shares

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

SERVING = "_serving"
"""The `ScorerSpec` of the process that serves: a deployment whose update failed still has its old one."""
LIVE = "_live"
"""Instances, request and scale settings of what serves: `scoring.py` goes by them."""
KEPT = (SERVING, LIVE, RESERVED)
ROLLED = (
    "model",
    "codeConfiguration",
    "environmentId",
    "environmentVariables",
    "instanceType",
    "modelMountPath",
    "livenessProbe",
    "readinessProbe",
)
"""A change of one of these needs a new process."""
MOST_DEPLOYMENTS = 20
"""Of one endpoint (learn.microsoft.com/azure/machine-learning/how-to-manage-quotas)."""
CONTAINERS = ("InferenceServer", "StorageInitializer")
MUTABLE = ("tags", "sku")
"""What a PATCH may change."""


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    return {"onlineendpoints/deployments": Deployments(azure_ml), "onlineendpoints/deployments/skus": DeploymentSkus(azure_ml)}


class Deployments(EndpointDeployments):
    ENDPOINT = f"{PROVIDER}/workspaces/onlineEndpoints"
    TYPE = f"{ENDPOINT}/deployments"
    PUT, DELETE = "onlineDeployment.put", "onlineDeployment.delete"
    fidelity: ClassVar[dict[str, str]] = dict.fromkeys(("get", "list", "put", "patch", "delete", "post:getlogs"), "documented")

    def __init__(self, azure_ml: AzureMl) -> None:
        super().__init__(azure_ml)
        context = azure_ml.context
        self._materials = Materials(
            context.state / "azureml" / "deployments",
            azure_ml.locations,
            context.storage,
            context.clock,
            azure_ml.scorers.mlflow_script,
        )
        self._quota = Quota(azure_ml.store, context.config.core_quota, context.config.subscription)

    def restore(self) -> None:
        """Start the processes of every deployment that served when the platform ended."""
        for scope in self._azure_ml.scopes:
            for endpoint in self._store.children(f"{scope.id}/onlineEndpoints"):
                for deployment in self._store.children(f"{endpoint['id']}/deployments"):
                    if deployment.get(SERVING):
                        self._azure_ml.scorers.restore(deployment["id"], ScorerSpec(**deployment[SERVING]))

    async def put(self, request: ArmRequest) -> Response:
        """Begin to create, update or scale a deployment."""
        naming.check_deployment(request.name)
        kind = KUBERNETES if self._endpoint(request).get("kind") == "K8S" else MANAGED
        properties = properties_of(request.properties, kind)
        collection.settle(properties)
        parts = {"sku": sku_of(request.body), "tags": fields.texts(request.body, "tags"), "properties": properties}
        return self._begin(request, parts)

    async def patch(self, request: ArmRequest) -> Response:
        """Change tags or the number of instances, and nothing else."""
        old = self._existing(request)
        if unknown := sorted(set(request.body) - set(MUTABLE)):
            raise BadRequest(f"Only {' and '.join(MUTABLE)} of a deployment can be patched, not {', '.join(unknown)}.")
        parts = {
            "sku": sku_of({"sku": {**old["sku"], **fields.mapping(request.body, "sku")}}),
            "tags": fields.texts(request.body, "tags") if "tags" in request.body else old["tags"],
            "properties": {name: value for name, value in old["properties"].items() if name != "provisioningState"},
        }
        return self._begin(request, parts)

    def _begin(self, request: ArmRequest, parts: Resource) -> Response:
        with self._store.transaction():
            self._free_endpoint(request)
            self._refuse_overlap(request)
            old = self._store.get(request.id)
            if old is None and len(self._store.children(request.collection_id)) >= MOST_DEPLOYMENTS:
                raise BadRequest(f"An endpoint has at most {MOST_DEPLOYMENTS} deployments.", code="BadArgument")
            refuse_move(request, old)
            resource = self._resource(request, old, parts)
            payload = {
                "revision": uuid.uuid4().hex[:12],
                "roll": old is None or not old.get(SERVING) or _rolls(old, resource),
                "held": (old or {}).get(RESERVED),
            }
            begun = self._begun(request, resource, old, payload)
        return self._answer(shown(resource), begun)

    def _refuse_delete(self, request: ArmRequest) -> None:
        properties = self._free_endpoint(request)["properties"]
        live = shares(properties["traffic"]) | shares(properties["mirrorTraffic"])
        if share := live.get(request.name.lower()):
            raise BadRequest(f"Deployment {request.name} receives {share} percent of traffic: set it to 0 before.")

    async def post(self, request: ArmRequest) -> Response:
        if request.action != "getlogs":
            return await super().post(request)
        self._existing(request)
        container = fields.choice(request.body, "containerType", "InferenceServer", CONTAINERS)
        tail = fields.integer(request.body, "tail", 500, 1)
        content = await asyncio.to_thread(self._materials.log, request.id, container, tail)
        return json_response({"content": content})

    async def remove(self, deployment_id: str) -> None:
        """End its process, forget it, and clear away what it had in memory and on disk."""
        await self._azure_ml.scorers.remove(deployment_id)
        # Before the resource goes: whoever takes the operation up after a crash finds by it what is left to do.
        await asyncio.to_thread(self._materials.discard, deployment_id)
        self._store.delete(deployment_id)
        self._azure_ml.scoring.queues.forget(deployment_id)
        self._azure_ml.collector.forget(deployment_id)

    async def _provision(self, payload: dict[str, Any]) -> Resource | None:
        """Find the cores, fetch the model and the code, start the process, and only then say that it succeeded."""
        deployment_id = payload["id"]
        deployment = self._reserve(payload)
        spec = None
        if payload["roll"]:
            try:
                spec = await self._rolled(deployment, payload["revision"])
            except OperationFailed:
                await asyncio.to_thread(self._materials.discard_revision, self._materials.home(deployment_id, payload["revision"]))
                raise
        with self._store.transaction():
            before = (self._store.get(deployment_id) or {}).get(SERVING)
            deployment = self._store.change(deployment_id, lambda found: _succeed(found, spec))
            if spec is not None:
                self._announce(deployment)
        if spec is not None and before is not None and before["home"] != spec.home:
            await asyncio.to_thread(self._materials.discard_revision, before["home"])
        return shown(deployment)

    async def _rolled(self, deployment: Resource, revision: str) -> ScorerSpec:
        """A process of the deployment's own, which serves from now on; raises `OperationFailed`."""
        prepared = await self._materials.prepare(self._azure_ml.scopes.of_id(deployment["id"]), deployment, revision)
        spec = replace(prepared, **asdict(startup_of(deployment["properties"])))
        await self._azure_ml.scorers.replace(deployment["id"], spec)
        return spec

    def _reserve(self, payload: dict[str, Any]) -> Resource:
        """Hold the cores that the deployment asks for; raises `OperationFailed` when there are too few."""
        with self._store.transaction():
            deployment = self._wanted(payload)
            deployment[RESERVED] = self._quota.reserve(self._azure_ml.scopes.of_id(deployment["id"]), deployment)
            self._store.put(deployment["id"], deployment)
        return deployment

    def _put_failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        """An update that failed holds what it held before; a new deployment keeps its cores until it is deleted."""

        def fail(found: Resource) -> None:
            found["properties"]["provisioningState"] = "Failed"
            if found.get(SERVING):
                found[RESERVED] = payload.get("held")

        if self._store.get(payload["id"]) is not None:
            self._store.change(payload["id"], fail)
        self._materials.note(payload["id"], f"{error['code']}: {error['message']}")

    async def _delete(self, payload: dict[str, Any]) -> None:
        await self.remove(payload["id"])

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

    def _resource(self, request: ArmRequest, old: Resource | None, parts: Resource) -> Resource:
        properties = {**parts["properties"], "provisioningState": "Creating" if old is None else "Updating"}
        return {
            "id": request.id,
            "name": request.name,
            "type": self.TYPE,
            "location": request.scope.location,
            "kind": properties["endpointComputeType"],
            "sku": parts["sku"],
            "tags": parts["tags"],
            "properties": properties,
            **{name: old[name] for name in KEPT if old is not None and old.get(name)},
        }


def _succeed(deployment: Resource, spec: ScorerSpec | None) -> None:
    properties = deployment["properties"]
    properties["provisioningState"] = "Succeeded"
    deployment[LIVE] = {
        "capacity": deployment["sku"]["capacity"],
        "requestSettings": properties["requestSettings"],
        "scaleSettings": properties["scaleSettings"],
    }
    if spec is not None:
        deployment[SERVING] = spec.as_dict()


def _rolls(old: Resource, new: Resource) -> bool:
    # After a failure what runs is not what the resource says: start anew.
    if old["properties"]["provisioningState"] != "Succeeded":
        return True
    return any(old["properties"].get(name) != new["properties"].get(name) for name in ROLLED)
