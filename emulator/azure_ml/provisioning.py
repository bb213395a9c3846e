"""What endpoints, deployments and schedules have in common: resources that operations bring up and take down."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from starlette.responses import Response

from emulator.azure_ml.errors import BadRequest, Conflict, NotFound, OperationFailed
from emulator.azure_ml.listing import has
from emulator.azure_ml.regions import refuse_taken_name
from emulator.azure_ml.resource import ArmRequest, Unsupported, json_response
from emulator.azure_ml.store import Resource
from emulator.azure_ml.system_data import shown, stamp

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

DESIRED = "_desired"
"""What an update of an endpoint that still runs will apply; until then the endpoint answers as before."""


class Provisioned(Unsupported, ABC):
    """One operation at a time runs on a resource; `provisioningState` says how the last one ended."""

    TYPE: ClassVar[str]
    """As in ARM ids: `Microsoft.MachineLearningServices/workspaces/...`."""
    NOUN: ClassVar[str]
    PUT: ClassVar[str]
    DELETE: ClassVar[str]
    """Kinds of operations."""

    def __init__(self, azure_ml: AzureMl) -> None:
        self._azure_ml = azure_ml
        self._store = azure_ml.store
        self._operations = azure_ml.operations
        self._operations.register(self.PUT, self._provision, self._put_failed)
        self._operations.register(self.DELETE, self._delete, self._failed)

    async def get(self, request: ArmRequest) -> Response:
        return json_response(self._shown(self._existing(request)))

    async def delete(self, request: ArmRequest) -> Response:
        with self._store.transaction():
            if self._store.get(request.id) is None:
                return Response(status_code=204)
            self._refuse_overlap(request)
            self._refuse_delete(request)
            self._store.change(request.id, lambda found: found["properties"].update(provisioningState="Deleting"))
            operation = self._operations.begin(self.DELETE, request.id, {"id": request.id}, request.fail)
        return Response(status_code=202, headers=self._operations.response_headers(operation))

    def _begun(self, request: ArmRequest, resource: Resource, old: Resource | None, payload: Resource) -> tuple[int, str]:
        """Write what is asked for and begin the operation; its status and id. Call it in a transaction."""
        stamp(resource, request.caller, self._azure_ml.context.clock.now(), old)
        created = self._store.put(request.id, resource)
        operation = self._operations.begin(self.PUT, request.id, {"id": request.id, **payload}, request.fail)
        return 201 if created else 200, operation

    def _answer(self, body: Resource, begun: tuple[int, str]) -> Response:
        status, operation = begun
        return json_response(body, status, self._operations.response_headers(operation))

    @abstractmethod
    async def _provision(self, payload: dict[str, Any]) -> Resource | None:
        """Bring it to what is asked for; raises `OperationFailed`."""

    async def _delete(self, payload: dict[str, Any]) -> None:
        self._store.delete(payload["id"])

    def _put_failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        self._failed(payload, error)

    def _failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        if self._store.get(payload["id"]) is not None:
            self._store.change(payload["id"], lambda found: found["properties"].update(provisioningState="Failed"))

    def _refuse_delete(self, request: ArmRequest) -> None:
        """Raise an `AzureMlError` for what must stay."""

    def _refuse_overlap(self, request: ArmRequest) -> None:
        if self._operations.in_progress(request.id):
            raise busy(self.NOUN, request.name)

    def _wanted(self, payload: dict[str, Any]) -> Resource:
        """The resource of an operation, which may have gone since the operation began."""
        found = self._store.get(payload["id"])
        if found is None:
            raise OperationFailed(f"The {self.NOUN} was deleted.", code="ResourceNotFound")
        return found

    def _existing(self, request: ArmRequest) -> Resource:
        found = self._store.get(request.id)
        if found is None:
            raise not_found(self.TYPE, request.name)
        return found

    def _shown(self, resource: Resource) -> Resource:
        return shown(resource)


class Endpoints(Provisioned):
    """Updates are kept beside what an endpoint is, and become it when their operation succeeds."""

    NOUN = "endpoint"

    async def list(self, request: ArmRequest) -> Response:
        items = self._store.children(request.id)
        found = [item for item in items if has(item.get("tags") or {}, request.query.get("tags"))]
        return json_response({"value": [self._shown(item) for item in found]})

    def _begin(self, request: ArmRequest, desired: Resource) -> Response:
        with self._store.transaction():
            old = self._store.get(request.id)
            self._refuse_overlap(request)
            self._refuse(request, desired, old)
            if old is None:
                refuse_taken_name(request, self._azure_ml.scopes, self._store)
                resource = self._new(request, desired)
            else:
                resource = {**old, "properties": {**old["properties"], "provisioningState": "Updating"}}
            resource[DESIRED] = desired
            begun = self._begun(request, resource, old, {})
        return self._answer(self._shown(_applied(resource, desired)), begun)

    async def _provision(self, payload: dict[str, Any]) -> Resource | None:
        """Make the desired state the endpoint's own. Deployments may have gone since it was asked for."""
        with self._store.transaction():
            endpoint = self._wanted(payload)
            desired = endpoint.pop(DESIRED, None)
            if desired is not None:
                try:
                    self._check_deployments(payload["id"], desired)
                except BadRequest as refusal:
                    raise OperationFailed(refusal.message, code=refusal.code) from refusal
                endpoint = _applied(endpoint, desired)
            endpoint["properties"]["provisioningState"] = "Succeeded"
            self._store.put(payload["id"], endpoint)
        return self._shown(endpoint)

    def _put_failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        self._failed(payload, error)
        if self._store.get(payload["id"]) is not None:
            self._store.change(payload["id"], lambda found: found.pop(DESIRED, None))

    def _refuse_delete(self, request: ArmRequest) -> None:
        for deployment in self._store.children(f"{request.id}/deployments"):
            if self._operations.in_progress(f"{request.id}/deployments/{deployment['name']}"):
                raise busy("deployment", deployment["name"])

    @abstractmethod
    def _refuse(self, request: ArmRequest, desired: Resource, old: Resource | None) -> None:
        """Raise an `AzureMlError` for what an endpoint can't be, or can't become."""

    @abstractmethod
    def _check_deployments(self, endpoint_id: str, desired: Resource) -> None:
        """Raise `BadRequest` for deployments that are named and not there."""

    @abstractmethod
    def _new(self, request: ArmRequest, desired: Resource) -> Resource:
        """An endpoint that is being created."""


class EndpointDeployments(Provisioned):
    """The deployments of an endpoint, which must be there and have no operation of its own."""

    NOUN = "deployment"
    ENDPOINT: ClassVar[str]
    """The type of the endpoint."""

    async def list(self, request: ArmRequest) -> Response:
        self._endpoint(request)
        return json_response({"value": [self._shown(item) for item in self._store.children(request.id)]})

    def _free_endpoint(self, request: ArmRequest) -> Resource:
        """The endpoint, unless it is about to be another: it may be going to name this deployment, or be deleted."""
        endpoint = self._endpoint(request)
        if self._operations.in_progress(endpoint["id"]) or endpoint["properties"]["provisioningState"] == "Deleting":
            raise busy("endpoint", endpoint["name"])
        return endpoint

    def _endpoint(self, request: ArmRequest) -> Resource:
        endpoint = self._store.get("/".join((request.scope.id, *request.segments[:2])))
        if endpoint is None:
            raise not_found(self.ENDPOINT, request.names[0])
        return endpoint


def busy(noun: str, name: str) -> Conflict:
    return Conflict(f"Another operation on {noun} {name} is still in progress: wait for it to end.")


def not_found(type_name: str, name: str) -> NotFound:
    return NotFound(f"The Resource '{type_name}/{name}' was not found.")


def _applied(resource: Resource, desired: Resource) -> Resource:
    return {**resource, **desired, "properties": {**resource["properties"], **desired["properties"]}}
