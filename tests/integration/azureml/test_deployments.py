"""Endpoints, deployments, traffic and scoring, through the unmodified azure-ai-ml and against real scoring processes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from pilotage.azureml import OnlineDeployments
from pilotage.errors import Busy, Conflict, InvalidInput, NotFound, PermissionDenied, Throttled, Unavailable
from pilotage.ports import DeploymentSpec, DeploymentState, EndpointState
from tests.support.light_model import Line, write
from tests.support.platform import LivePlatform, wait_for

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

pytestmark = pytest.mark.xdist_group("sdk")

W = "mlw-dev"
ROW = json.dumps({"input_data": {"columns": ["carrier", "origin", "dest", "distance", "hour"], "index": [0],
                                 "data": [["UA", "EWR", "ORD", 700.0, 6]]}}).encode()


@pytest.fixture(scope="module")
def model(ada: MLClient, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Line], str]:
    """Registers a light model in the workspace; returns its asset id."""
    from azure.ai.ml.entities import Model

    def register(line: Line) -> str:
        name = f"line-{uuid4().hex[:8]}"
        folder = write(tmp_path_factory.mktemp("line") / "model", line)
        return str(ada.models.create_or_update(Model(name=name, version="1", path=str(folder), type="mlflow_model")).id)

    return register


def endpoint_name() -> str:
    return f"ep-{uuid4().hex[:12]}"


def settled_endpoint(deployments: OnlineDeployments, name: str) -> EndpointState:
    def look() -> EndpointState | None:
        found = deployments.endpoint(W, name)
        return found if found is not None and found.provisioning_state in ("Succeeded", "Failed") else None

    return wait_for(f"endpoint {name}", look)


def settled(deployments: OnlineDeployments, endpoint: str, name: str) -> DeploymentState:
    def look() -> DeploymentState | None:
        found = deployments.deployment(W, endpoint, name)
        return found if found is not None and found.provisioning_state in ("Succeeded", "Failed") else None

    return wait_for(f"deployment {name}", look)


@pytest.fixture(scope="module")
def empty(deployments: OnlineDeployments) -> str:
    """An endpoint that stands, without deployments."""
    name = endpoint_name()
    deployments.begin_create_endpoint(W, name, {"pilotage-role": "staging"})
    settled_endpoint(deployments, name)
    return name


@pytest.fixture(scope="module")
def serving(deployments: OnlineDeployments, model: Callable[[Line], str]) -> tuple[str, dict[str, DeploymentSpec]]:
    """An endpoint with two deployments that answer differently, `one` with all the traffic."""
    name = endpoint_name()
    deployments.begin_create_endpoint(W, name, {})
    settled_endpoint(deployments, name)
    specs = {
        green: DeploymentSpec(workspace=W, endpoint=name, name=green, model=model(Line(slope=0.0, intercept=answer)),
                              instance_type="Standard_DS3_v2", tags={"pilotage-promotion": f"promote-{green}"})
        for green, answer in (("one", 1.0), ("two", 2.0))
    }
    for spec in specs.values():
        deployments.begin_create_deployment(spec)
    for spec in specs.values():
        assert settled(deployments, name, spec.name).provisioning_state == "Succeeded"
    return name, specs


def writes(azure: LivePlatform, path: str) -> list[dict[str, Any]]:
    return [request for method in ("PUT", "DELETE", "PATCH") for request in azure.journal(path, method)]


# --- what is not there ----------------------------------------------------------------------------

def test_what_is_not_there_is_none_or_empty(deployments: OnlineDeployments, empty: str) -> None:
    assert deployments.endpoint(W, "never-made") is None
    assert deployments.deployment(W, "never-made", "one") is None
    assert deployments.deployment(W, empty, "never-made") is None
    assert deployments.deployments(W, "never-made") == []
    assert deployments.deployments(W, empty) == []
    assert deployments.logs(W, empty, "never-made") == ""
    deployments.begin_delete_deployment(W, empty, "never-made")
    deployments.begin_delete_deployment(W, "never-made", "one")


def test_a_deployment_needs_its_endpoint(deployments: OnlineDeployments) -> None:
    with pytest.raises(NotFound):
        deployments.begin_create_deployment(DeploymentSpec(
            workspace=W, endpoint="never-made", name="one", model="azureml:m:1", instance_type="Standard_DS3_v2"))
    with pytest.raises(NotFound):
        deployments.begin_set_traffic(W, "never-made", {})
    with pytest.raises(NotFound):
        deployments.score(W, "never-made", ROW)


# --- endpoints ------------------------------------------------------------------------------------

def test_creating_an_endpoint_returns_once_it_is_accepted(deployments: OnlineDeployments, azure: LivePlatform) -> None:
    name, threads = endpoint_name(), threading.enumerate()
    deployments.begin_create_endpoint(W, name, {"pilotage-role": "production"})
    assert threading.enumerate() == threads, "nobody polls in the background"
    deployments.begin_create_endpoint(W, name, {"pilotage-role": "production"})
    found = settled_endpoint(deployments, name)
    assert (found.name, found.provisioning_state, found.traffic, found.tags) == (name, "Succeeded", {}, {"pilotage-role": "production"})
    deployments.begin_create_endpoint(W, name, {"other": "tags"})
    assert len(writes(azure, f"/onlineEndpoints/{name}$")) == 1, "one that is there is left as it is"
    assert name in [endpoint.name for endpoint in deployments.endpoints(W)]


def test_an_endpoint_whose_answer_was_lost_is_found_again(deployments: OnlineDeployments, azure: LivePlatform) -> None:
    name = endpoint_name()
    azure.fault(method="PUT", path=f"/onlineEndpoints/{name}$", when="after", action="drop", count=9)
    with pytest.raises((Unavailable, Busy)):  # the SDK's own repeats may meet the operation that they began
        deployments.begin_create_endpoint(W, name, {})
    azure.clear_faults()
    deployments.begin_create_endpoint(W, name, {})
    assert settled_endpoint(deployments, name).provisioning_state == "Succeeded"


# --- deployments ----------------------------------------------------------------------------------

def test_a_deployment_reads_as_it_was_specified(
    deployments: OnlineDeployments, serving: tuple[str, dict[str, DeploymentSpec]]
) -> None:
    endpoint, specs = serving
    found = deployments.deployment(W, endpoint, "one")
    assert found is not None
    assert found.model.casefold().endswith(specs["one"].model.casefold().removeprefix("azureml:"))
    assert (found.instance_type, found.instances, found.tags) == ("Standard_DS3_v2", 1, {"pilotage-promotion": "promote-one"})
    assert sorted(item.name for item in deployments.deployments(W, endpoint)) == ["one", "two"]


def test_what_is_there_as_specified_is_not_written_again(
    deployments: OnlineDeployments, azure: LivePlatform, serving: tuple[str, dict[str, DeploymentSpec]]
) -> None:
    endpoint, specs = serving
    before, threads = len(writes(azure, f"/{endpoint}/deployments/one$")), threading.enumerate()
    deployments.begin_create_deployment(specs["one"])
    assert len(writes(azure, f"/{endpoint}/deployments/one$")) == before == 1
    assert threading.enumerate() == threads


@pytest.mark.parametrize(("changes", "told"), [
    ({"instances": 2}, "instances is 1, wanted 2"),
    ({"instance_type": "Standard_F4s_v2"}, "instance type is"),
    ({"model": "azureml://registries/r/models/other/versions/1"}, "model is"),
    ({"environment": "azureml://registries/r/environments/other/versions/1"}, "environment is"),
    ({"tags": {"pilotage-promotion": "promote-other"}}, "tag pilotage-promotion is promote-one, wanted promote-other"),
])
def test_what_is_there_otherwise_is_a_conflict(
    deployments: OnlineDeployments, serving: tuple[str, dict[str, DeploymentSpec]], changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(Conflict, match=told):
        deployments.begin_create_deployment(serving[1]["one"].model_copy(update=changes))


def test_a_deployment_that_does_not_start_has_failed_and_its_log_says_why(
    deployments: OnlineDeployments, empty: str, model: Callable[[Line], str]
) -> None:
    spec = DeploymentSpec(workspace=W, endpoint=empty, name="broken", instance_type="Standard_DS3_v2",
                          model=model(Line(slope=0.0, intercept=0.0, fails="load")))
    deployments.begin_create_deployment(spec)
    assert settled(deployments, empty, "broken").provisioning_state == "Failed"
    assert "made to fail" in deployments.logs(W, empty, "broken", lines=200)
    deployments.begin_create_deployment(spec)
    assert settled(deployments, empty, "broken").provisioning_state == "Failed", "a repeat does not try it again"
    deployments.begin_delete_deployment(W, empty, "broken")
    deployments.begin_delete_deployment(W, empty, "broken")
    wait_for("its end", lambda: True if deployments.deployment(W, empty, "broken") is None else None)


# --- traffic and scoring --------------------------------------------------------------------------

def test_traffic_moves_and_comes_back(
    deployments: OnlineDeployments, azure: LivePlatform, serving: tuple[str, dict[str, DeploymentSpec]]
) -> None:
    endpoint = serving[0]

    def move(traffic: dict[str, int]) -> dict[str, int]:
        deployments.begin_set_traffic(W, endpoint, traffic)
        return settled_endpoint(deployments, endpoint).traffic

    threads = threading.enumerate()
    assert move({"one": 100}) == {"one": 100}
    assert move({"one": 90, "two": 10}) == {"one": 90, "two": 10}
    assert threading.enumerate() == threads, "nobody polls in the background"
    before = len(writes(azure, f"/onlineEndpoints/{endpoint}$"))
    assert move({"two": 10, "one": 90}) == {"one": 90, "two": 10}
    assert len(writes(azure, f"/onlineEndpoints/{endpoint}$")) == before, "what is so already is not written"
    assert move({"two": 100, "one": 0}) == {"two": 100}
    answer = deployments.score(W, endpoint, ROW)
    assert (answer.status, json.loads(answer.body), answer.deployment) == (200, [2.0], "two")
    with pytest.raises(InvalidInput):
        deployments.begin_delete_deployment(W, endpoint, "two")
    with pytest.raises(InvalidInput):
        deployments.begin_set_traffic(W, endpoint, {"never-made": 100})
    with pytest.raises(ValueError, match="sum"):
        deployments.begin_set_traffic(W, endpoint, {"one": 50})
    assert move({}) == {}
    assert deployments.score(W, endpoint, ROW).status >= 400, "nobody to answer is an answer of the endpoint"
    assert move({"one": 100}) == {"one": 100}


def test_a_deployment_is_asked_by_its_header_and_the_header_does_not_stick(
    deployments: OnlineDeployments, serving: tuple[str, dict[str, DeploymentSpec]]
) -> None:
    endpoint = serving[0]
    deployments.begin_set_traffic(W, endpoint, {"one": 100})
    settled_endpoint(deployments, endpoint)
    for deployment, expected in (("two", [2.0]), (None, [1.0]), ("one", [1.0]), (None, [1.0])):
        answer = deployments.score(W, endpoint, ROW, deployment)
        assert (answer.status, json.loads(answer.body)) == (200, expected)
        assert answer.seconds > 0


def test_what_the_model_refuses_is_an_answer(deployments: OnlineDeployments, serving: tuple[str, dict[str, DeploymentSpec]]) -> None:
    assert deployments.score(W, serving[0], b"not json", "one").status in (400, 424)


def test_a_regenerated_key_is_read_again(
    deployments: OnlineDeployments, ada: MLClient, serving: tuple[str, dict[str, DeploymentSpec]]
) -> None:
    endpoint = serving[0]
    assert deployments.score(W, endpoint, ROW, "one").status == 200
    ada.online_endpoints.begin_regenerate_keys(endpoint, key_type="primary").result()
    assert deployments.score(W, endpoint, ROW, "one").status == 200


def test_a_key_appears_in_no_representation(deployments: OnlineDeployments, serving: tuple[str, dict[str, DeploymentSpec]]) -> None:
    deployments.score(W, serving[0], ROW, "one")
    access = next(iter(deployments._scoring._known.values()))
    assert access.secret
    assert access.secret not in repr(access)


# --- errors ---------------------------------------------------------------------------------------

@pytest.mark.parametrize(("status", "error"), [(403, PermissionDenied), (409, Busy), (429, Throttled), (503, Unavailable)])
def test_azures_errors_are_ours(
    deployments: OnlineDeployments, azure: LivePlatform, empty: str, status: int, error: type[Exception]
) -> None:
    azure.fault(method="PUT", path=f"/onlineEndpoints/{empty}/deployments/", action="status", status=status, count=9,
                code="TheCode", message="the service's reason")
    with pytest.raises(error) as caught:
        deployments.begin_create_deployment(DeploymentSpec(
            workspace=W, endpoint=empty, name="unlucky", model="azureml://registries/shared-registry/models/m/versions/1",
            instance_type="Standard_DS3_v2"))
    assert f"{empty}/unlucky" in str(caught.value)
    if error is PermissionDenied:
        assert "AzureML Data Scientist" in str(caught.value)
    assert deployments.deployment(W, empty, "unlucky") is None


def test_a_repeat_while_it_is_created_changes_nothing(
    deployments: OnlineDeployments, azure: LivePlatform, empty: str, model: Callable[[Line], str]
) -> None:
    spec = DeploymentSpec(workspace=W, endpoint=empty, name="slow", model=model(Line(slope=0.0, intercept=1.0)),
                          instance_type="Standard_DS3_v2")
    deployments.begin_create_deployment(spec)
    deployments.begin_create_deployment(spec)
    assert settled(deployments, empty, "slow").provisioning_state == "Succeeded"
    assert len(writes(azure, f"/{empty}/deployments/slow$")) == 1
    deployments.begin_delete_deployment(W, empty, "slow")
    wait_for("its end", lambda: True if deployments.deployment(W, empty, "slow") is None else None)
