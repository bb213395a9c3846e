"""Azure Resource Manager's own refusals, before a resource type hears of a request."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.support.azure_ml import DEV, REGISTRY, LocalAzureMl

GOOD = {"image": "i:1"}


@pytest.mark.parametrize(("content", "text"), [
    (b"{", "not JSON"), (b"\xff\xfe", "not JSON"), (b'{"properties": NaN}', "NaN"),
    (b"[]", "must be a JSON object"), (b"1", "must be a JSON object"),
    (b'{"properties":' + b"[" * 100_000, "not JSON"),
    (b'{"properties":{"a":' * 70 + b"1" + b"}}" * 70, "deeper than 128"),
    (b'{"properties": []}', "The field properties must be an object"),
    (b'{"properties": {"tags": "x"}}', "The field properties.tags must be an object"),
    (b'{"properties": {"tags": {"a": {}}}}', "The field properties.tags.a must be a text"),
    (b'{"tags": [], "properties": {}}', "The field tags must be an object"),
    (b'{"properties": {"isArchived": "no"}}', "The field properties.isArchived must be true or false"),
    (b'{"properties": {"description": 1}}', "The field properties.description must be a text"),
])
async def test_a_body_that_is_none_names_the_place(local: LocalAzureMl, content: bytes, text: str) -> None:
    answer = await local.http.put(f"{DEV}/environments/e/versions/1", content=content)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidRequestContent")
    assert text in answer.json()["error"]["message"]


@pytest.mark.parametrize(("path", "properties", "text"), [
    ("models/m/versions/1", {"modelUri": {}}, "properties.modelUri must be a text"),
    ("models/m/versions/1", {"modelUri": "azureml://datastores/d/paths/p", "flavors": "x"}, "properties.flavors must be an object"),
    ("models/m/versions/1", {"modelUri": "azureml://datastores/d/paths/p", "stage": []}, "properties.stage must be a text"),
    ("data/d/versions/1", {"dataUri": ["x"], "dataType": "uri_file"}, "properties.dataUri must be a text"),
    ("environments/e/versions/1", {"image": "i", "build": "b"}, "properties.build must be an object"),
    ("datastores/d", {"datastoreType": "AzureBlob", "accountName": "elsewhere", "containerName": "abc"}, "'elsewhere' is not one of"),
    ("datastores/d", {"datastoreType": "AzureBlob", "accountName": "stdev", "containerName": "A_b"}, "container name 'A_b' is not valid"),
    ("datastores/d", {"datastoreType": "AzureBlob", "accountName": "stdev", "containerName": "abc", "credentials": "x"},
     "properties.credentials must be an object"),
])
async def test_a_property_of_another_type_is_named(local: LocalAzureMl, path: str, properties: dict[str, Any], text: str) -> None:
    answer = await local.put(f"{DEV}/{path}", **properties)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "ValidationError")
    assert text in answer.json()["error"]["message"]


@pytest.mark.parametrize("hours", ["2", 0, -1, 1.5, [], 10**9])
async def test_a_secret_has_a_time_to_live(local: LocalAzureMl, hours: Any) -> None:
    path = f"{DEV}/datastores/workspaceblobstore/listSecrets"
    answer = await local.http.post(path, json={"expirableSecret": True, "expireAfterHours": hours or -1})
    assert answer.status_code == 400
    assert (await local.http.post(path, json={"expirableSecret": True, "expireAfterHours": 2})).json()["secretsType"] == "Sas"


@pytest.mark.parametrize(("method", "path", "status", "code"), [
    ("PUT", f"{DEV}/environments", 405, "MethodNotAllowed"),
    ("DELETE", f"{DEV}/environments/e/versions", 405, "MethodNotAllowed"),
    ("PATCH", f"{DEV}/models", 405, "MethodNotAllowed"),
    ("GET", f"{DEV}/kites", 404, "InvalidResourceType"),
    ("GET", f"{DEV}/tempdatarefs/a/versions/1", 404, "InvalidResourceType"),
    ("GET", f"{REGISTRY}/jobs", 404, "InvalidResourceType"),
    ("PUT", f"{REGISTRY}/onlineEndpoints/abc", 404, "InvalidResourceType"),
    ("GET", f"{DEV.removesuffix('dev')}absent", 404, "ResourceNotFound"),
])
async def test_what_is_not_there_is_said(local: LocalAzureMl, method: str, path: str, status: int, code: str) -> None:
    answer = await local.http.request(method, path, content=json.dumps({"properties": GOOD}) if method == "PUT" else b"")
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


async def test_a_registry_is_found_by_its_name_alone(local: LocalAzureMl) -> None:
    """azure-ai-ml 1.33 asks in the resource group of the workspace that it shares from."""
    await local.put(f"{REGISTRY}/environments/e/versions/1", **GOOD)
    elsewhere = REGISTRY.replace("/resourceGroups/rg/", "/resourceGroups/another/")
    assert (await local.http.get(f"{elsewhere}/environments/e/versions/1")).status_code == 200
    assert (await local.http.get(f"{elsewhere.replace('/shared', '/none')}/environments")).status_code == 404
