"""Registries: imports really copy, once; references to upload and to read by."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support.azure_ml import DEV, REGISTRY, LocalAzureMl

URI = "azureml://datastores/workspaceblobstore/paths/LocalUpload/abc/model"


async def registered(local: LocalAzureMl, *files: str) -> None:
    location = local.service.locations.blob(URI, local.service.scopes.workspace("dev"))
    for file in files:
        local.blobs.write(
            location.account, location.container, f"{location.path}/{file}", f"bytes of {file}".encode()
        )
    local.blobs.write(location.account, location.container, f"{location.path}-other/MLmodel", b"a sibling")
    await local.put(
        f"{DEV}/models/m/versions/1",
        modelUri=URI,
        tags={"a": "1"},
        stage="Development",
        properties={"auc": "0.9"},
    )


async def imported(
    local: LocalAzureMl, kind: str = "models", name: str = "m", **changes: Any
) -> httpx.Response:
    guid = local.service.scopes.workspace("dev").guid
    source = f"azureml://locations/eastus/workspaces/{guid}/{kind}/{name}/versions/1"
    properties = {
        "referenceType": "Id",
        "sourceAssetId": source,
        "destinationName": name,
        "destinationVersion": "1",
    }
    return await local.http.post(f"{REGISTRY}/import", json={"properties": properties | changes})


async def test_an_import_copies_the_bytes_to_the_registrys_account(local: LocalAzureMl) -> None:
    await registered(local, "MLmodel", "data/weights.bin")
    begun = await imported(local)
    assert begun.status_code == 202
    assert (await local.finished(begun))["status"] == "Succeeded"
    model = (await local.http.get(f"{REGISTRY}/models/m/versions/1")).json()
    assert model["id"] == "azureml://registries/shared/models/m/versions/1"
    properties = model["properties"]
    assert properties["modelUri"].startswith("https://stshared.blob.core.windows.net/models-")
    assert properties["modelUri"].endswith("/model")
    assert (properties["tags"], properties["properties"], properties["stage"]) == (
        {"a": "1"},
        {"auc": "0.9"},
        None,
    )
    assert properties["originAssetId"].endswith("/models/m/versions/1")
    assert model["systemData"]["createdBy"] == "Ada Lovelace"
    copied = {name: data for (account, _, name), data in local.blobs.blobs.items() if account == "stshared"}
    assert copied == {
        "model/MLmodel": b"bytes of MLmodel",
        "model/data/weights.bin": b"bytes of data/weights.bin",
    }


async def test_an_environment_needs_no_bytes(local: LocalAzureMl) -> None:
    await local.put(f"{DEV}/environments/e/versions/1", image="mcr.microsoft.com/x:1", condaFile="name: x")
    await local.finished(await imported(local, "environments", "e"))
    found = (await local.http.get(f"{REGISTRY}/environments/e/versions/1")).json()["properties"]
    assert (found["image"], found["condaFile"]) == ("mcr.microsoft.com/x:1", "name: x")


async def test_a_second_import_is_refused(local: LocalAzureMl) -> None:
    await registered(local, "MLmodel")
    await local.finished(await imported(local))
    assert (await imported(local)).status_code == 409


async def test_a_source_that_is_not_there(local: LocalAzureMl) -> None:
    assert (await imported(local)).status_code == 404
    assert (await imported(local, sourceAssetId="nonsense")).status_code == 400
    assert (
        await imported(local, sourceAssetId="azureml://registries/shared/models/m/versions/1")
    ).status_code == 404


async def test_bytes_that_are_not_there_fail_the_import(local: LocalAzureMl) -> None:
    await registered(local)
    failed = await local.finished(await imported(local))
    assert failed["status"] == "Failed"
    assert "No blob" in failed["error"]["message"]
    assert (await local.http.get(f"{REGISTRY}/models/m/versions/1")).status_code == 404


async def test_a_model_of_one_file(local: LocalAzureMl) -> None:
    location = local.service.locations.blob(
        "azureml://datastores/workspaceblobstore/paths/m/model.pkl", local.service.scopes.workspace("dev")
    )
    local.blobs.write(location.account, location.container, location.path, b"pickle")
    await local.put(
        f"{DEV}/models/m/versions/1", modelUri="azureml://datastores/workspaceblobstore/paths/m/model.pkl"
    )
    assert (await local.finished(await imported(local)))["status"] == "Succeeded"
    copied = {name: data for (account, _, name), data in local.blobs.blobs.items() if account == "stshared"}
    assert copied == {"model.pkl": b"pickle"}


async def test_references_to_upload_and_read(local: LocalAzureMl) -> None:
    asset = {
        "assetId": "azureml://registries/shared/models/m/versions/1",
        "temporaryDataReferenceType": "TemporaryBlobReference",
    }
    upload = await local.http.put(f"{REGISTRY}/tempdatarefs/m/versions/1", json=asset)
    reference = upload.json()["blobReferenceForConsumption"]
    assert reference["credential"]["sasUri"].startswith(reference["blobUri"] + "?sp=racwdl")
    assert ("stshared", reference["blobUri"].rpartition("/")[2]) in local.blobs.containers

    missing = await local.http.post(f"{REGISTRY}/datarefs/m/versions/1", json=asset)
    assert missing.status_code == 404
    await local.put(f"{REGISTRY}/models/m/versions/1", modelUri=reference["blobUri"] + "/model")
    read = (await local.http.post(f"{REGISTRY}/datarefs/m/versions/1", json=asset)).json()[
        "blobReferenceForConsumption"
    ]
    assert read["blobUri"] == reference["blobUri"] + "/model"
    assert "sp=rl" in read["credential"]["sasUri"]
    # The SDK takes 409 as "uploaded already".
    assert (await local.http.put(f"{REGISTRY}/tempdatarefs/m/versions/1", json=asset)).status_code == 409


@pytest.mark.parametrize("asset", ["", "azureml://registries/shared", "m:1"])
async def test_a_reference_needs_an_asset(local: LocalAzureMl, asset: str) -> None:
    assert (
        await local.http.put(f"{REGISTRY}/tempdatarefs/m/versions/1", json={"assetId": asset})
    ).status_code == 400


async def test_where_a_registry_is(local: LocalAzureMl) -> None:
    found = (await local.http.get("/registrymanagement/v1.0/registries/SHARED/discovery")).json()
    assert found["primaryRegionResourceProviderUri"] == "https://localhost:1/"
    assert (await local.http.get("/registrymanagement/v1.0/registries/none/discovery")).status_code == 404
