"""Where an asset's bytes are: the URI forms of Azure ML, resolved to blobs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from emulator.azure_ml.errors import BadRequest, NotFound
from emulator.azure_ml.resource import Scope
from emulator.azure_ml.scopes import Scopes
from emulator.azure_ml.store import Resource, ResourceStore

_LONG = re.compile(
    r"^azureml://subscriptions/(?P<subscription>[^/]+)/resourcegroups/(?P<group>[^/]+)"
    r"(?:/providers/Microsoft\.MachineLearningServices)?/workspaces/(?P<workspace>[^/]+)/(?P<rest>.+)$",
    re.IGNORECASE,
)
_DATASTORE = re.compile(r"^(?:azureml://)?datastores/(?P<datastore>[^/]+)/paths/(?P<path>.*)$", re.IGNORECASE)
_JOB = re.compile(
    r"^(?:azureml://)?jobs/(?P<job>[^/]+)/outputs/(?P<output>[^/]+)(?:/paths/(?P<path>.*))?$", re.IGNORECASE
)
_RUN = re.compile(r"^runs:/(?P<job>[^/]+)/(?P<path>.*)$")
_BLOB = re.compile(
    r"^https://(?P<account>[^./]+)\.blob\.core\.windows\.net/(?P<container>[^/?]+)/?(?P<path>[^?]*)"
)
_WASBS = re.compile(
    r"^wasbs?://(?P<container>[^@]+)@(?P<account>[^.]+)\.blob\.core\.windows\.net/(?P<path>.*)$"
)

_REGISTRY_ASSET = re.compile(
    r"^azureml://registries/(?P<registry>[^/]+)/(?P<type>[^/]+)/(?P<name>[^/]+)/(?:versions|labels)/(?P<version>[^/]+)$",
    re.IGNORECASE,
)
_LOCATION_ASSET = re.compile(
    r"^azureml://locations/(?P<location>[^/]+)/workspaces/(?P<guid>[^/]+)/(?P<type>[^/]+)/(?P<name>[^/]+)"
    r"/(?:versions|labels)/(?P<version>[^/]+)$",
    re.IGNORECASE,
)
_ARM_ASSET = re.compile(
    r"^(?:azureml:)?(?P<scope>/subscriptions/.+/(?:workspaces|registries)/[^/]+)/(?P<type>[^/]+)/(?P<name>[^/]+)"
    r"/(?:versions|labels)/(?P<version>[^/]+)$",
    re.IGNORECASE,
)
_SHORT_ASSET = re.compile(r"^(?:azureml:)?(?P<name>[^:@/]+)(?::(?P<version>[^:@/]+)|@(?P<label>[^:@/]+))$")


@dataclass(frozen=True, slots=True)
class BlobLocation:
    """A blob, or every blob below a prefix."""

    account: str
    container: str
    path: str
    """Without slashes at either end; may be empty (the whole container)."""

    @property
    def url(self) -> str:
        return f"https://{self.account}.blob.core.windows.net/{self.container}/{self.path}".rstrip("/")

    @property
    def name(self) -> str:
        """The last part of the path, or the container's name."""
        return self.path.rpartition("/")[2] or self.container

    def at(self, container: str, path: str) -> BlobLocation:
        return BlobLocation(self.account, container, path)


class Locations:
    """Resolves URIs and asset references; `store` knows datastores, jobs' outputs and assets."""

    def __init__(self, scopes: Scopes, store: ResourceStore) -> None:
        self._scopes = scopes
        self._store = store

    def blob(self, uri: str, scope: Scope) -> BlobLocation:
        """Resolve a URI as it is understood in `scope`; raises `BadRequest` or `NotFound`.

        Forms: `azureml://subscriptions/.../datastores/d/paths/p`, `azureml://datastores/d/paths/p`,
        `azureml://jobs/j/outputs/o/paths/p`, `runs:/j/p`, `https://account.blob.core.windows.net/c/p`, `wasbs://`.
        """
        if found := _BLOB.match(uri) or _WASBS.match(uri):
            return BlobLocation(found["account"], found["container"], unquote(found["path"]).strip("/"))
        rest = uri
        if found := _LONG.match(uri):
            scope = self._scopes.find("workspaces", found["subscription"], found["group"], found["workspace"])
            rest = found["rest"]
        if found := _DATASTORE.match(rest):
            return self._in_datastore(scope, found["datastore"], found["path"])
        if found := _JOB.match(rest):
            return self._in_job(scope, found["job"], found["output"], found["path"] or "")
        if found := _RUN.match(rest):
            return self._in_job(scope, found["job"], "artifacts", found["path"])
        raise BadRequest(f"The path {uri!r} has no form that is supported.", code="UserError")

    def datastore_uri(self, location: BlobLocation, scope: Scope) -> str | None:
        """The long datastore URI of a blob location in a workspace, when one of its datastores has it."""
        for datastore in self._store.children(f"{scope.id}/datastores"):
            properties = datastore["properties"]
            if (properties.get("accountName"), properties.get("containerName")) == (
                location.account,
                location.container,
            ):
                return (
                    f"azureml://subscriptions/{scope.subscription}/resourceGroups/{scope.resource_group}"
                    f"/workspaces/{scope.name}/datastores/{datastore['name']}/paths/{location.path}"
                )
        return None

    def asset(self, reference: str, plural: str, scope: Scope) -> tuple[Scope, Resource]:
        """The version of an asset that a reference names, labels resolved; raises `NotFound` or `BadRequest`.

        Forms: ARM id, `azureml:name:version`, `name@label`, `azureml://registries/...`, `azureml://locations/...`.
        """
        if found := _REGISTRY_ASSET.match(reference):
            owner, name, version = self._scopes.registry(found["registry"]), found["name"], found["version"]
            plural = found["type"]
        elif found := _LOCATION_ASSET.match(reference):
            owner, name, version = (
                self._scopes.workspace_by_guid(found["guid"]),
                found["name"],
                found["version"],
            )
            plural = found["type"]
        elif found := _ARM_ASSET.match(reference):
            owner, name, version = self._scopes.of_id(found["scope"]), found["name"], found["version"]
            plural = found["type"]
        elif found := _SHORT_ASSET.match(reference):
            owner, name, version = scope, found["name"], found["version"] or found["label"]
        else:
            raise BadRequest(f"{reference!r} is not a reference to an asset.", code="UserError")
        if version.lower() == "latest":
            version = self._latest(owner, plural, name, reference)
        resource = self._store.get(f"{owner.id}/{plural}/{name}/versions/{version}")
        if resource is None:
            raise NotFound(f"The asset {reference} was not found.", code="UserError")
        return owner, resource

    def _latest(self, owner: Scope, plural: str, name: str, reference: str) -> str:
        """The version created last, archived ones left out."""
        versions = self._store.children(f"{owner.id}/{plural}/{name}/versions")
        active = [version for version in versions if not version["properties"].get("isArchived")]
        if not active:
            raise NotFound(f"The asset {reference} was not found.", code="UserError")
        return active[-1]["name"]

    def _in_datastore(self, scope: Scope, name: str, path: str) -> BlobLocation:
        datastore = self._store.get(f"{scope.id}/datastores/{name}")
        if datastore is None:
            raise NotFound(f"There is no datastore {name} in {scope.name}.", code="UserError")
        properties = datastore["properties"]
        return BlobLocation(properties["accountName"], properties["containerName"], unquote(path).strip("/"))

    def _in_job(self, scope: Scope, job: str, output: str, path: str) -> BlobLocation:
        """A job's output is where the job says it is, else where Azure ML puts outputs by default."""
        resource: dict[str, Any] | None = self._store.get(f"{scope.id}/jobs/{job}")
        if resource is None:
            raise NotFound(f"There is no job {job} in {scope.name}.", code="UserError")
        declared = ((resource["properties"].get("outputs") or {}).get(output) or {}).get("uri")
        if declared and not _JOB.match(declared):
            root = self.blob(declared, scope)
        elif output == "artifacts":
            root = self._in_datastore(scope, "workspaceartifactstore", f"ExperimentRun/dcid.{job}")
        else:
            root = self._in_datastore(scope, "workspaceblobstore", f"azureml/{job}/{output}")
        joined = "/".join(part for part in (root.path, path.strip("/")) if part)
        return root.at(root.container, joined)
