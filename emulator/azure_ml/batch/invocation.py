"""Invocations: `POST {scoringUri}` becomes a pipeline job with one step, `batchscoring`, which scores the files.

That is how batch jobs look in Azure Machine Learning, and where the SDK finds their predictions: the output `score` of
the only child of a job with the tag `azureml.batchrun`. The job engine runs them, resumes them after a restart and
cancels them as it does any job. A deployment of a pipeline component runs that pipeline instead.
"""

from __future__ import annotations

import builtins
import re
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from emulator.azure_ml.batch import plan
from emulator.azure_ml.batch.deployments import BatchDeployments
from emulator.azure_ml.batch.endpoints import BatchEndpoints
from emulator.azure_ml.batch.request import BatchRequest, read
from emulator.azure_ml.bodies import json_object
from emulator.azure_ml.errors import AzureMlError, BadRequest, Conflict, NotFound, envelope, error_response
from emulator.azure_ml.jobs.runs import Run
from emulator.azure_ml.provisioning import not_found
from emulator.azure_ml.resource import PROVIDER, ArmRequest, Scope, Unsupported, json_response
from emulator.azure_ml.scoring import AUDIENCE, DEPLOYMENT_HEADER
from emulator.azure_ml.store import Resource
from emulator.context import Caller, Unauthorized

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

REPEAT_HEADER = "repeatability-request-id"
ENDPOINT_PROPERTY, DEPLOYMENT_PROPERTY = "azureml.endpointname", "azureml.deploymentname"
_NAMES = uuid.UUID("5b1f1e61-7a3f-4a51-9d06-0f7a5c0d9d1e")
_PAGE = 50


class Invocations:
    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml

    def routes(self) -> list[BaseRoute]:
        return [Route("/batch/{endpoint}/jobs", self.invoke, methods=["POST"])]

    async def invoke(self, request: Request) -> Response:
        try:
            caller = self._azure_ml.context.identity.caller(request.headers.get("authorization"))
            if caller.audience.rstrip("/") != AUDIENCE:
                raise Unauthorized(f"the token is for {caller.audience}, not for {AUDIENCE}")
        except Unauthorized as refusal:
            answer = envelope("Unauthorized", f"Invalid token: {refusal}")
            return json_response(answer, 401, {"WWW-Authenticate": "Bearer"})
        try:
            scope, endpoint = self._endpoint(request.path_params["endpoint"])
            named = request.headers.get(DEPLOYMENT_HEADER)
            self._authorize(caller, endpoint, named)
            deployment = self._deployment(endpoint, named)
            asked = read(await json_object(request))
            run = self._begin(scope, endpoint, deployment, asked, caller, request.headers.get(REPEAT_HEADER))
            run = self._started(run, scope, getattr(request.state, "fail_operation", None))
        except AzureMlError as error:
            return error_response(error)
        return json_response(shown(run, endpoint["id"]), 201)

    def _begin(self, scope: Scope, endpoint: Resource, deployment: Resource, asked: BatchRequest, caller: Caller,
               repeat: str | None) -> Run:  # fmt: skip
        """Write the job. The same request again, by its repeatability id, answers the same job."""
        jobs = self._azure_ml.jobs
        name = asked.name
        if name is None:
            seed = f"{endpoint['id']}/{repeat}".lower()
            name = f"batchjob-{uuid.uuid5(_NAMES, seed) if repeat else uuid.uuid4()}"
        properties = {ENDPOINT_PROPERTY: endpoint["name"], DEPLOYMENT_PROPERTY: deployment["name"]}
        if repeat:
            properties["azureml.repeatabilityRequestId"] = repeat
        known = jobs.runs.find(scope.id, name)
        if known is not None:
            if repeat and known.properties.get("azureml.repeatabilityRequestId") == repeat:
                return known
            raise Conflict(f"A job named {name} exists already.", code="UserError")
        planned = plan.of(self._azure_ml, scope, deployment, asked)
        return jobs.runs.add(
            Run(
                scope_id=scope.id,
                name=name,
                kind="pipeline",
                spec=planned.spec,
                created_by={"object_id": caller.object_id, "name": caller.name},
                created=jobs.runs.now(),
                experiment=asked.experiment or endpoint["name"],
                display_name=name,
                root=name,
                tags={"azureml.batchrun": "true", "azureml.deploymentname": deployment["name"], "azureml.jobtype": planned.job_type},
                properties={**properties, "azureml.pipelineComponent": planned.component} if planned.component else properties,
                body=planned.body,
            ),
            scope,
        )

    def _started(self, run: Run, scope: Scope, fail: dict[str, Any] | None) -> Run:
        jobs = self._azure_ml.jobs
        if fail is not None:  # a fault: the job is accepted, and fails
            error = {"code": str(fail.get("code") or "ServiceError"), "message": str(fail.get("message") or "")}
            run = jobs.runs.set_status(run, scope, "Failed", error)
        if not run.terminal:
            jobs.engine.begin(run)
        return run

    def _endpoint(self, name: str) -> tuple[Scope, Resource]:
        """Endpoint names are unique in the region."""
        for scope in self._azure_ml.scopes:
            endpoint = self._azure_ml.store.get(f"{scope.id}/batchEndpoints/{name}")
            if endpoint is not None:
                return scope, endpoint
        raise not_found(BatchEndpoints.TYPE, name)

    def _authorize(self, caller: Caller, endpoint: Resource, deployment: str | None) -> None:
        parts = "batchEndpoints/deployments/jobs" if deployment else "batchEndpoints/jobs"
        self._azure_ml.permissions.require(caller, f"{PROVIDER}/workspaces/{parts}/write", endpoint["id"])

    def _deployment(self, endpoint: Resource, named: str | None) -> Resource:
        name = named or endpoint["properties"]["defaults"].get("deploymentName")
        if not name:
            raise BadRequest(f"The endpoint {endpoint['name']} has no default deployment: name one in {DEPLOYMENT_HEADER}.")
        deployment = self._azure_ml.store.get(f"{endpoint['id']}/deployments/{name}")
        if deployment is None:
            raise not_found(BatchDeployments.TYPE, name)
        state = deployment["properties"]["provisioningState"]
        if state != "Succeeded":
            raise BadRequest(f"The deployment {name} can't be invoked: its provisioning state is {state}.")
        return deployment


class BatchJobs(Unsupported):
    """The jobs of an endpoint or of one deployment, newest first (`batch_endpoints.list_jobs`)."""

    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml

    def _of(self, request: ArmRequest) -> builtins.list[Run]:
        wanted = {ENDPOINT_PROPERTY: request.names[0].lower()}
        if request.type == "batchendpoints/deployments/jobs":
            wanted[DEPLOYMENT_PROPERTY] = request.names[1].lower()
        return [
            run
            for run in self._azure_ml.jobs.runs.roots(request.scope.id)
            if plan.INVOCATION in run.spec  # anybody may write the properties
            and all(run.properties.get(name, "").lower() == value for name, value in wanted.items())
        ]

    async def get(self, request: ArmRequest) -> Response:
        self._parents(request)
        for run in self._of(request):
            if run.name.lower() == request.name.lower():
                return json_response(shown(run, self._endpoint_id(request)))
        raise NotFound(f"Run with id {request.name} was not found.", code="UserError")

    async def list(self, request: ArmRequest) -> Response:
        self._parents(request)
        found = self._of(request)
        start = request.query.get("$skip", "0")
        if not re.fullmatch(r"[0-9]{1,9}", start):
            raise BadRequest(f"$skip must be a whole number, not {start!r:.100}.")
        skip = int(start)
        body: dict[str, Any] = {"value": [shown(run, self._endpoint_id(request)) for run in found[skip : skip + _PAGE]]}
        if len(found) > skip + _PAGE:
            query = urlencode({**request.query, "$skip": skip + _PAGE})
            root = f"{self._azure_ml.context.base_url}/mferp/managementfrontend"
            body["nextLink"] = f"{root}{request.id}?{query}"
        return json_response(body)

    def _parents(self, request: ArmRequest) -> None:
        if self._azure_ml.store.get(self._endpoint_id(request)) is None:
            raise not_found(BatchEndpoints.TYPE, request.names[0])

    def _endpoint_id(self, request: ArmRequest) -> str:
        return f"{request.scope.id}/batchEndpoints/{request.names[0]}"


def shown(run: Run, endpoint_id: str) -> dict[str, Any]:
    """A `BatchJobResource`, as the data plane of api-version 2020-09-01 has it."""
    return {
        "id": f"{endpoint_id}/jobs/{run.name}",
        "name": run.name,
        "type": f"{BatchEndpoints.TYPE}/jobs",
        "properties": {
            "name": run.name,
            "status": run.status,
            "provisioningState": "Succeeded",
            "tags": run.tags,
            "properties": run.properties,
            "description": run.description,
            **run.spec[plan.INVOCATION],
            "interactionEndpoints": {},
        },
        "systemData": {"createdAt": run.created, "createdBy": run.created_by["name"], "createdByType": "User"},
    }
