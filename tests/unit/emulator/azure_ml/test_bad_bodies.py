"""Requests to endpoints with one value put in place of another: refused with a reason or accepted, but never a 500."""

from __future__ import annotations

import copy
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.azure_ml import PROD, LocalAzureMl

ONLINE, BATCH = f"{PROD}/onlineEndpoints/odd", f"{PROD}/batchEndpoints/odd"
ODD: tuple[Any, ...] = (None, True, -1, 0, 2**70, 1.5, "", "x", "é\x00", [], [[]], {}, {"a": {"b": []}}, [None])
PROBE = {"failureThreshold": 3, "successThreshold": 1, "initialDelay": "PT1S", "period": "PT1S", "timeout": "PT1S"}
BODIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "endpoint": ("PUT", f"{ONLINE}-new", {
        "location": "eastus", "tags": {"a": "b"}, "identity": {"type": "UserAssigned", "userAssignedIdentities": {"/i": {}}},
        "properties": {"authMode": "Key", "description": "d", "traffic": {"blue": 100}, "mirrorTraffic": {"green": 10},
                       "compute": "c", "publicNetworkAccess": "Enabled", "properties": {"a": "b"}},
    }),
    "deployment": ("PUT", f"{ONLINE}/deployments/blue", {
        "location": "eastus", "tags": {"a": "b"}, "sku": {"name": "Default", "capacity": 1},
        "properties": {"endpointComputeType": "Managed", "model": "azureml:m:1", "instanceType": "Standard_DS3_v2",
                       "codeConfiguration": {"codeId": "azureml:c:1", "scoringScript": "s.py"}, "environmentId": "azureml:e:1",
                       "environmentVariables": {"A": "b"}, "livenessProbe": PROBE, "readinessProbe": PROBE,
                       "requestSettings": {"maxConcurrentRequestsPerInstance": 1, "maxQueueWait": "PT1S", "requestTimeout": "PT1S"},
                       "scaleSettings": {"scaleType": "Default"}, "properties": {"a": "b"}, "modelMountPath": "/m"},
    }),
    "deployment on Kubernetes": ("PUT", f"{ONLINE}-k/deployments/blue", {
        "properties": {"endpointComputeType": "Kubernetes", "model": "azureml:m:1",
                       "containerResourceRequirements": {"containerResourceRequests": {"cpu": "1"}},
                       "scaleSettings": {"scaleType": "TargetUtilization", "minInstances": 1, "maxInstances": 2,
                                         "pollingInterval": "PT1S", "targetUtilizationPercentage": 50}},
    }),
    "keys": ("POST", f"{ONLINE}/regenerateKeys", {"keyType": "Primary", "keyValue": "k"}),
    "logs": ("POST", f"{ONLINE}/deployments/there/getLogs", {"containerType": "InferenceServer", "tail": 5}),
    "patch": ("PATCH", f"{ONLINE}/deployments/there", {"tags": {"a": "b"}, "sku": {"capacity": 2}}),
    "batch endpoint": ("PUT", f"{BATCH}-new", {
        "location": "eastus", "tags": {"a": "b"},
        "properties": {"authMode": "AADToken", "defaults": {"deploymentName": "d"}, "description": "d", "properties": {"a": "b"}},
    }),
    "batch deployment": ("PUT", f"{BATCH}/deployments/line", {
        "location": "eastus", "tags": {"a": "b"},
        "properties": {"compute": "cpu-cluster", "model": {"referenceType": "Id", "assetId": "azureml:m:1"},
                       "codeConfiguration": {"codeId": "azureml:c:1", "scoringScript": "s.py"}, "environmentId": "azureml:e:1",
                       "environmentVariables": {"A": "b"}, "errorThreshold": 1, "loggingLevel": "Info", "miniBatchSize": 1,
                       "maxConcurrencyPerInstance": 1, "outputAction": "AppendRow", "outputFileName": "p.csv",
                       "retrySettings": {"maxRetries": 1, "timeout": "PT1S"},
                       "resources": {"instanceCount": 1, "instanceType": "s", "properties": {"a": {}}}},
    }),
    "component deployment": ("PUT", f"{BATCH}/deployments/parts", {
        "properties": {"deploymentConfiguration": {"deploymentConfigurationType": "PipelineComponent", "settings": {"a": "b"},
                                                   "componentId": {"referenceType": "Id", "assetId": "azureml:c:1"}}},
    }),
}  # fmt: skip


def variants(body: Any) -> Iterator[Any]:
    """The body with each of its parts, itself among them, replaced by each odd value."""
    yield from ODD
    if isinstance(body, dict):
        for key, value in body.items():
            for changed in variants(value):
                yield {**body, key: changed}


ALL = [(name, variant) for name, (_, _, body) in BODIES.items() for variant in variants(body)]


SAMPLE = random.Random(5).sample(ALL, 250)


@pytest.mark.parametrize("chosen", [SAMPLE, pytest.param(ALL, marks=pytest.mark.exhaustive)], ids=["sample", "all"])
async def test_no_value_breaks_anything(local: LocalAzureMl, chosen: list[tuple[str, Any]]) -> None:
    await local.finished(await local.put(ONLINE, authMode="Key"))
    await local.finished(await local.put(BATCH))
    store, statuses = local.service.store, Counter[int]()
    store.put(f"{ONLINE}-k", {**(store.get(ONLINE) or {}), "id": f"{ONLINE}-k", "name": "odd-k", "kind": "K8S"})
    there = {"id": f"{ONLINE}/deployments/there", "name": "there", "location": "eastus", "tags": {}, "sku": {"capacity": 1}}
    properties = {"endpointComputeType": "Managed", "instanceType": "Standard_DS3_v2", "provisioningState": "Succeeded"}
    for name, variant in chosen:
        method, path, _ = BODIES[name]
        store.put(str(there["id"]), {**there, "properties": copy.deepcopy(properties)})
        answer = await local.http.request(method, path, json=variant)
        statuses[answer.status_code] += 1
        assert answer.status_code < 500, (name, variant, answer.text)
        if answer.status_code >= 400:
            assert answer.json()["error"]["message"], (name, variant)
        elif "Azure-AsyncOperation" in answer.headers:
            ended = await local.finished(answer)
            assert ended.get("error", {}).get("code") != "InternalServerError", (name, variant, ended)
            store.delete(path)
    assert len(ALL) > 1500
    assert statuses[400] > len(chosen) / 4
    assert statuses[201] > len(chosen) / 20
