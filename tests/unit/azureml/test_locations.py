"""Where an asset's files are, from the URIs that Azure ML gives."""

from __future__ import annotations

import pytest

from pilotage.azureml.locations import BlobPath, DatastorePath, job_of_path, parse_location
from pilotage.errors import InvalidInput

LONG = "azureml://subscriptions/s/resourcegroups/rg/workspaces/mlw-dev/datastores/workspaceblobstore/paths/"
BLOB = "https://acct.blob.core.windows.net"


@pytest.mark.parametrize(("uri", "expected"), [
    (f"{LONG}LocalUpload/abc/model/", DatastorePath("mlw-dev", "workspaceblobstore", "LocalUpload/abc/model")),
    (f"{LONG}LocalUpload/abc/model.pkl", DatastorePath("mlw-dev", "workspaceblobstore", "LocalUpload/abc/model.pkl")),
    (LONG.replace("resourcegroups", "resourceGroups"), DatastorePath("mlw-dev", "workspaceblobstore", "")),
    (LONG.replace("rg/", "rg/providers/Microsoft.MachineLearningServices/") + "a", DatastorePath("mlw-dev", "workspaceblobstore", "a")),
    ("azureml://datastores/store/paths/a/b", DatastorePath(None, "store", "a/b")),
    ("azureml://datastores/store/paths/a/paths/b/", DatastorePath(None, "store", "a/paths/b")),
    (f"{BLOB}/container/folder/model", BlobPath(BLOB, "container", "folder/model")),
    (f"{BLOB}/container/a%20b/", BlobPath(BLOB, "container", "a b")),
    (f"{BLOB}/container", BlobPath(BLOB, "container", "")),
    (f"{BLOB}/container/x?sv=1&sig=s", BlobPath(BLOB, "container", "x")),
    ("wasbs://container@acct.blob.core.windows.net/a/b", BlobPath(BLOB, "container", "a/b")),
    ("abfss://fs@acct.dfs.core.windows.net/a/b/", BlobPath(BLOB, "fs", "a/b")),
    ("https://acct.dfs.core.windows.net/fs/a", BlobPath(BLOB, "fs", "a")),
])
def test_a_location_is_read(uri: str, expected: DatastorePath | BlobPath) -> None:
    assert parse_location(uri) == expected


@pytest.mark.parametrize("uri", ["", "model.pkl", "./model", "http://acct.blob.core.windows.net/c/x", "https://acct.blob.core.windows.net",
                                 "azureml:model:1", "azureml://registries/r/models/m/versions/1", "s3://bucket/x", "runs:/abc/model"])
def test_what_is_not_in_blob_storage_is_refused(uri: str) -> None:
    with pytest.raises(InvalidInput, match="blob storage"):
        parse_location(uri)


@pytest.mark.parametrize(("uri", "job"), [
    (f"{LONG}ExperimentRun/dcid.brave_sun_123/model", "brave_sun_123"),
    ("azureml://jobs/brave_sun_123/outputs/artifacts/paths/model/", "brave_sun_123"),
    (f"{LONG}LocalUpload/abc/model", None),
    ("", None),
])
def test_the_job_of_an_output_is_told_by_its_path(uri: str, job: str | None) -> None:
    assert job_of_path(uri) == job
