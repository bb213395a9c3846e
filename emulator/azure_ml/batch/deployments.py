"""The ARM resource `batchEndpoints/deployments`: a model and how files are scored with it, or a pipeline component."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from starlette.responses import Response

from emulator.azure_ml import naming
from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.batch.endpoints import BatchEndpoints
from emulator.azure_ml.batch.settings import properties_of
from emulator.azure_ml.errors import BadRequest
from emulator.azure_ml.jobs.submission import Submission
from emulator.azure_ml.materials import CURATED
from emulator.azure_ml.provisioning import EndpointDeployments
from emulator.azure_ml.regions import refuse_move
from emulator.azure_ml.resource import ArmRequest, Scope
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

CLUSTERS = ("AmlCompute", "Kubernetes")
"""What batch deployments run on (learn.microsoft.com/azure/machine-learning/concept-endpoints-batch)."""


class BatchDeployments(EndpointDeployments):
    """Nothing runs until the endpoint is invoked: to make a deployment is to check what it names."""

    ENDPOINT = BatchEndpoints.TYPE
    TYPE = f"{ENDPOINT}/deployments"
    PUT, DELETE = "batchDeployment.put", "batchDeployment.delete"
    fidelity: ClassVar[dict[str, str]] = dict.fromkeys(("get", "list", "put", "patch", "delete"), "documented")

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

    def _refuse_delete(self, request: ArmRequest) -> None:
        default = str(self._free_endpoint(request)["properties"]["defaults"].get("deploymentName") or "")
        if default.lower() == request.name.lower() and len(self._store.children(request.collection_id)) > 1:
            raise BadRequest(f"Deployment {request.name} is the default deployment of the endpoint: make another one the default first.")

    def _begin(self, request: ArmRequest, properties: Resource, tags: dict[str, str]) -> Response:
        check_references(self._azure_ml, request.scope, properties)
        with self._store.transaction():
            self._free_endpoint(request)
            self._refuse_overlap(request)
            old = self._store.get(request.id)
            if old is not None and ("deploymentConfiguration" in old["properties"]) != ("deploymentConfiguration" in properties):
                raise BadRequest("The type of a batch deployment (model or pipeline component) cannot be changed.")
            refuse_move(request, old)
            resource: Resource = {
                "id": request.id,
                "name": request.name,
                "type": self.TYPE,
                "location": request.scope.location,
                "tags": tags,
                "properties": {**properties, "provisioningState": "Creating" if old is None else "Updating"},
            }
            begun = self._begun(request, resource, old, {})
        return self._answer(shown(resource), begun)

    async def _provision(self, payload: dict[str, Any]) -> Resource | None:
        with self._store.transaction():
            self._wanted(payload)
            return shown(self._store.change(payload["id"], lambda found: found["properties"].update(provisioningState="Succeeded")))

    async def _delete(self, payload: dict[str, Any]) -> None:
        with self._store.transaction():
            self._store.delete(payload["id"])
            endpoint_id, name = payload["id"].rsplit("/", 2)[0], payload["id"].rpartition("/")[2]
            endpoint = self._store.get(endpoint_id)
            defaults = endpoint["properties"]["defaults"] if endpoint is not None else {}
            if str(defaults.get("deploymentName") or "").lower() == name.lower():
                self._store.change(endpoint_id, lambda found: found["properties"].update(defaults={}))


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
