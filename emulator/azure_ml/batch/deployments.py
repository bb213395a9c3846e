"""The ARM resource `batchEndpoints/deployments`: a model and how files are scored with it, or a pipeline component."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from starlette.responses import Response

from emulator.azure_ml import naming
from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.batch.endpoints import TYPE as ENDPOINT_TYPE
from emulator.azure_ml.batch.settings import properties_of
from emulator.azure_ml.errors import BadRequest, Conflict, NotFound, OperationFailed
from emulator.azure_ml.jobs.submission import Submission
from emulator.azure_ml.materials import CURATED
from emulator.azure_ml.regions import refuse_move
from emulator.azure_ml.resource import ArmRequest, Scope, Unsupported, json_response
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown, stamp

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

PUT, DELETE = "batchDeployment.put", "batchDeployment.delete"
TYPE = f"{ENDPOINT_TYPE}/deployments"
CLUSTERS = ("AmlCompute", "Kubernetes")
"""What batch deployments run on (learn.microsoft.com/azure/machine-learning/concept-endpoints-batch)."""


class BatchDeployments(Unsupported):
    """Nothing runs until the endpoint is invoked: to make a deployment is to check what it names."""

    fidelity: ClassVar[dict[str, str]] = dict.fromkeys(("get", "list", "put", "patch", "delete"), "documented")

    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml
        self._store = azure_ml.store
        self._operations = azure_ml.operations
        self._operations.register(PUT, self._succeed, self._put_failed)
        self._operations.register(DELETE, self._delete, self._put_failed)

    async def get(self, request: ArmRequest) -> Response:
        return json_response(shown(self._existing(request)))

    async def list(self, request: ArmRequest) -> Response:
        self._endpoint(request)
        return json_response({"value": [shown(item) for item in self._store.children(request.id)]})

    async def put(self, request: ArmRequest) -> Response:
        naming.check_deployment(request.name)
        return self._begin(request, properties_of(request.properties), fields.texts(request.body, "tags"))

    async def patch(self, request: ArmRequest) -> Response:
        """Change tags and the description, as Azure's update of a batch deployment does."""
        old = self._existing(request)
        kept = {name: value for name, value in old["properties"].items() if name != "provisioningState"}
        if "description" in request.properties:
            kept["description"] = fields.text(request.properties, "description")
        tags = fields.texts(request.body, "tags") if "tags" in request.body else old.get("tags") or {}
        return self._begin(request, kept, tags)

    async def delete(self, request: ArmRequest) -> Response:
        with self._store.transaction():
            if self._store.get(request.id) is None:
                return Response(status_code=204)
            endpoint = self._endpoint(request)
            if self._operations.in_progress(endpoint["id"]):
                raise _busy("endpoint", endpoint["name"])  # it may be about to make this one its default
            default = str(endpoint["properties"]["defaults"].get("deploymentName") or "")
            if default.lower() == request.name.lower() and len(self._store.children(request.collection_id)) > 1:
                raise BadRequest(
                    f"Deployment {request.name} is the default deployment of the endpoint: make another one the default first."
                )
            if self._operations.in_progress(request.id):
                raise _busy("deployment", request.name)
            self._store.change(request.id, lambda found: found["properties"].update(provisioningState="Deleting"))
            operation = self._operations.begin(DELETE, request.id, {"id": request.id}, request.fail)
        return Response(status_code=202, headers=self._operations.response_headers(operation))

    def _begin(self, request: ArmRequest, properties: Resource, tags: dict[str, str]) -> Response:
        check_references(self._azure_ml, request.scope, properties)
        with self._store.transaction():
            endpoint = self._endpoint(request)
            if self._operations.in_progress(endpoint["id"]) or endpoint["properties"]["provisioningState"] == "Deleting":
                raise _busy("endpoint", endpoint["name"])
            if self._operations.in_progress(request.id):
                raise _busy("deployment", request.name)
            old = self._store.get(request.id)
            if old is not None and ("deploymentConfiguration" in old["properties"]) != ("deploymentConfiguration" in properties):
                raise BadRequest("The type of a batch deployment (model or pipeline component) cannot be changed.")
            refuse_move(request, old)
            resource: Resource = {
                "id": request.id,
                "name": request.name,
                "type": TYPE,
                "location": request.scope.location,
                "tags": tags,
                "properties": {**properties, "provisioningState": "Creating" if old is None else "Updating"},
            }
            stamp(resource, request.caller, self._azure_ml.context.clock.now(), old)
            created = self._store.put(request.id, resource)
            operation = self._operations.begin(PUT, request.id, {"id": request.id}, request.fail)
        return json_response(shown(resource), 201 if created else 200, self._operations.response_headers(operation))

    async def _succeed(self, payload: dict[str, Any]) -> Resource | None:
        if self._store.get(payload["id"]) is None:
            raise OperationFailed("The deployment was deleted.", code="ResourceNotFound")
        return shown(
            self._store.change(payload["id"], lambda found: found["properties"].update(provisioningState="Succeeded"))
        )

    def _put_failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        if self._store.get(payload["id"]) is not None:
            self._store.change(payload["id"], lambda found: found["properties"].update(provisioningState="Failed"))

    async def _delete(self, payload: dict[str, Any]) -> None:
        with self._store.transaction():
            self._store.delete(payload["id"])
            endpoint_id, _, name = payload["id"].rpartition("/deployments/")
            endpoint = self._store.get(endpoint_id)
            defaults = endpoint["properties"]["defaults"] if endpoint is not None else {}
            if str(defaults.get("deploymentName") or "").lower() == name.lower():
                self._store.change(endpoint_id, lambda found: found["properties"].update(defaults={}))

    def _endpoint(self, request: ArmRequest) -> Resource:
        endpoint = self._store.get("/".join((request.scope.id, *request.segments[:2])))
        if endpoint is None:
            raise NotFound(f"The Resource '{ENDPOINT_TYPE}/{request.names[0]}' was not found.")
        return endpoint

    def _existing(self, request: ArmRequest) -> Resource:
        deployment = self._store.get(request.id)
        if deployment is None:
            raise NotFound(f"The Resource '{TYPE}/{request.name}' was not found.")
        return deployment


def check_references(azure_ml: AzureMl, scope: Scope, properties: Resource) -> None:
    """Raise `BadRequest` or `NotFound` unless everything that a deployment names is there and fits together."""
    _check_compute(azure_ml, scope, properties.get("compute"))
    if "deploymentConfiguration" in properties:
        asset = properties["deploymentConfiguration"]["componentId"]["assetId"]
        if Submission(scope, azure_ml.locations).component(asset)["kind"] != "pipeline":
            raise BadRequest(f"{asset} is not a pipeline component.")
        return
    if not properties.get("compute"):
        raise BadRequest("compute is required: the cluster that the jobs of the deployment run on.")
    code, environment = properties["codeConfiguration"], properties["environmentId"]
    if code is not None and not code["codeId"]:
        raise BadRequest("codeConfiguration.codeId is required.")
    if code is not None:
        azure_ml.locations.asset(code["codeId"], "codes", scope)
        if not environment:
            raise BadRequest("environmentId is required with a scoring script.")
    if environment and not environment.lower().startswith(CURATED):
        azure_ml.locations.asset(environment, "environments", scope)
    model = properties["model"]
    if model is None and code is None:
        raise BadRequest("model is required: only a scoring script does without.")
    if model is not None:
        _, found = azure_ml.locations.asset(model["assetId"], "models", scope)
        if code is None and found["properties"].get("modelType") != "mlflow_model":
            raise BadRequest("codeConfiguration and environmentId are required: only MLflow models are deployed without.")


def _check_compute(azure_ml: AzureMl, scope: Scope, reference: str | None) -> None:
    if not reference:
        return
    name = reference.rpartition("/")[2].removeprefix("azureml:")
    compute = azure_ml.store.get(f"{scope.id}/computes/{name}")
    if compute is None:
        raise BadRequest(f"The compute {reference} was not found in {scope.name}.")
    kind = compute["properties"].get("computeType")
    if kind not in CLUSTERS:
        raise BadRequest(f"Batch deployments run on clusters ({' or '.join(CLUSTERS)}), and {name} is of type {kind}.")


def _busy(kind: str, name: str) -> Conflict:
    return Conflict(f"Another operation on {kind} {name} is still in progress: wait for it to end.")
