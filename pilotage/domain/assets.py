"""What is promoted: references to Azure ML assets, and what reading them again told us."""

from __future__ import annotations

import re
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, model_validator

from pilotage.domain.canonical import digest


class Frozen(BaseModel):
    """A value that crosses the durable wire: immutable, JSON, open to fields added later."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class AssetRef(Frozen):
    """A named version of an asset (model, environment, data, component) in a workspace or a registry.

    Exactly one of `workspace` and `registry` is set; `version` may be a label such as `@latest`
    only before it is resolved.
    """

    name: str
    version: str
    workspace: str | None = None
    registry: str | None = None

    @model_validator(mode="after")
    def _one_home(self) -> Self:
        if (self.workspace is None) == (self.registry is None):
            raise ValueError("an asset lives in either a workspace or a registry: set exactly one")
        return self

    @property
    def pinned(self) -> bool:
        return not self.version.startswith("@")

    def __str__(self) -> str:
        home = f"registries/{self.registry}" if self.registry else f"workspaces/{self.workspace}"
        return f"{home}/{self.name}:{self.version}"


_SHORT = re.compile(r"^azureml:(?P<name>[^:@/]+)(?::(?P<version>[^:@/]+)|@(?P<label>[^:@/]+))$")
_REGISTRY = re.compile(
    r"^azureml://registries/(?P<registry>[^/]+)/(?P<kind>[^/]+)/(?P<name>[^/]+)"
    r"/(?:versions/(?P<version>[^/]+)|labels/(?P<label>[^/]+))$"
)


def parse_asset(text: str, workspace: str) -> AssetRef:
    """Read `azureml:name:1`, `azureml:name@latest` or `azureml://registries/r/models/name/versions/1`.

    Short forms name an asset of `workspace`. Raises ValueError with the accepted forms.
    """
    if match := _SHORT.match(text):
        return AssetRef(name=match["name"], version=match["version"] or "@" + match["label"], workspace=workspace)
    if match := _REGISTRY.match(text):
        return AssetRef(name=match["name"], version=match["version"] or "@" + match["label"], registry=match["registry"])
    raise ValueError(
        f"{text!r} is not an asset: write azureml:name:version, azureml:name@latest "
        "or azureml://registries/registry/kind/name/versions/version"
    )


class BlobDigest(Frozen):
    """One file of an artifact: its path below the artifact's root, size in bytes and sha256 in hex."""

    path: str
    size: int
    sha256: str


class ArtifactDigest(Frozen):
    """What an artifact's files are, computed by us from the blobs: Azure ML gives no digest."""

    value: str
    """`sha256:<hex>` over the sorted (path, size, sha256) of every file."""
    files: int
    size: int
    """Bytes in all."""

    @classmethod
    def of(cls, blobs: list[BlobDigest]) -> ArtifactDigest:
        ordered = sorted(blobs, key=lambda blob: blob.path)
        return cls(
            value=digest([[blob.path, blob.size, blob.sha256] for blob in ordered]),
            files=len(ordered),
            size=sum(blob.size for blob in ordered),
        )


class ModelVersion(Frozen):
    """A registered model version, as Azure ML showed it when it was read."""

    ref: AssetRef
    id: str
    type: str
    """`mlflow_model`, `custom_model` or `triton_model`."""
    path: str
    tags: dict[str, str] = {}
    properties: dict[str, str] = {}
    description: str = ""
    created_by: str = ""
    """Display name, for people; identities are compared by object id (`Submitter`)."""
    job: str | None = None


class Submitter(Frozen):
    """Somebody whose approval of this model does not count."""

    role: Literal["registrant", "training_job_owner"]
    display_name: str
    object_id: str | None
    """None: could not be resolved, and approval fails closed."""


class EnvironmentVersion(Frozen):
    """An environment: its image and the digest of what defines it (image, conda file, build)."""

    ref: AssetRef
    id: str
    image: str
    definition: str
    """`sha256:<hex>` of the definition, equal in workspace and registry."""
    image_digest: str | None = None
    """`sha256:...` when the image is named by digest; None is recorded as `unpinned`."""


class DataVersion(Frozen):
    """A data asset, its label resolved to a version, with the digest of its files."""

    ref: AssetRef
    id: str
    uri: str
    digest: ArtifactDigest
    type: str = "uri_folder"
    """`uri_file`, `uri_folder` or `mltable`: how a job takes it."""
