"""Online endpoints over ARM: names, traffic, keys, overlapping operations, failures."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from emulator.azure_ml.deployments import Deployments
from tests.support.azure_ml import DEV, PROD, LocalAzureMl

ENDPOINT = f"{PROD}/onlineEndpoints/air-time"
FAULT = {"code": "OutOfQuota", "message": "Not enough quota"}


async def endpoint(local: LocalAzureMl, *deployments: str, path: str = ENDPOINT) -> None:
    """An endpoint with deployments that serve, as far as the control plane knows."""
    begun = await local.put(path, authMode="Key")
    assert begun.status_code == 201, begun.text
    assert (await local.finished(begun))["status"] == "Succeeded"
    for name in deployments:
        properties = {"provisioningState": "Succeeded"}
        local.service.store.put(
            f"{path}/deployments/{name}", {"name": name, "properties": properties, "_serving": {"cwd": "x"}}
        )


async def routed(local: LocalAzureMl, traffic: dict[str, Any], **more: Any) -> httpx.Response:
    return await local.put(ENDPOINT, authMode="Key", traffic=traffic, **more)


async def read(local: LocalAzureMl) -> dict[str, Any]:
    return dict((await local.http.get(ENDPOINT)).json()["properties"])


async def test_a_new_endpoint(local: LocalAzureMl) -> None:
    begun = await local.http.put(ENDPOINT, json={"tags": {"a": "1"}, "properties": {"authMode": "key"}})
    assert begun.status_code == 201
    assert begun.json()["properties"]["provisioningState"] == "Creating"
    await local.finished(begun)
    body = (await local.http.get(ENDPOINT)).json()
    assert body["tags"] == {"a": "1"}
    assert body["properties"]["provisioningState"] == "Succeeded"
    assert body["properties"]["authMode"] == "Key"
    assert body["properties"]["traffic"] == {}
    assert body["properties"]["scoringUri"] == "https://localhost:1/endpoints/air-time/score"
    assert not [key for key in body if key.startswith("_")]


async def test_names_are_unique_in_the_region(local: LocalAzureMl) -> None:
    await endpoint(local)
    refused = await local.put(f"{DEV}/onlineEndpoints/Air-Time", authMode="Key")
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "EndpointNameNotAvailable")
    await local.finished(await local.http.delete(ENDPOINT))
    assert (await local.put(f"{DEV}/onlineEndpoints/air-time", authMode="Key")).status_code == 201


@pytest.mark.parametrize("name", ["ab", "1abc", "x" * 33])
async def test_bad_names(local: LocalAzureMl, name: str) -> None:
    assert (await local.put(f"{PROD}/onlineEndpoints/{name}", authMode="Key")).status_code == 400


async def test_bad_auth_mode(local: LocalAzureMl) -> None:
    assert (await local.put(ENDPOINT, authMode="Password")).status_code == 400


async def test_traffic(local: LocalAzureMl) -> None:
    await endpoint(local, "blue", "green")
    begun = await routed(local, {"blue": 90, "green": 10})
    assert begun.status_code == 200
    assert begun.json()["properties"]["provisioningState"] == "Updating"
    assert begun.json()["properties"]["traffic"] == {"blue": 90, "green": 10}
    await local.finished(begun)
    assert (await read(local))["traffic"] == {"blue": 90, "green": 10}
    await local.finished(await routed(local, {"blue": 100}, mirrorTraffic={"green": 10}))
    assert ((await read(local))["traffic"], (await read(local))["mirrorTraffic"]) == (
        {"blue": 100},
        {"green": 10},
    )


@pytest.mark.parametrize("traffic", [{"blue": 90}, {"grey": 100}, {"blue": 100, "green": 1}])
async def test_bad_traffic_changes_nothing(local: LocalAzureMl, traffic: dict[str, int]) -> None:
    await endpoint(local, "blue", "green")
    await local.finished(await routed(local, {"blue": 100}))
    assert (await routed(local, traffic)).status_code == 400
    assert (await read(local))["traffic"] == {"blue": 100}
    assert (await read(local))["provisioningState"] == "Succeeded"


async def test_a_deployment_that_never_succeeded_gets_no_traffic(local: LocalAzureMl) -> None:
    await endpoint(local)
    local.service.store.put(
        f"{ENDPOINT}/deployments/bad", {"name": "bad", "properties": {"provisioningState": "Failed"}}
    )
    assert (await routed(local, {"bad": 100})).status_code == 400


async def test_a_failed_update_leaves_the_traffic(local: LocalAzureMl) -> None:
    await endpoint(local, "blue", "green")
    await local.finished(await routed(local, {"blue": 100}))
    local.fault = FAULT
    failed = await local.finished(await routed(local, {"green": 100}))
    assert (failed["status"], failed["error"]) == ("Failed", FAULT)
    assert (await read(local))["traffic"] == {"blue": 100}
    assert (await read(local))["provisioningState"] == "Failed"
    local.fault = None
    await local.finished(await routed(local, {"green": 100}))
    assert (await read(local))["traffic"] == {"green": 100}


async def test_one_operation_at_a_time(local: LocalAzureMl) -> None:
    await endpoint(local, "blue")
    begun = await routed(local, {"blue": 100})
    for refused in (
        await routed(local, {"blue": 100}),
        await local.http.delete(ENDPOINT),
        await local.http.delete(f"{ENDPOINT}/deployments/blue"),
        await local.http.put(
            f"{ENDPOINT}/deployments/green", json={"properties": {"instanceType": "Standard_DS3_v2"}}
        ),
    ):
        assert (refused.status_code, refused.json()["error"]["code"]) == (409, "Conflict")
    await local.finished(begun)


async def test_an_endpoint_with_a_busy_deployment_is_not_deleted(local: LocalAzureMl) -> None:
    await endpoint(local, "blue")
    local.service.operations.begin(
        Deployments.PUT, f"{ENDPOINT}/deployments/blue", {"id": f"{ENDPOINT}/deployments/blue"}
    )
    assert (await local.http.delete(ENDPOINT)).status_code == 409


@pytest.mark.parametrize(
    "split", [{"traffic": {"blue": 100}}, {"traffic": {"green": 100}, "mirrorTraffic": {"blue": 10}}]
)
async def test_a_deployment_with_traffic_is_not_deleted(local: LocalAzureMl, split: dict[str, Any]) -> None:
    await endpoint(local, "blue", "green")
    await local.finished(await local.put(ENDPOINT, authMode="Key", **split))
    refused = await local.http.delete(f"{ENDPOINT}/deployments/blue")
    assert (refused.status_code, "percent of traffic" in refused.text) == (400, True)
    await local.finished(await routed(local, {"green": 100}))
    await local.finished(await local.http.delete(f"{ENDPOINT}/deployments/blue"))
    assert (await local.http.get(f"{ENDPOINT}/deployments/blue")).status_code == 404


async def test_deleting_takes_the_deployments(local: LocalAzureMl) -> None:
    await endpoint(local, "blue")
    await local.finished(await local.http.delete(ENDPOINT))
    assert (await local.http.get(ENDPOINT)).status_code == 404
    assert local.service.store.get(f"{ENDPOINT}/deployments/blue") is None
    assert (await local.http.delete(ENDPOINT)).status_code == 204


async def test_keys(local: LocalAzureMl) -> None:
    await endpoint(local)

    async def keys() -> dict[str, str]:
        return dict((await local.http.post(f"{ENDPOINT}/listKeys")).json())

    first = await keys()
    # As the SDK does: it sends the present key and means a new one.
    body = {"keyType": "Primary", "keyValue": first["primaryKey"]}
    assert (await local.http.post(f"{ENDPOINT}/regenerateKeys", json=body)).status_code == 200
    second = await keys()
    assert second["primaryKey"] != first["primaryKey"]
    assert second["secondaryKey"] == first["secondaryKey"]
    await local.http.post(f"{ENDPOINT}/regenerateKeys", json={"keyType": "Secondary", "keyValue": "my own"})
    assert (await keys())["secondaryKey"] == "my own"
    assert (await local.http.post(f"{ENDPOINT}/regenerateKeys", json={"keyType": "Third"})).status_code == 400


@pytest.mark.parametrize(
    ("name", "properties", "sku"),
    [
        ("no", {"instanceType": "Standard_DS3_v2"}, {}),
        ("blue", {}, {}),
        ("blue", {"instanceType": "Standard_DS3_v2"}, {"capacity": 0}),
        ("blue", {"instanceType": "Standard_DS3_v2"}, {"capacity": "many"}),
    ],
)
async def test_deployments_that_are_refused(
    local: LocalAzureMl, name: str, properties: dict[str, Any], sku: dict[str, Any]
) -> None:
    await endpoint(local)
    refused = await local.http.put(
        f"{ENDPOINT}/deployments/{name}", json={"properties": properties, "sku": sku}
    )
    assert refused.status_code == 400


async def test_a_deployment_needs_its_endpoint(local: LocalAzureMl) -> None:
    body = {"properties": {"instanceType": "Standard_DS3_v2"}}
    assert (await local.http.put(f"{ENDPOINT}/deployments/blue", json=body)).status_code == 404
    assert (await local.http.get(f"{ENDPOINT}/deployments")).status_code == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"properties": {"authMode": "Password"}}, "authMode"),
        ({"properties": {"traffic": [1]}}, "traffic"),
        ({"properties": {"traffic": {"blue": None}}}, "blue"),
        ({"properties": {"mirrorTraffic": "blue"}}, "mirrorTraffic"),
        ({"properties": {"description": []}}, "description"),
        ({"properties": {"publicNetworkAccess": "Maybe"}}, "publicNetworkAccess"),
        ({"properties": {"compute": "no-cluster"}}, "no-cluster"),
        ({"properties": {"compute": "cpu-cluster"}}, "Kubernetes"),
        ({"properties": {"compute": 4}}, "compute"),
        ({"properties": {"properties": {"a": {}}}}, "properties.a"),
        ({"identity": {"type": "Other"}, "properties": {}}, "identity.type"),
        ({"identity": "me", "properties": {}}, "identity"),
        ({"tags": {"a": []}, "properties": {}}, "tags.a"),
    ],
)
async def test_what_is_wrong_is_named(local: LocalAzureMl, body: dict[str, Any], field: str) -> None:
    refused = await local.http.put(ENDPOINT, json=body)
    assert (refused.status_code, field in refused.json()["error"]["message"]) == (400, True), refused.text
    assert (await local.http.get(ENDPOINT)).status_code == 404


async def test_what_never_changes(local: LocalAzureMl) -> None:
    user = {"type": "UserAssigned", "userAssignedIdentities": {"/subscriptions/s/identities/me": {}}}
    made = await local.http.put(ENDPOINT, json={"identity": user, "location": "East US", "properties": {"authMode": "Key"}})
    await local.finished(made)
    assert (await local.http.get(ENDPOINT)).json()["identity"]["type"] == "UserAssigned"
    for body, status, word in (
        ({"properties": {"authMode": "AMLToken"}}, 400, "authMode"),
        ({"location": "westus", "properties": {"authMode": "Key"}}, 409, "westus"),
        ({"identity": {"type": "SystemAssigned"}, "properties": {"authMode": "Key"}}, 400, "identity"),
    ):
        refused = await local.http.put(ENDPOINT, json=body)
        assert (refused.status_code, word in refused.json()["error"]["message"]) == (status, True), refused.text
    # Saying nothing of an identity, and spelling the mode otherwise, changes nothing.
    assert (await local.http.put(ENDPOINT, json={"properties": {"authMode": "key"}})).status_code == 200


async def test_a_patch_changes_tags_only(local: LocalAzureMl) -> None:
    await endpoint(local, "blue")
    await local.finished(await routed(local, {"blue": 100}))
    begun = await local.http.patch(ENDPOINT, json={"tags": {"a": "1"}})
    assert (await local.finished(begun))["status"] == "Succeeded"
    found = (await local.http.get(ENDPOINT)).json()
    assert (found["tags"], found["properties"]["traffic"]) == ({"a": "1"}, {"blue": 100})
    assert (await local.http.patch(ENDPOINT, json={"properties": {"traffic": {}}})).status_code == 400
    assert (await local.http.patch(f"{ENDPOINT}-x", json={})).status_code == 404


async def test_an_endpoint_gives_out_what_its_callers_sign_in_with(local: LocalAzureMl) -> None:
    await local.finished(await local.put(ENDPOINT, authMode="AMLToken"))
    assert (await local.http.post(f"{ENDPOINT}/listKeys")).status_code == 400
    given = (await local.http.post(f"{ENDPOINT}/token")).json()
    assert given["expiryTimeUtc"] - given["refreshAfterTimeUtc"] == 1800
    keyed = f"{PROD}/onlineEndpoints/keyed"
    await local.finished(await local.put(keyed, authMode="Key"))
    assert (await local.http.post(f"{keyed}/token")).status_code == 400
    assert (await local.http.post(f"{keyed}/regenerateKeys", json={"keyType": 3})).status_code == 400
    assert (await local.http.post(f"{keyed}/regenerateKeys", json={})).status_code == 400


async def test_a_kubernetes_endpoint_runs_on_its_cluster(local: LocalAzureMl) -> None:
    cluster = {"computeType": "Kubernetes", "resourceId": "/subscriptions/s/aks", "properties": {"namespace": "ml"}}
    assert (await local.put(f"{PROD}/computes/k8s", **cluster)).status_code == 201
    await local.finished(await local.put(ENDPOINT, authMode="Key", compute=f"{PROD}/computes/k8s"))
    assert (await local.http.get(ENDPOINT)).json()["kind"] == "K8S"
    refused = await local.put(ENDPOINT, authMode="Key")
    assert (refused.status_code, "compute" in refused.text) == (400, True)
