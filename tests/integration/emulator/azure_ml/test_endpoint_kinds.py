"""Kinds of online endpoints through the real SDK: Kubernetes, tokens, scaling, probes, limits, quota."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import wait_for
from tests.support.published import problems

pytestmark = pytest.mark.xdist_group("sdk-kinds")

SLOW = """
import json, time

def init():
    time.sleep({start})

def run(raw):
    time.sleep(json.loads(raw).get("sleep", 0))
    if json.loads(raw).get("fail"):
        raise ValueError("asked to fail")
    return "done"
"""


@pytest.fixture
def cluster(sdk: Sdk, name: str) -> Iterator[str]:
    """A Kubernetes cluster, attached to the development workspace."""
    from azure.ai.ml.entities import KubernetesCompute

    resource = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ContainerService/managedClusters/aks"
    made = KubernetesCompute(name=f"k8s-{name[:8]}", resource_id=resource, namespace="ml")
    yield str(sdk.dev.compute.begin_attach(made).result().name)
    sdk.dev.compute.begin_delete(f"k8s-{name[:8]}", action="Detach").result()


@pytest.fixture
def kubernetes(sdk: Sdk, name: str, cluster: str) -> Iterator[str]:
    from azure.ai.ml.entities import KubernetesOnlineEndpoint

    endpoint = KubernetesOnlineEndpoint(name=f"{name}-k", compute=cluster)
    made = sdk.dev.online_endpoints.begin_create_or_update(endpoint).result()
    assert isinstance(made, KubernetesOnlineEndpoint)
    assert made.compute.endswith(f"/computes/{cluster}")
    yield f"{name}-k"
    sdk.dev.online_endpoints.begin_delete(f"{name}-k").result()


@pytest.fixture
def slow(sdk: Sdk, name: str, code: Callable[[str], Path]) -> Callable[..., dict[str, Any]]:
    """What a deployment of the slow script is made with; it takes `start` seconds to come up."""
    from azure.ai.ml.entities import CodeConfiguration, Environment

    def given(start: float = 0, workspace: str = "prod") -> dict[str, Any]:
        client = getattr(sdk, workspace)
        environment = client.environments.create_or_update(Environment(name=name, version="1", image="mcr.microsoft.com/a:1"))
        configuration = CodeConfiguration(code=str(code(SLOW.replace("{start}", str(start)))), scoring_script="score.py")
        return {"code_configuration": configuration, "environment": environment}

    return given


def deploy(sdk: Sdk, endpoint: str, name: str, model: str, **settings: Any) -> Any:
    """On Kubernetes."""
    from azure.ai.ml.entities import KubernetesOnlineDeployment

    made = KubernetesOnlineDeployment(name=name, endpoint_name=endpoint, model=model, **{"instance_count": 1, **settings})
    return sdk.dev.online_deployments.begin_create_or_update(made).result()


def post(sdk: Sdk, endpoint: str, token: str, deployment: str, **body: Any) -> httpx.Response:
    uri = f"{sdk.platform.env['EMULATOR_URL']}/endpoints/{endpoint}/score"
    headers = {"Authorization": f"Bearer {token}", "azureml-model-deployment": deployment}
    content = body or {"input_data": {"columns": ["x"], "data": [[20.0]]}}
    return httpx.post(uri, json=content, headers=headers, verify=sdk.platform.env["SSL_CERT_FILE"], timeout=60)


def document(sdk: Sdk, path: str) -> dict[str, Any]:
    """A resource of the development workspace as it is on the wire."""
    from azure.identity import DefaultAzureCredential

    env = sdk.platform.env
    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    url = (f"{env['EMULATOR_URL']}/subscriptions/{env['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{env['AZURE_RESOURCE_GROUP']}"
           f"/providers/Microsoft.MachineLearningServices/workspaces/{env['AZUREML_WORKSPACE_DEV']}/{path}")  # fmt: skip
    found = httpx.get(url, headers={"Authorization": f"Bearer {token}"}, verify=env["SSL_CERT_FILE"])
    return dict(found.json())


def test_a_kubernetes_endpoint(sdk: Sdk, kubernetes: str, shared: str) -> None:
    from azure.ai.ml.entities import ManagedOnlineDeployment
    from azure.core.exceptions import HttpResponseError

    key = sdk.dev.online_endpoints.get_keys(kubernetes).primary_key
    made = deploy(sdk, kubernetes, "line", shared)
    assert (made.provisioning_state, made.type) == ("Succeeded", "Kubernetes")
    assert post(sdk, kubernetes, key, "line").json() == [41.0]
    managed = ManagedOnlineDeployment(
        name="managed", endpoint_name=kubernetes, model=shared, instance_type="Standard_DS3_v2", instance_count=1
    )
    with pytest.raises(HttpResponseError, match="endpointComputeType"):
        sdk.dev.online_deployments.begin_create_or_update(managed).result()
    assert [item.name for item in sdk.dev.online_deployments.list(kubernetes)] == ["line"]
    differences = {found["name"]: problems(kind, found) for kind, found in (
        ("OnlineEndpoint", document(sdk, f"onlineEndpoints/{kubernetes}")),
        ("OnlineDeployment", document(sdk, f"onlineEndpoints/{kubernetes}/deployments/line")),
    )}  # fmt: skip
    assert not any(differences.values()), differences


@pytest.mark.exhaustive
def test_requests_wait_for_an_instance_of_kubernetes(
    sdk: Sdk, kubernetes: str, shared: str, slow: Callable[..., dict[str, Any]]
) -> None:
    from azure.ai.ml.entities import OnlineRequestSettings, TargetUtilizationScaleSettings

    key = sdk.dev.online_endpoints.get_keys(kubernetes).primary_key
    scale = TargetUtilizationScaleSettings(min_instances=1, max_instances=1, polling_interval=1, target_utilization_percentage=50)
    requests = OnlineRequestSettings(max_queue_wait_ms=100, request_timeout_ms=30_000)
    deploy(sdk, kubernetes, "slow", shared, scale_settings=scale, request_settings=requests, **slow(workspace="dev"))
    found = sdk.dev.online_deployments.get("slow", kubernetes)
    assert (found.scale_settings.max_instances, found.scale_settings.target_utilization_percentage) == (1, 50)
    assert (found.scale_settings.polling_interval, found.request_settings.request_timeout_ms) == (1, 30_000)
    # The words for failures are those of Kubernetes, not of managed endpoints.
    assert post(sdk, kubernetes, key, "slow", fail=1).status_code == 502
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: post(sdk, kubernetes, key, "slow", sleep=1.2).status_code, range(4)))
    assert sorted(answers) == [200, 503, 503, 503]


def test_a_kubernetes_endpoint_needs_its_cluster(sdk: Sdk, name: str) -> None:
    from azure.ai.ml.entities import KubernetesOnlineEndpoint
    from azure.core.exceptions import HttpResponseError

    for compute in ("no-such-cluster", "cpu-cluster"):
        with pytest.raises(HttpResponseError):
            sdk.dev.online_endpoints.begin_create_or_update(KubernetesOnlineEndpoint(name=name, compute=compute)).result()


def test_tokens_expire_and_end_with_the_keys(sdk: Sdk, name: str, shared: str, tmp_path: Path) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint
    from azure.core.exceptions import HttpResponseError

    made = ManagedOnlineEndpoint(name=name, auth_mode="aml_token")
    assert sdk.prod.online_endpoints.begin_create_or_update(made).result().auth_mode == "aml_token"
    sdk.deploy(name, "blue", shared)
    sdk.route(name, blue=100)
    given = sdk.prod.online_endpoints.get_keys(name)
    assert time.time() < given.refresh_after_time_utc < given.expiry_time_utc
    assert (post(sdk, name, given.access_token, "blue").status_code, given.token_type) == (200, "Bearer")
    request = tmp_path / "request.json"
    request.write_text('{"input_data": {"columns": ["x"], "data": [[2.0]]}}')
    assert sdk.prod.online_endpoints.invoke(name, request_file=str(request)) == "[5.0]"
    assert post(sdk, name, "someone", "blue").status_code == 401
    changed = ManagedOnlineEndpoint(name=name, auth_mode="key", traffic={"blue": 100})
    with pytest.raises(HttpResponseError, match="authMode"):
        sdk.prod.online_endpoints.begin_create_or_update(changed).result()
    sdk.prod.online_endpoints.begin_delete(name).result()


@pytest.mark.exhaustive
def test_probes_give_up(sdk: Sdk, endpoint: str, shared: str, slow: Callable[..., dict[str, Any]]) -> None:
    from azure.ai.ml.entities import ProbeSettings
    from azure.core.exceptions import HttpResponseError

    hasty = ProbeSettings(initial_delay=1, period=1, failure_threshold=1, timeout=1, success_threshold=1)
    with pytest.raises(HttpResponseError, match=r"(?s)ResourceNotReady.*Readiness probe failed.*within 2 seconds"):
        sdk.deploy(endpoint, "slow", shared, readiness_probe=hasty, **slow(30))
    assert sdk.prod.online_deployments.get("slow", endpoint).provisioning_state == "Failed"
    made = sdk.deploy(endpoint, "slow", shared, readiness_probe=ProbeSettings(period=1, success_threshold=2), **slow())
    assert (made.provisioning_state, made.readiness_probe.success_threshold) == ("Succeeded", 2)
    assert (made.liveness_probe.period, made.liveness_probe.failure_threshold) == (10, 30)


@pytest.mark.exhaustive
def test_a_process_that_hangs_is_started_again(
    sdk: Sdk, endpoint: str, shared: str, slow: Callable[..., dict[str, Any]]
) -> None:
    from azure.ai.ml.entities import OnlineRequestSettings, ProbeSettings

    liveness = ProbeSettings(period=1, timeout=1, failure_threshold=1, initial_delay=60)
    requests = OnlineRequestSettings(request_timeout_ms=300)
    sdk.deploy(endpoint, "slow", shared, liveness_probe=liveness, request_settings=requests, **slow())
    assert sdk.score(endpoint, deployment="slow", sleep=600).status_code == 408
    wait_for("an answer of the new process", lambda: sdk.score(endpoint, deployment="slow", sleep=0).status_code == 200 or None)


@pytest.mark.exhaustive
def test_more_than_a_managed_deployment_takes(
    sdk: Sdk, endpoint: str, shared: str, slow: Callable[..., dict[str, Any]]
) -> None:
    sdk.deploy(endpoint, "slow", shared, **slow())
    key = sdk.prod.online_endpoints.get_keys(endpoint).primary_key
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: post(sdk, endpoint, key, "slow", sleep=1.2).status_code, range(4)))
    assert sorted(answers) == [200, 200, 429, 429]


@pytest.mark.exhaustive
def test_quota(sdk: Sdk, endpoint: str, shared: str) -> None:
    """The platform's default: 400 cores of a family; nothing else here uses this one."""
    from azure.core.exceptions import HttpResponseError

    size = "Standard_M128s"
    sdk.deploy(endpoint, "blue", shared, instance_type=size)  # ceil(1.2) * 128 = 256 cores
    with pytest.raises(HttpResponseError, match=r"(?s)OutOfQuota.*usage/limit: 256/400. Additional needed: 256"):
        sdk.deploy(endpoint, "green", shared, instance_type=size)
    assert sdk.prod.online_deployments.get("green", endpoint).provisioning_state == "Failed"
    with pytest.raises(HttpResponseError, match=r"(?s)OutOfQuota.*usage/limit: 0/400. Additional needed: 512"):
        sdk.deploy(endpoint, "blue", shared, instance_type=size, instance_count=3)
    assert sdk.score(endpoint, deployment="blue").json() == [41.0]  # what served goes on
    sdk.prod.online_deployments.begin_delete("blue", endpoint).result()
    assert sdk.deploy(endpoint, "green", shared, instance_type=size).provisioning_state == "Succeeded"
    # A deployment moves to another size in place.
    assert sdk.deploy(endpoint, "green", shared, instance_type="Standard_E4s_v3").instance_type == "Standard_E4s_v3"


@pytest.mark.exhaustive
def test_names_and_sizes(sdk: Sdk, endpoint: str, shared: str) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint
    from azure.core.exceptions import HttpResponseError

    with pytest.raises(HttpResponseError, match="unique in a region"):
        sdk.dev.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name=endpoint)).result()
    for settings, words in (
        ({"instance_type": "Standard_Enormous"}, "not supported"),
        ({"instance_count": 51}, "from 1 to 50"),
        ({"instance_count": 0}, "from 1 to 50"),
    ):
        with pytest.raises(HttpResponseError, match=words):
            sdk.deploy(endpoint, f"d{uuid.uuid4().hex[:6]}", shared, **settings)  # type: ignore[arg-type]
