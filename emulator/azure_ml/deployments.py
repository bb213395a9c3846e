"""Online deployments: a model and its scoring code, brought up as a real process."""

from __future__ import annotations

import asyncio
import shutil
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from emulator.azure_ml import naming
from emulator.azure_ml.errors import AzureMlError, BadRequest, Conflict, NotFound, OperationFailed
from emulator.azure_ml.resource import PROVIDER, ArmRequest, ResourceType, Scope, Unsupported, json_response
from emulator.azure_ml.scorers import ScorerSpec
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown, stamp
from emulator.azure_ml.traffic import shares
from emulator.azure_ml.transfers import fetch

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

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
CONTAINERS = {"inferenceserver": "inference-server.log", "storageinitializer": "storage-initializer.log"}


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    return {"onlineendpoints/deployments": Deployments(azure_ml)}


class Deployments(Unsupported):
    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml
        self._store = azure_ml.store
        self._operations = azure_ml.operations
        self._root = azure_ml.context.state / "azureml" / "deployments"
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
                raise Conflict(
                    f"Another operation on endpoint {endpoint['name']} is still in progress: wait for it to end."
                )
            if self._operations.in_progress(request.id):
                raise Conflict(
                    f"Another operation on deployment {request.name} is still in progress: wait for it to end."
                )
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
            properties = self._endpoint(request)["properties"]
            live = shares(properties["traffic"]) | shares(properties["mirrorTraffic"])
            if request.name.lower() in live:
                raise BadRequest(
                    f"Deployment {request.name} receives {live[request.name.lower()]} percent of traffic: set it to 0 before deleting."
                )
            if self._operations.in_progress(request.id):
                raise Conflict(
                    f"Another operation on deployment {request.name} is still in progress: wait for it to end."
                )
            self._store.change(
                request.id, lambda found: found["properties"].update(provisioningState="Deleting")
            )
            operation = self._operations.begin(DELETE, request.id, {"id": request.id}, request.fail)
        return Response(status_code=202, headers=self._operations.response_headers(operation))

    async def post(self, request: ArmRequest) -> Response:
        if request.action != "getlogs":
            return await super().post(request)
        self._existing(request)
        container = str(request.body.get("containerType") or "InferenceServer").lower()
        if container not in CONTAINERS:
            raise BadRequest(f"containerType {container!r} is not InferenceServer or StorageInitializer.")
        tail = int(request.body.get("tail") or 500)
        return json_response(
            {
                "content": await asyncio.to_thread(
                    _tail, self._folder(request.id) / CONTAINERS[container], tail
                )
            }
        )

    async def _bring_up(self, payload: dict[str, Any]) -> Resource | None:
        """Fetch the model and the code, start the process, and only then say that it succeeded."""
        deployment_id = payload["id"]
        deployment = self._store.get(deployment_id)
        if deployment is None:
            raise OperationFailed("The deployment was deleted.", code="ResourceNotFound")
        spec = None
        if payload["roll"]:
            spec = await self._prepare(deployment, payload["revision"])
            await self._azure_ml.scorers.replace(deployment_id, spec)
        with self._store.transaction():
            before = (self._store.get(deployment_id) or {}).get(SERVING)
            deployment = self._store.change(deployment_id, lambda found: _succeed(found, spec))
            if spec is not None:
                self._announce(deployment)
        if spec is not None and before is not None and before["home"] != spec.home:
            await asyncio.to_thread(shutil.rmtree, before["home"], True)
        return shown(deployment)

    def _put_failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        if self._store.get(payload["id"]) is not None:
            self._store.change(
                payload["id"], lambda found: found["properties"].update(provisioningState="Failed")
            )
        self._note(payload["id"], f"{error['code']}: {error['message']}")

    async def _delete(self, payload: dict[str, Any]) -> None:
        await self._azure_ml.scorers.remove(payload["id"])
        self._store.delete(payload["id"])
        await asyncio.to_thread(shutil.rmtree, self._folder(payload["id"]), True)

    def _delete_failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        if self._store.get(payload["id"]) is not None:
            self._store.change(
                payload["id"], lambda found: found["properties"].update(provisioningState="Failed")
            )

    async def _prepare(self, deployment: Resource, revision: str) -> ScorerSpec:
        """Materialise what the process needs; raises `OperationFailed` for what is missing."""
        properties = deployment["properties"]
        scope = self._azure_ml.scopes.of_id(deployment["id"])
        home = self._folder(deployment["id"]) / revision
        code_dir = home / "code"
        code_dir.mkdir(parents=True, exist_ok=True)
        model_dir: Path | None = None
        script = self._azure_ml.scorers.mlflow_script
        try:
            if properties.get("model"):
                model = await self._model(scope, properties["model"], deployment["id"], home)
                model_dir = home / "model"
            if code := properties.get("codeConfiguration"):
                owner, resource = self._azure_ml.locations.asset(code["codeId"], "codes", scope)
                location = self._azure_ml.locations.blob(resource["properties"]["codeUri"], owner)
                self._note(deployment["id"], f"Downloading code from {location.url}")
                fetched = await asyncio.to_thread(
                    fetch, self._azure_ml.context.storage, location, home / "snapshot"
                )
                code_dir = fetched if fetched.is_dir() else fetched.parent
                script = (code_dir / code["scoringScript"]).resolve()
                if not script.is_file():
                    raise OperationFailed(
                        f"The scoring script {code['scoringScript']} is not in the code.", code="BadArgument"
                    )
            elif model_dir is None or model["properties"].get("modelType") != "mlflow_model":
                raise OperationFailed(
                    "Scoring script and environment are required: only MLflow models are deployed without code.",
                    code="BadArgument",
                )
        except AzureMlError as missing:
            raise OperationFailed(missing.message, code="BadArgument") from missing
        variables = {
            str(key): str(value) for key, value in (properties.get("environmentVariables") or {}).items()
        }
        log = self._folder(deployment["id"]) / CONTAINERS["inferenceserver"]
        return ScorerSpec(
            str(script), str(model_dir) if model_dir else None, str(code_dir), str(home), str(log), variables
        )

    async def _model(self, scope: Scope, reference: str, deployment_id: str, home: Path) -> Resource:
        owner, model = self._azure_ml.locations.asset(reference, "models", scope)
        location = self._azure_ml.locations.blob(model["properties"]["modelUri"], owner)
        self._note(deployment_id, f"Downloading model {model['id']} from {location.url}")
        await asyncio.to_thread(fetch, self._azure_ml.context.storage, location, home / "model")
        return model

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
            "type": f"{PROVIDER}/workspaces/onlineEndpoints/deployments",
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
            raise NotFound(
                f"The Resource '{PROVIDER}/workspaces/onlineEndpoints/deployments/{request.name}' was not found."
            )
        return deployment

    def _folder(self, deployment_id: str) -> Path:
        """Endpoint names are unique in the platform's region, so these are too."""
        *_, endpoint, _, deployment = deployment_id.lower().split("/")
        return self._root / endpoint / deployment

    def _note(self, deployment_id: str, line: str) -> None:
        folder = self._folder(deployment_id)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / CONTAINERS["storageinitializer"]).open("a") as log:
            log.write(f"{self._azure_ml.context.clock.now():%Y-%m-%dT%H:%M:%S} {line}\n")


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


def _tail(path: Path, lines: int) -> str:
    if not path.exists():
        return ""
    text = path.read_text(errors="replace")
    return "\n".join(text.splitlines()[-lines:]) + "\n"
