"""URIs and references: every form that Azure ML has, to the blobs and assets they mean."""

from __future__ import annotations

import pytest

from emulator.azure_ml.errors import AzureMlError
from emulator.azure_ml.locations import BlobLocation
from tests.support.azure_ml import DEV, SUBSCRIPTION, LocalAzureMl

LONG = f"azureml://subscriptions/{SUBSCRIPTION}/resourcegroups/rg/workspaces/dev/datastores/workspaceblobstore/paths"


@pytest.mark.parametrize(
    ("uri", "container", "path"),
    [
        ("azureml://datastores/workspaceblobstore/paths/a/b", "azureml-blobstore-{guid}", "a/b"),
        ("azureml://datastores/workspaceblobstore/paths/a/b/", "azureml-blobstore-{guid}", "a/b"),
        ("azureml://datastores/workspaceblobstore/paths/", "azureml-blobstore-{guid}", ""),
        ("azureml://datastores/workspaceartifactstore/paths/x", "azureml", "x"),
        (f"{LONG}/a%20b/c", "azureml-blobstore-{guid}", "a b/c"),
        (LONG.replace("resourcegroups", "resourceGroups") + "/a", "azureml-blobstore-{guid}", "a"),
        ("https://stdev.blob.core.windows.net/c/a/b", "c", "a/b"),
        ("https://stdev.blob.core.windows.net/c", "c", ""),
        ("https://stdev.blob.core.windows.net/c/a?sv=1&sig=x", "c", "a"),
        ("wasbs://c@stdev.blob.core.windows.net/a/b", "c", "a/b"),
        ("azureml://jobs/j1/outputs/model/paths/m", "azureml-blobstore-{guid}", "azureml/j1/model/m"),
        ("azureml://jobs/j1/outputs/model", "azureml-blobstore-{guid}", "azureml/j1/model"),
        ("azureml://jobs/j1/outputs/artifacts/paths/m", "azureml", "ExperimentRun/dcid.j1/m"),
        ("azureml://jobs/j1/outputs/placed/paths/m", "azureml-blobstore-{guid}", "elsewhere/m"),
        ("runs:/j1/model", "azureml", "ExperimentRun/dcid.j1/model"),
    ],
)
def test_uris(local: LocalAzureMl, uri: str, container: str, path: str) -> None:
    scope = local.service.scopes.workspace("dev")
    placed = {"uri": "azureml://datastores/workspaceblobstore/paths/elsewhere"}
    local.service.store.put(f"{DEV}/jobs/j1", {"properties": {"outputs": {"placed": placed}}})
    found = local.service.locations.blob(uri, scope)
    assert found == BlobLocation("stdev", container.format(guid=scope.guid), path)


@pytest.mark.parametrize(
    "uri",
    [
        "azureml://datastores/none/paths/a",
        "azureml://jobs/none/outputs/model",
        "https://example.com/model",
        "/tmp/model",
        "",
        LONG.replace("workspaces/dev", "workspaces/none") + "/a",
    ],
)
def test_uris_that_mean_nothing(local: LocalAzureMl, uri: str) -> None:
    with pytest.raises(AzureMlError):
        local.service.locations.blob(uri, local.service.scopes.workspace("dev"))


@pytest.mark.parametrize(
    "reference",
    [
        f"{DEV}/models/m/versions/1",
        f"azureml:{DEV}/models/m/versions/1",
        f"{DEV}/models/m/versions/1".lower(),
        "azureml:m:1",
        "m:1",
        "m@latest",
        "azureml:m@latest",
        f"{DEV}/models/m/labels/latest",
        "azureml://locations/eastus/workspaces/{guid}/models/m/versions/1",
        "azureml://registries/shared/models/m/versions/1",
        "azureml://registries/shared/models/m/labels/latest",
    ],
)
async def test_references(local: LocalAzureMl, reference: str) -> None:
    scope = local.service.scopes.workspace("dev")
    for owner in (scope, local.service.scopes.registry("shared")):
        local.service.store.put(f"{owner.id}/models/m/versions/1", {"name": "1", "properties": {}})
        local.service.store.put(
            f"{owner.id}/models/m/versions/2", {"name": "2", "properties": {"isArchived": True}}
        )
    owner, found = local.service.locations.asset(reference.format(guid=scope.guid), "models", scope)
    assert found["name"] == "1"
    assert owner.is_registry is ("registries" in reference)


@pytest.mark.parametrize(
    "reference", ["m:2", "other@latest", "azureml://registries/none/models/m/versions/1", "m", "a/b:1"]
)
def test_references_to_nothing(local: LocalAzureMl, reference: str) -> None:
    with pytest.raises(AzureMlError):
        local.service.locations.asset(reference, "models", local.service.scopes.workspace("dev"))
