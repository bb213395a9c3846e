"""Batch endpoints and deployments over ARM: defaults, rules, bad input; nothing is run."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.azure_ml.batch.request import data_of, read, target_of
from emulator.azure_ml.errors import BadRequest
from tests.support.azure_ml import DEV, PROD, LocalAzureMl

ENDPOINT = f"{PROD}/batchEndpoints/nightly"
LINE = f"{ENDPOINT}/deployments/line"


@pytest.fixture
async def model(local: LocalAzureMl) -> dict[str, Any]:
    """What a deployment of an MLflow model says at least; the endpoint is there too."""
    await local.finished(await local.put(ENDPOINT, authMode="AADToken"))
    for name, kind in (("m", "mlflow_model"), ("c", "custom_model")):
        found = {"id": f"{PROD}/models/{name}/versions/1", "name": "1", "properties": {"modelUri": "x", "modelType": kind}}
        local.service.store.put(found["id"], found)  # type: ignore[arg-type]
    return {"model": {"referenceType": "Id", "assetId": "azureml:m:1"}, "compute": "cpu-cluster"}


async def deployed(local: LocalAzureMl, model: dict[str, Any], path: str = LINE, **more: Any) -> dict[str, Any]:
    return await local.finished(await local.put(path, **{**model, **more}))


async def test_an_endpoint_as_it_is_read(local: LocalAzureMl) -> None:
    begun = await local.http.put(ENDPOINT, json={"tags": {"a": 1}, "properties": {"description": "d", "defaults": None}})
    assert (begun.status_code, begun.json()["properties"]["provisioningState"]) == (201, "Creating")
    await local.finished(begun)
    found = (await local.http.get(ENDPOINT)).json()
    assert (found["tags"], found["properties"]["provisioningState"], found["properties"]["defaults"]) == ({"a": "1"}, "Succeeded", {})
    assert found["properties"]["scoringUri"] == "https://localhost:1/batch/nightly/jobs"
    assert not [key for key in found if key.startswith("_")]
    assert [item["name"] for item in (await local.http.get(f"{PROD}/batchEndpoints")).json()["value"]] == ["nightly"]
    assert (await local.http.post(f"{ENDPOINT}/listkeys")).status_code == 405  # they have none
    patched = await local.http.patch(ENDPOINT, json={"tags": {"b": "2"}})
    await local.finished(patched)
    assert (await local.http.get(ENDPOINT)).json()["tags"] == {"b": "2"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"properties": {"authMode": "Key"}}, "authMode"),
        ({"properties": {"defaults": {"deploymentName": "none"}}}, "none"),
        ({"properties": {"defaults": []}}, "defaults"),
        ({"properties": {"description": 3}}, "description"),
        ({"tags": ["a"], "properties": {}}, "tags"),
        ({"location": 5, "properties": {}}, "location"),
    ],
)
async def test_what_is_wrong_with_an_endpoint_is_named(local: LocalAzureMl, body: dict[str, Any], field: str) -> None:
    refused = await local.http.put(ENDPOINT, json=body)
    assert (refused.status_code, field in refused.json()["error"]["message"]) == (400, True), refused.text


async def test_names_and_places(local: LocalAzureMl) -> None:
    await local.finished(await local.put(ENDPOINT))
    taken = await local.put(f"{DEV}/batchEndpoints/NIGHTLY")
    assert (taken.status_code, taken.json()["error"]["code"]) == (400, "EndpointNameNotAvailable")
    assert (await local.put(f"{PROD}/batchEndpoints/x")).status_code == 400
    moved = await local.http.put(ENDPOINT, json={"location": "westus", "properties": {}})
    assert (moved.status_code, moved.json()["error"]["code"]) == (409, "InvalidResourceLocation")


async def test_a_deployment_has_azures_defaults(local: LocalAzureMl, model: dict[str, Any]) -> None:
    assert (await deployed(local, model))["status"] == "Succeeded"
    found = (await local.http.get(LINE)).json()["properties"]
    assert {name: found[name] for name in ("outputAction", "outputFileName", "errorThreshold", "loggingLevel", "miniBatchSize",
                                           "maxConcurrencyPerInstance", "retrySettings")} == {
        "outputAction": "AppendRow", "outputFileName": "predictions.csv", "errorThreshold": -1, "loggingLevel": "Info",
        "miniBatchSize": 10, "maxConcurrencyPerInstance": 1, "retrySettings": {"maxRetries": 3, "timeout": "PT30S"},
    }  # fmt: skip
    assert found["resources"]["instanceCount"] == 1


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        ({"compute": None}, "compute"),
        ({"compute": "none"}, "none"),
        ({"model": None}, "model"),
        ({"model": {"assetId": "azureml:c:1"}}, "only MLflow models"),
        ({"model": {"referenceType": "DataPath", "path": "p"}}, "referenceType"),
        ({"model": "azureml:m:1"}, "model"),
        ({"codeConfiguration": {"codeId": "c"}}, "scoringScript"),
        ({"codeConfiguration": {"scoringScript": "s.py"}}, "codeId"),
        ({"miniBatchSize": 0}, "miniBatchSize"),
        ({"errorThreshold": -2}, "errorThreshold"),
        ({"maxConcurrencyPerInstance": "2"}, "maxConcurrencyPerInstance"),
        ({"outputAction": "Else"}, "outputAction"),
        ({"outputFileName": "../x"}, "outputFileName"),
        ({"loggingLevel": 4}, "loggingLevel"),
        ({"retrySettings": {"timeout": "soon"}}, "retrySettings.timeout"),
        ({"retrySettings": {"maxRetries": -1}}, "retrySettings.maxRetries"),
        ({"resources": {"instanceCount": 0}}, "resources.instanceCount"),
        ({"environmentVariables": {"A": []}}, "environmentVariables.A"),
        ({"deploymentConfiguration": {"deploymentConfigurationType": "PipelineComponent"}}, "componentId.assetId"),
    ],
)
async def test_what_is_wrong_with_a_deployment_is_named(
    local: LocalAzureMl, model: dict[str, Any], properties: dict[str, Any], field: str
) -> None:
    refused = await local.put(LINE, **{**model, **properties})
    assert (refused.status_code, field in refused.json()["error"]["message"]) == (400, True), refused.text
    assert (await local.http.get(LINE)).status_code == 404


async def test_what_is_missing_is_404(local: LocalAzureMl, model: dict[str, Any]) -> None:
    for properties in ({"model": {"assetId": "azureml:none:1"}}, {"environmentId": "azureml:none:1"}):
        assert (await local.put(LINE, **{**model, **properties})).status_code == 404
    assert (await local.put(LINE.replace("nightly", "none"), **model)).status_code == 404
    assert (await local.http.get(f"{PROD}/batchEndpoints/none")).status_code == 404
    assert (await local.http.get(f"{PROD}/batchEndpoints/none/jobs")).status_code == 404
    assert (await local.http.delete(LINE)).status_code == 204


async def test_the_default_deployment(local: LocalAzureMl, model: dict[str, Any]) -> None:
    await deployed(local, model)
    await deployed(local, model, f"{ENDPOINT}/deployments/second")
    await local.finished(await local.put(ENDPOINT, defaults={"deploymentName": "line"}))
    refused = await local.http.delete(LINE)
    assert (refused.status_code, "default deployment" in refused.text) == (400, True)
    await local.finished(await local.http.delete(f"{ENDPOINT}/deployments/second"))
    await local.finished(await local.http.delete(LINE))  # the last one may go
    assert (await local.http.get(ENDPOINT)).json()["properties"]["defaults"] == {}
    await deployed(local, model)
    await local.finished(await local.http.delete(ENDPOINT))
    assert (await local.http.get(LINE)).status_code == 404


async def test_faults_fail_operations(local: LocalAzureMl, model: dict[str, Any]) -> None:
    local.fault = {"code": "InternalServerError", "message": "on purpose"}
    assert (await deployed(local, model))["error"]["code"] == "InternalServerError"
    assert (await local.http.get(LINE)).json()["properties"]["provisioningState"] == "Failed"
    local.fault = None
    assert (await deployed(local, model))["status"] == "Succeeded"
    patched = await local.http.patch(LINE, json={"tags": {"a": "1"}, "properties": {"description": "d"}})
    await local.finished(patched)
    found = (await local.http.get(LINE)).json()
    assert (found["tags"], found["properties"]["description"], found["properties"]["miniBatchSize"]) == ({"a": "1"}, "d", 10)


def test_invocations_in_both_spellings() -> None:
    pascal = read({"properties": {"InputData": {"a": {"JobInputType": "UriFile", "Uri": "u"}}, "properties": {"experimentName": "e"}}})
    camel = read({"properties": {"inputData": {"a": {"jobInputType": "uri_file", "uri": "u"}}, "compute": {"instanceCount": 2}}})
    assert data_of(pascal) == data_of(camel) == {"type": "uri_file", "uri": "u"}
    assert (pascal.experiment, camel.instances) == ("e", 2)
    outputs = {"outputData": {"o": {"jobOutputType": "UriFile", "uri": "azureml://datastores/d/paths/p/x.csv"}}}
    assert target_of(read({"properties": outputs})) == ("azureml://datastores/d/paths/p/", "x.csv")
    dataset = {"outputDataset": {"datastoreId": f"{PROD}/datastores/d", "path": "/p/q"}}
    assert target_of(read({"properties": dataset})) == ("azureml://datastores/d/paths/p/q/", None)
    assert target_of(read({})) == (None, None)


@pytest.mark.parametrize(
    "properties",
    [
        {"name": "a b"},
        {"name": "a\n"},
        {"name": 3},
        {"compute": {"instanceCount": 0}},
        {"compute": {"instanceCount": 201}},
        {"inputData": {"a": "text"}},
        {"inputData": {"a": {"jobInputType": "Literal"}}},
        {"inputData": {"a": {"jobInputType": None, "uri": "u"}}},
        {"inputData": []},
        {"outputData": {"a": {"jobOutputType": "Literal"}}},
        {"outputDataset": "text"},
        {"properties": 3},
    ],
)
def test_bad_invocations(properties: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        read({"properties": properties})


async def test_a_patch_without_tags_keeps_them(local: LocalAzureMl) -> None:
    await local.finished(await local.http.put(ENDPOINT, json={"tags": {"a": "1"}, "properties": {}}))
    await local.finished(await local.http.patch(ENDPOINT, json={"properties": {}}))
    assert (await local.http.get(ENDPOINT)).json()["tags"] == {"a": "1"}


async def test_jobs_that_only_say_they_are_the_endpoints_are_not_listed(local: LocalAzureMl) -> None:
    await local.finished(await local.put(ENDPOINT))
    await local.put(f"{PROD}/environments/e/versions/1", image="a/b")
    job = {"jobType": "Command", "command": "true", "environmentId": "azureml:e:1", "computeId": "cpu-cluster",
           "properties": {"azureml.endpointname": "nightly"}}  # fmt: skip
    assert (await local.put(f"{PROD}/jobs/mine", **job)).status_code == 201
    assert (await local.http.get(f"{ENDPOINT}/jobs")).json()["value"] == []
    assert (await local.http.get(f"{ENDPOINT}/jobs/mine")).status_code == 404
    assert (await local.http.get(f"{ENDPOINT}/jobs", params={"$skip": 5000 * "9"})).status_code == 400
