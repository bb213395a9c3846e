"""Where an asset's files are: the URIs that Azure ML gives for models and data, as container and path."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from pilotage.errors import InvalidInput

_DATASTORE = re.compile(
    r"^azureml://(?:subscriptions/[^/]+/resourcegroups/[^/]+(?:/providers/Microsoft\.MachineLearningServices)?"
    r"/workspaces/(?P<workspace>[^/]+)/)?datastores/(?P<datastore>[^/]+)/paths/(?P<path>.*)$", re.IGNORECASE)
_HADOOP = re.compile(r"^(?:wasbs?|abfss?)://(?P<container>[^@/]+)@(?P<host>[^/]+)/(?P<path>.*)$")
_RUN_PATH = re.compile(r"(?:/ExperimentRun/dcid\.|^azureml://jobs/)(?P<job>[^/]+)/")


@dataclass(frozen=True)
class DatastorePath:
    """A path in a workspace's datastore; `workspace` None: the workspace of the asset."""

    workspace: str | None
    datastore: str
    path: str


@dataclass(frozen=True)
class BlobPath:
    """A path in a container: a file, or a folder with everything below it. No `/` at either end."""

    account_url: str
    """`https://account.blob.suffix`."""
    container: str
    path: str

    @property
    def url(self) -> str:
        return f"{self.account_url}/{self.container}"


def parse_location(uri: str) -> DatastorePath | BlobPath:
    """Read a datastore URI, a blob's https URL or a wasbs/abfss URI. Raises InvalidInput for any other."""
    if match := _DATASTORE.match(uri):
        return DatastorePath(match["workspace"], match["datastore"], match["path"].strip("/"))
    if match := _HADOOP.match(uri):
        return BlobPath(f"https://{_blob_host(match['host'])}", match["container"], match["path"].strip("/"))
    parts = urlsplit(uri)
    container, _, path = parts.path.lstrip("/").partition("/")
    if parts.scheme == "https" and parts.netloc and container:
        return BlobPath(f"https://{_blob_host(parts.netloc)}", container, unquote(path).strip("/"))
    raise InvalidInput(f"{uri!r} is not in blob storage that Pilotage can read: register the asset from a datastore")


def job_of_path(uri: str) -> str | None:
    """The job whose output a path is, where Azure ML did not say so by itself."""
    match = _RUN_PATH.search(uri)
    return match["job"] if match else None


def _blob_host(host: str) -> str:
    """Data Lake accounts answer at their blob endpoint too, and that is what the digests are read from."""
    return host.replace(".dfs.", ".blob.", 1)
