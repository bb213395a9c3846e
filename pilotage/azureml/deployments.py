"""`Deployments` on managed online endpoints."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pilotage.azure_errors import azure_errors
from pilotage.azureml.connections import WORKSPACE_ROLE, Connections
from pilotage.azureml.scoring import Scoring
from pilotage.azureml.sdk import word
from pilotage.domain.rollout import check_sum, normal
from pilotage.errors import Busy, Conflict, NotFound
from pilotage.ports import Answer, DeploymentSpec, DeploymentState, EndpointState, ScoringAddress

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

DELETING = "Deleting"


class OnlineDeployments:
    """Endpoints and deployments as Azure ML has them. A change that meets another under way raises Busy."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._scoring = Scoring(connections)

    def endpoint(self, workspace: str, name: str) -> EndpointState | None:
        with self._asking(workspace, f"read endpoint {workspace}/{name}") as client:
            found = _or_none(client.online_endpoints.get, name)
        return None if found is None else _endpoint(workspace, found)

    def endpoints(self, workspace: str) -> list[EndpointState]:
        with self._asking(workspace, f"list the endpoints of {workspace}") as client:
            return [_endpoint(workspace, found) for found in client.online_endpoints.list()]

    def deployment(self, workspace: str, endpoint: str, name: str) -> DeploymentState | None:
        with self._asking(workspace, f"read deployment {workspace}/{endpoint}/{name}") as client:
            found = _or_none(client.online_deployments.get, name, endpoint)
        return None if found is None else _deployment(workspace, endpoint, found)

    def deployments(self, workspace: str, endpoint: str) -> list[DeploymentState]:
        """Empty when there is no such endpoint."""
        with self._asking(workspace, f"list the deployments of {workspace}/{endpoint}") as client:
            found = _or_none(lambda: list(client.online_deployments.list(endpoint)))
        return [_deployment(workspace, endpoint, item) for item in found or []]

    def begin_create_endpoint(self, workspace: str, name: str, tags: dict[str, str]) -> None:
        """Create an endpoint with key authentication; one that stands is left as it is (teams own theirs).

        Raises Conflict when the name is a Kubernetes endpoint's, Busy while an endpoint of the name is deleted.
        """
        from azure.ai.ml.entities import KubernetesOnlineEndpoint, ManagedOnlineEndpoint

        with self._asking(workspace, f"create endpoint {workspace}/{name}") as client:
            found = _or_none(client.online_endpoints.get, name)
            if isinstance(found, KubernetesOnlineEndpoint):
                raise Conflict(f"{workspace}/{name} is a Kubernetes endpoint, not a managed one")
            if found is not None and _state(found) == DELETING:
                raise Busy(f"{workspace}/{name} is being deleted")
            if found is None or _state(found) == "Failed":
                client.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=name, auth_mode="key", tags=tags))
        self._scoring.forget(workspace, name)

    def begin_set_traffic(self, workspace: str, endpoint: str, traffic: dict[str, int]) -> None:
        """Set the split; does nothing when it is so and stands. Raises NotFound, or InvalidInput for an unknown deployment."""
        check_sum(traffic)
        wanted = normal(traffic)
        with self._asking(workspace, f"set the traffic of {workspace}/{endpoint}") as client:
            found = client.online_endpoints.get(endpoint)
            if normal(found.traffic) == wanted and _state(found) == "Succeeded":
                return
            found.traffic = wanted
            # A deployment takes live traffic or a mirror of it, not both.
            found.mirror_traffic = {name: share for name, share in found.mirror_traffic.items() if name not in wanted}
            client.online_endpoints.begin_create_or_update(found)

    def begin_create_deployment(self, spec: DeploymentSpec) -> None:
        """Create a deployment; one that is there as specified is left, whatever its state.

        Raises Conflict with the differences when it is there otherwise, NotFound without its endpoint.
        """
        from azure.ai.ml.entities import ManagedOnlineDeployment

        found = self.deployment(spec.workspace, spec.endpoint, spec.name)
        if found is not None:
            if found.provisioning_state == DELETING:
                raise Busy(f"{spec.workspace}/{spec.endpoint}/{spec.name} is being deleted")
            if differences := _differences(spec, found):
                raise Conflict(f"{spec.workspace}/{spec.endpoint}/{spec.name} exists otherwise: {'; '.join(differences)}")
            return
        with self._asking(spec.workspace, f"create deployment {spec.workspace}/{spec.endpoint}/{spec.name}") as client:
            client.online_deployments.begin_create_or_update(ManagedOnlineDeployment(
                name=spec.name, endpoint_name=spec.endpoint, model=spec.model, environment=spec.environment,
                instance_type=spec.instance_type, instance_count=spec.instances, tags=spec.tags), skip_script_validation=True)

    def begin_delete_deployment(self, workspace: str, endpoint: str, name: str) -> None:
        """Delete a deployment; absent, or being deleted, is fine. Azure refuses (InvalidInput) while it has traffic."""
        found = self.deployment(workspace, endpoint, name)
        if found is None or found.provisioning_state == DELETING:
            return
        try:
            with self._asking(workspace, f"delete deployment {workspace}/{endpoint}/{name}") as client:
                client.online_deployments.begin_delete(name=name, endpoint_name=endpoint)
        except NotFound:
            return

    def begin_delete_endpoint(self, workspace: str, name: str) -> None:
        """Delete an endpoint with what is on it; absent, or being deleted, is fine."""
        with self._asking(workspace, f"delete endpoint {workspace}/{name}") as client:
            found = _or_none(client.online_endpoints.get, name)
            if found is not None and _state(found) != DELETING:
                client.online_endpoints.begin_delete(name)
        self._scoring.forget(workspace, name)

    def logs(self, workspace: str, endpoint: str, name: str, lines: int = 50) -> str:
        """The end of the inference server's log; empty when there is none (yet)."""
        with self._asking(workspace, f"read the log of {workspace}/{endpoint}/{name}") as client:
            return _or_none(client.online_deployments.get_logs, name, endpoint, lines) or ""

    def score(self, workspace: str, endpoint: str, body: bytes, deployment: str | None = None) -> Answer:
        """Send one scoring request; any HTTP status is an answer. Raises Unavailable when there is none."""
        return self._scoring.score(workspace, endpoint, body, deployment)

    def address(self, workspace: str, endpoint: str, deployment: str) -> ScoringAddress:
        """Where one deployment is reached, by whoever sends many requests. Raises NotFound."""
        return self._scoring.address(workspace, endpoint, deployment)

    @contextmanager
    def _asking(self, workspace: str, what: str) -> Iterator[MLClient]:
        client = self._connections.workspace(workspace).client
        with azure_errors(what, WORKSPACE_ROLE, conflict=Busy):
            yield client


def _or_none(read: Any, /, *args: Any) -> Any:
    from azure.core.exceptions import ResourceNotFoundError

    try:
        return read(*args)
    except ResourceNotFoundError:
        return None


def _endpoint(workspace: str, found: Any) -> EndpointState:
    return EndpointState(workspace=workspace, name=found.name, provisioning_state=_state(found),
                         traffic=normal(found.traffic or {}), tags=_tags(found))


def _deployment(workspace: str, endpoint: str, found: Any) -> DeploymentState:
    return DeploymentState(
        workspace=workspace, endpoint=endpoint, name=found.name, model=str(found.model or ""),
        environment=str(found.environment) if found.environment else None, instance_type=str(found.instance_type or ""),
        instances=int(found.instance_count or 1), tags=_tags(found), provisioning_state=_state(found))


def _state(found: Any) -> str:
    return word(found.provisioning_state)


def _tags(found: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in (found.tags or {}).items()}


def _differences(spec: DeploymentSpec, found: DeploymentState) -> list[str]:
    """In what a deployment is not as specified. What the spec leaves open (environment, further tags) may be anything."""
    pairs = [("model", _folded(spec.model), _folded(found.model)), ("instances", spec.instances, found.instances),
             ("instance type", spec.instance_type.casefold(), found.instance_type.casefold())]
    if spec.environment is not None:
        pairs.append(("environment", _folded(spec.environment), _folded(found.environment or "")))
    pairs += [(f"tag {name}", value, found.tags.get(name)) for name, value in spec.tags.items()]
    return [f"{name} is {there}, wanted {wanted}" for name, wanted, there in pairs if wanted != there]


def _folded(asset_id: str) -> str:
    """Asset ids as Azure compares them: without case, with or without the scheme before an ARM id."""
    return asset_id.casefold().removeprefix("azureml:/subscriptions").removeprefix("/subscriptions")
