"""Online deployments over ARM: what they may say, quota, patches, kinds; processes are doubles."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.azure_ml.deployment_settings import startup_of
from emulator.azure_ml.errors import OperationFailed
from emulator.azure_ml.quota import RESERVED, Quota
from emulator.azure_ml.scorers import ScorerSpec
from emulator.azure_ml.vm_sizes import vm_size
from tests.support.azure_ml import PROD, LocalAzureMl
from tests.support.published import problems

ENDPOINT = f"{PROD}/onlineEndpoints/air-time"
BLUE = f"{ENDPOINT}/deployments/blue"
SIZE = "Standard_DS3_v2"


class Processes:
    """Every process comes up, unless its environment says FAILS."""

    def __init__(self) -> None:
        self.specs: list[ScorerSpec] = []

    async def replace(self, deployment_id: str, spec: ScorerSpec) -> None:
        if "FAILS" in spec.environment:
            raise OperationFailed("Readiness probe failed", code="ResourceNotReady")
        self.specs.append(spec)


@pytest.fixture
def processes(local: LocalAzureMl, monkeypatch: pytest.MonkeyPatch) -> Processes:
    found = Processes()
    monkeypatch.setattr(local.service.scorers, "replace", found.replace)
    return found


@pytest.fixture
async def model(local: LocalAzureMl, processes: Processes) -> str:
    """An MLflow model's id; the endpoint is there too."""
    await local.finished(await local.put(ENDPOINT, authMode="Key"))
    uri = "azureml://datastores/workspaceblobstore/paths/m"
    store = local.service.store
    datastore = next(item["properties"] for item in store.children(f"{PROD}/datastores") if item["name"] == "workspaceblobstore")
    local.blobs.write(datastore["accountName"], datastore["containerName"], "m/MLmodel", b"flavors: {}")
    store.put(f"{PROD}/models/m/versions/1", {"id": f"{PROD}/models/m/versions/1", "name": "1",
                                              "properties": {"modelUri": uri, "modelType": "mlflow_model"}})  # fmt: skip
    return "azureml:m:1"


async def put(local: LocalAzureMl, model: str, /, path: str = BLUE, instances: Any = 1, **properties: Any) -> dict[str, Any]:
    body = {"sku": {"capacity": instances}, "properties": {"model": model, "instanceType": SIZE, **properties}}
    begun = await local.http.put(path, json=body)
    return await local.finished(begun) if begun.status_code < 300 else {"status": begun.status_code, **begun.json()}


async def test_a_deployment_as_it_is_read(local: LocalAzureMl, model: str, processes: Processes) -> None:
    assert (await put(local, model))["status"] == "Succeeded"
    found = (await local.http.get(BLUE)).json()
    assert found["properties"]["requestSettings"] == {
        "maxConcurrentRequestsPerInstance": 1, "maxQueueWait": "PT0.5S", "requestTimeout": "PT5S"
    }  # fmt: skip
    assert found["properties"]["livenessProbe"]["failureThreshold"] == 30
    assert not [key for key in found if key.startswith("_")]
    assert (processes.specs[0].startup_seconds, processes.specs[0].successes) == (302.0, 1)


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        ({"instanceType": "Huge"}, "Huge"),
        ({"instanceType": 4}, "instanceType"),
        ({"requestSettings": []}, "requestSettings"),
        ({"requestSettings": {"requestTimeout": "5 s"}}, "requestTimeout"),
        ({"requestSettings": {"requestTimeout": "PT4M"}}, "requestTimeout"),
        ({"requestSettings": {"maxConcurrentRequestsPerInstance": "1"}}, "maxConcurrentRequestsPerInstance"),
        ({"scaleSettings": {"scaleType": "TargetUtilization"}}, "scaleType"),
        ({"scaleSettings": {"scaleType": "Other"}}, "scaleType"),
        ({"livenessProbe": {"failureThreshold": 0}}, "livenessProbe.failureThreshold"),
        ({"readinessProbe": {"period": "PT0S"}}, "readinessProbe.period"),
        ({"environmentVariables": {"A": {}}}, "environmentVariables.A"),
        ({"codeConfiguration": {"codeId": "c"}}, "codeConfiguration.scoringScript"),
        ({"endpointComputeType": "Kubernetes"}, "endpointComputeType"),
        ({"model": {"assetId": "m"}}, "model"),
        ({"properties": "text"}, "properties"),
        ({"instanceType": f"{SIZE}\n"}, "instance type"),
        ({"instanceType": "Standard_D" + 5000 * "1"}, "instance type"),
        ({"readinessProbe": {"period": f"P{400 * '9'}D"}}, "readinessProbe.period"),
        ({"dataCollector": {"collections": []}}, "dataCollector.collections"),
        ({"dataCollector": {"collections": {"model_inputs": {"dataCollectionMode": "maybe"}}}}, "model_inputs.dataCollectionMode"),
    ],
)
async def test_what_is_wrong_is_named(local: LocalAzureMl, model: str, properties: dict[str, Any], field: str) -> None:
    refused = await put(local, model, **properties)
    assert (refused["status"], field in refused["error"]["message"]) == (400, True), refused
    assert (await local.http.get(BLUE)).status_code == 404


@pytest.mark.parametrize("instances", [0, 51, "2", True, 1.5, -1])
async def test_instance_counts(local: LocalAzureMl, model: str, instances: Any) -> None:
    assert (await put(local, model, instances=instances))["status"] == 400


async def test_a_deployment_does_not_move(local: LocalAzureMl, model: str) -> None:
    await put(local, model)
    moved = await local.http.put(BLUE, json={"location": "west us", "properties": {"model": model, "instanceType": SIZE}})
    assert (moved.status_code, moved.json()["error"]["code"]) == (409, "InvalidResourceLocation")
    same = await local.http.put(BLUE, json={"location": "East US", "properties": {"model": model, "instanceType": SIZE}})
    assert same.status_code == 200


async def test_a_patch_scales_without_a_new_process(local: LocalAzureMl, model: str, processes: Processes) -> None:
    await put(local, model)
    begun = await local.http.patch(BLUE, json={"sku": {"capacity": 3}, "tags": {"a": "1"}})
    assert (await local.finished(begun))["status"] == "Succeeded"
    found = (await local.http.get(BLUE)).json()
    assert (found["sku"]["capacity"], found["tags"], len(processes.specs)) == (3, {"a": "1"}, 1)
    assert (await local.http.patch(BLUE, json={"properties": {}})).status_code == 400
    assert (await local.http.patch(f"{BLUE}x", json={})).status_code == 404


async def test_how_far_it_can_be_scaled(local: LocalAzureMl, model: str) -> None:
    await put(local, model)
    (found,) = (await local.http.get(f"{BLUE}/skus")).json()["value"]
    assert problems("SkuResource", found) == []
    assert (found["capacity"]["minimum"], found["capacity"]["maximum"], found["capacity"]["scaleType"]) == (1, 50, "Manual")
    assert (await local.http.get(f"{BLUE}x/skus")).status_code == 404


async def test_an_endpoint_has_twenty_deployments_at_most(local: LocalAzureMl, model: str) -> None:
    for number in range(20):
        path = f"{ENDPOINT}/deployments/d{number:02}"
        local.service.store.put(path, {"id": path, "name": path[-3:], "properties": {"provisioningState": "Succeeded"}})
    refused = await put(local, model)
    assert (refused["status"], "at most 20" in refused["error"]["message"]) == (400, True)


async def test_cores_are_held_and_given_back(local: LocalAzureMl, model: str) -> None:
    quota = Quota(local.service.store, {}, "s")
    scope = local.service.scopes.of_id(PROD)

    def used() -> int:
        return quota.used(scope, "standardDSv2Family")

    await put(local, model, instances=5)
    assert used() == 24  # ceil(1.2 * 5) * 4
    failed = await put(local, model, instances=10, environmentVariables={"FAILS": "1"})
    assert (failed["status"], failed["error"]["code"], used()) == ("Failed", "ResourceNotReady", 24)
    lacking = await put(local, model, instances=50, instanceType="Standard_D16s_v3")
    assert (lacking["status"], lacking["error"]["code"], used()) == ("Failed", "OutOfQuota", 24)
    assert "Current usage/limit: 0/400. Additional needed: 960" in lacking["error"]["message"]
    await put(local, model, instances=1)
    assert used() == 8
    green = await put(local, model, path=f"{ENDPOINT}/deployments/green", environmentVariables={"FAILS": "1"})
    assert (green["status"], used()) == ("Failed", 16)  # it holds its cores until it is deleted
    for name in ("green", "blue"):
        await local.finished(await local.http.delete(f"{ENDPOINT}/deployments/{name}"))
    assert used() == 0


def test_limits_by_family(local: LocalAzureMl) -> None:
    quota = Quota(local.service.store, {"StandardDSv2Family": 7, "default": 2}, "s")
    assert (quota.limit("standardDSv2Family"), quota.limit("standardESv3Family")) == (7, 2)
    deployment = {"id": BLUE, "sku": {"capacity": 1}, "properties": {"endpointComputeType": "Managed", "instanceType": SIZE}}
    with pytest.raises(OperationFailed, match=r"0/7\. Additional needed: 8"):
        quota.reserve(local.service.scopes.of_id(PROD), deployment)
    assert quota.reserve(local.service.scopes.of_id(PROD), {**deployment, "properties": {"endpointComputeType": "Kubernetes"}}) is None
    assert RESERVED.startswith("_")


@pytest.mark.parametrize(
    ("name", "family", "cores"),
    [
        ("Standard_DS11_v2", "standardDSv2Family", 2),
        ("Standard_D2as_v4", "standardDASv4Family", 2),
        ("Standard_F72s_v2", "standardFSv2Family", 72),
        ("Standard_NC24ads_A100_v4", "standardNCADSA100v4Family", 24),
        ("Standard_M128s", "standardMSFamily", 128),
        ("standard_e4s_v3", "standardESv3Family", 4),
        ("Standard_DS9_v2", None, 0),
        ("Standard_", None, 0),
        ("Huge", None, 0),
    ],
)
def test_sizes(name: str, family: str | None, cores: int) -> None:
    found = vm_size(name)
    assert (found.family, found.cores) == (family, cores) if found else family is None


def test_the_probe_that_gives_up_first() -> None:
    def probe(delay: int, period: int, failures: int, timeout: int = 2, successes: int = 1) -> dict[str, Any]:
        return {"initialDelay": f"PT{delay}S", "period": f"PT{period}S", "timeout": f"PT{timeout}S",
                "failureThreshold": failures, "successThreshold": successes}  # fmt: skip

    found = startup_of({"livenessProbe": probe(5, 10, 3), "readinessProbe": probe(10, 10, 30)})
    assert (found.startup_seconds, found.startup_probe) == (27.0, "Liveness")
    found = startup_of({"livenessProbe": probe(10, 10, 30), "readinessProbe": probe(0, 1, 4, successes=3)})
    assert (found.startup_seconds, found.startup_probe, found.successes, found.period) == (5.0, "Readiness", 3, 1.0)


async def test_logs(local: LocalAzureMl, model: str) -> None:
    await put(local, model)
    logs = await local.http.post(f"{BLUE}/getLogs", json={"containerType": "StorageInitializer", "tail": 1})
    assert "Downloading model" in logs.json()["content"]
    for body in ({"tail": "x"}, {"tail": 0}, {"containerType": "Other"}, {"containerType": 3}):
        assert (await local.http.post(f"{BLUE}/getLogs", json=body)).status_code == 400


async def test_collections_are_read_back_as_azure_writes_them(local: LocalAzureMl, model: str) -> None:
    """The SDK sends `enabled` and understands only `Enabled`."""
    collections = {"model_inputs": {"dataCollectionMode": "enabled", "samplingRate": 0.5}, "request": {}}
    assert (await put(local, model, dataCollector={"collections": collections}))["status"] == "Succeeded"
    found = (await local.http.get(BLUE)).json()["properties"]["dataCollector"]["collections"]
    assert {name: found[name]["dataCollectionMode"] for name in found} == {"model_inputs": "Enabled", "request": "Disabled"}


async def test_nothing_stays_on_disk_of_what_failed_or_was_deleted(local: LocalAzureMl, model: str) -> None:
    folder = local.service.context.state / "azureml" / "deployments" / "air-time" / "blue"

    def revisions() -> int:
        return sum(path.is_dir() for path in folder.iterdir())

    await put(local, model)
    assert revisions() == 1
    assert (await put(local, model, environmentVariables={"FAILS": "1"}))["status"] == "Failed"
    assert revisions() == 1
    assert (await put(local, "azureml:none:1"))["status"] == "Failed"
    assert revisions() == 1
    await local.finished(await local.http.delete(ENDPOINT))
    assert not folder.exists()
