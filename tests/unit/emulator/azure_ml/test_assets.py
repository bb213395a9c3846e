"""Versioned assets over ARM: registering, changing, archiving, listing, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.azure_ml import DEV, REGISTRY, SUBSCRIPTION, LocalAzureMl

URI = "azureml://datastores/workspaceblobstore/paths/m"
MODEL = f"{DEV}/models/m/versions/1"


async def test_a_version_and_its_container(local: LocalAzureMl) -> None:
    made = await local.put(MODEL, modelUri=URI, tags={"n": 1}, modelType="custom_model")
    assert made.status_code == 201
    body = made.json()
    assert body["id"] == MODEL
    assert body["properties"]["flavors"] == {}
    assert body["properties"]["tags"] == {"n": "1"}
    assert body["systemData"]["createdBy"] == "Ada Lovelace"
    assert body["systemData"]["createdByType"] == "User"
    assert not [key for key in body if key.startswith("_")]
    assert local.service.store.get(MODEL)["_owner"]["objectId"] == "oid-ada"  # type: ignore[index]
    container = (await local.http.get(f"{DEV}/models/m")).json()["properties"]
    assert (container["latestVersion"], container["nextVersion"]) == ("1", "2")


async def test_a_principal_is_an_application(local: LocalAzureMl) -> None:
    made = await local.http.put(
        MODEL, json={"properties": {"modelUri": URI}}, headers={"Authorization": "Bearer trainer"}
    )
    assert made.json()["systemData"]["createdBy"] == "Training Jobs"
    assert made.json()["systemData"]["createdByType"] == "Application"


async def test_changing_keeps_who_made_it(local: LocalAzureMl) -> None:
    before = (await local.put(MODEL, modelUri=URI, stage="Development")).json()
    local.clock.advance(60)
    changed = await local.http.put(
        MODEL,
        json={"properties": {"modelUri": URI, "tags": {"a": "1"}}},
        headers={"Authorization": "Bearer trainer"},
    )
    assert changed.status_code == 200
    after = changed.json()
    assert after["properties"]["tags"] == {"a": "1"}
    assert after["properties"]["stage"] == "Development"
    assert after["systemData"]["createdBy"] == "Ada Lovelace"
    assert after["systemData"]["createdAt"] == before["systemData"]["createdAt"]
    assert after["systemData"]["lastModifiedBy"] == "Training Jobs"
    assert after["systemData"]["lastModifiedAt"] > before["systemData"]["lastModifiedAt"]


async def test_properties_can_be_added_and_never_changed(local: LocalAzureMl) -> None:
    for url in (MODEL, f"{REGISTRY}/models/m/versions/1"):
        location = URI if url == MODEL else "https://acct.blob.core.windows.net/c/m"
        await local.put(url, modelUri=location, properties={"a": "1"})
        assert (await local.put(url, modelUri=location, properties={"a": "1", "b": "2"})).status_code in (200, 202)
        refused = await local.put(url, modelUri=location, properties={"a": "other", "b": "2"})
        assert (refused.status_code, "The property a of m:1 is immutable" in refused.text) == (400, True)
        await local.put(url, modelUri=location, properties={"c": "3"}, tags={"t": "changed"})
        assert (await local.http.get(url)).json()["properties"]["properties"] == {"a": "1", "b": "2", "c": "3"}, "none is taken away"


async def test_the_same_place_in_another_form_is_no_change(local: LocalAzureMl) -> None:
    first = (await local.put(MODEL, modelUri=URI)).json()
    location = local.service.locations.blob(URI, local.service.scopes.workspace("dev"))
    again = await local.put(MODEL, modelUri=location.url)
    assert again.status_code == 200
    assert again.json()["properties"]["modelUri"] == first["properties"]["modelUri"]


@pytest.mark.parametrize(
    ("path", "first", "second", "status"),
    [
        ("models", {"modelUri": URI}, {"modelUri": URI + "2"}, 400),
        ("models", {"modelUri": URI}, {"modelUri": URI, "modelType": "mlflow_model"}, 400),
        ("environments", {"image": "a"}, {"image": "b"}, 409),
        ("environments", {"image": "a"}, {"image": "a", "condaFile": "x"}, 409),
        (
            "data",
            {"dataUri": URI, "dataType": "uri_file"},
            {"dataUri": URI + "2", "dataType": "uri_file"},
            409,
        ),
        ("data", {"dataUri": URI, "dataType": "uri_file"}, {"dataUri": URI, "dataType": "uri_folder"}, 409),
        (
            "codes",
            {"codeUri": "https://stdev.blob.core.windows.net/c/a"},
            {"codeUri": "https://stdev.blob.core.windows.net/c/b"},
            400,
        ),
    ],
)
@pytest.mark.parametrize("root", [DEV, REGISTRY])
async def test_what_is_registered_stays(
    local: LocalAzureMl, root: str, path: str, first: dict[str, Any], second: dict[str, Any], status: int
) -> None:
    if root == REGISTRY:  # registries have no datastores: their paths are blobs' URLs
        first, second = (
            {
                k: str(v).replace(
                    "azureml://datastores/workspaceblobstore/paths/",
                    "https://stshared.blob.core.windows.net/c/",
                )
                for k, v in item.items()
            }
            for item in (first, second)
        )
    url = f"{root}/{path}/x/versions/1"
    made, repeated = (202, 202) if root == REGISTRY else (201, 200)
    assert (await local.put(url, **first)).status_code == made
    assert (await local.put(url, **first)).status_code == repeated
    refused = await local.put(url, **second)
    assert refused.status_code == status, refused.text
    assert refused.json()["error"]["code"] == "UserError"
    kept = (await local.http.get(url)).json()["properties"]
    assert {key: kept[key] for key in first} == first


@pytest.mark.parametrize(
    ("path", "properties"),
    [
        ("models/m/versions/1", {}),
        ("models/m/versions/1", {"modelUri": URI, "modelType": "onnx"}),
        ("models/m/versions/latest", {"modelUri": URI}),
        ("models/-m/versions/1", {"modelUri": URI}),
        ("environments/e/versions/1", {}),
        ("environments/e/versions/1", {"image": "a", "build": {"contextUri": "b"}}),
        ("data/d/versions/1", {"dataUri": URI, "dataType": "table"}),
        ("data/d/versions/1", {"dataType": "uri_file"}),
        ("codes/c/versions/1", {}),
    ],
)
async def test_what_cannot_be_registered(local: LocalAzureMl, path: str, properties: dict[str, Any]) -> None:
    refused = await local.put(f"{DEV}/{path}", **properties)
    assert refused.status_code == 400, refused.text
    assert (await local.http.get(f"{DEV}/{path}")).status_code == 404


async def test_lists(local: LocalAzureMl) -> None:
    for version in ("1", "2", "10"):
        await local.put(
            f"{DEV}/models/m/versions/{version}", modelUri=URI, stage="A" if version == "2" else "B"
        )
    await local.put(f"{DEV}/models/m/versions/2", modelUri=URI, isArchived=True)

    async def names(path: str, **query: str) -> list[str]:
        return [
            item["name"] for item in (await local.http.get(f"{DEV}/{path}", params=query)).json()["value"]
        ]

    versions = "models/m/versions"
    assert await names(versions) == ["10", "1"]
    assert await names(versions, listViewType="All") == ["10", "2", "1"]
    assert await names(versions, listViewType="ArchivedOnly") == ["2"]
    assert await names(versions, listViewType="ListViewType.ACTIVE_ONLY") == ["10", "1"]
    assert await names(versions, **{"$orderBy": "createdtime desc", "$top": "1"}) == ["10"]
    assert await names(versions, **{"$orderBy": "createdtime asc"}) == ["1", "10"]
    assert await names(versions, stage="A", listViewType="All") == ["2"]
    assert await names("models") == ["m"]
    await local.put(f"{DEV}/models/m", isArchived=True)
    assert await names("models") == []
    assert await names("models/none/versions") == []


async def test_a_version_that_is_deleted_is_counted_no_more(local: LocalAzureMl) -> None:
    for version in ("1", "2"):
        await local.put(f"{DEV}/models/m/versions/{version}", modelUri=URI)
    assert (await local.http.delete(f"{DEV}/models/m/versions/2")).status_code == 200
    assert (await local.http.delete(f"{DEV}/models/m/versions/2")).status_code == 204
    assert (await local.http.get(f"{DEV}/models/m")).json()["properties"]["latestVersion"] == "1"


async def test_an_mlflow_models_flavors_are_read_from_its_file(local: LocalAzureMl) -> None:
    scope = local.service.scopes.workspace("dev")
    location = local.service.locations.blob(URI, scope)
    text = (
        b"flavors:\n  python_function: {loader_module: mlflow.sklearn}\n  sklearn: {sklearn_version: 1.8.0}\n"
    )
    local.blobs.write(location.account, location.container, "m/MLmodel", text)
    made = await local.put(MODEL, modelUri=URI, modelType="mlflow_model")
    assert made.json()["properties"]["flavors"] == {
        "python_function": {"data": {"loader_module": "mlflow.sklearn"}},
        "sklearn": {"data": {"sklearn_version": "1.8.0"}},
    }


async def test_a_jobs_output_is_registered_where_it_lies(local: LocalAzureMl) -> None:
    local.service.store.put(f"{DEV}/jobs/train-1", {"properties": {}})
    made = (await local.put(MODEL, modelUri="azureml://jobs/train-1/outputs/model/paths/m")).json()[
        "properties"
    ]
    assert made["jobName"] == "train-1"
    assert made["modelUri"].endswith("/datastores/workspaceblobstore/paths/azureml/train-1/model/m")


@pytest.mark.parametrize("headers", [{"Authorization": ""}, {"Authorization": "Bearer eve"}])
async def test_without_a_token_nothing_is_answered(local: LocalAzureMl, headers: dict[str, str]) -> None:
    refused = await local.http.get(MODEL, headers=headers)
    assert refused.status_code == 401
    assert refused.json()["error"]["code"] == "AuthenticationFailed"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", DEV.replace("dev", "none"), 404),
        ("GET", DEV.replace("0001", "0009"), 404),
        ("GET", f"{DEV}/spaceships/a", 404),
        ("GET", "/subscriptions/s/providers/Microsoft.Other/x", 404),
        ("PATCH", MODEL, 405),
        ("POST", f"{MODEL}/fly", 405),
        ("GET", DEV.rpartition("/")[0], 200),
        ("GET", f"/subscriptions/{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/workspaces", 200),
        ("GET", DEV.upper().replace("/SUBSCRIPTIONS", "/subscriptions"), 200),
    ],
)
async def test_paths(local: LocalAzureMl, method: str, path: str, status: int) -> None:
    await local.put(MODEL, modelUri=URI)
    assert (await local.http.request(method, path)).status_code == status


async def test_a_body_that_is_no_json_object_is_refused(local: LocalAzureMl) -> None:
    for content in (b"{", b"[]", b"\xff"):
        assert (await local.http.put(MODEL, content=content)).status_code == 400
