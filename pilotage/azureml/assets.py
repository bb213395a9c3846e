"""`ModelRegistry` on Azure ML workspaces and registries."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pilotage.azure_errors import azure_errors
from pilotage.azureml.artifacts import Artifact
from pilotage.azureml.connections import REGISTRY_ROLE, WORKSPACE_ROLE, Connections
from pilotage.azureml.datastores import in_datastore
from pilotage.azureml.history import RunHistory, owner
from pilotage.azureml.locations import DatastorePath, job_of_path, parse_location
from pilotage.azureml.sdk import word
from pilotage.domain.assets import ArtifactDigest, AssetRef, DataVersion, EnvironmentVersion, ModelVersion, Submitter
from pilotage.domain.canonical import digest
from pilotage.errors import Busy, Conflict, InvalidInput, NotFound
from pilotage.ports import ArtifactFile

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

Kind = Literal["models", "environments", "data", "components"]


class WorkspaceModelRegistry:
    """Assets as Azure ML has them. `submitters` gives the declared object ids by display name."""

    def __init__(self, connections: Connections, submitters: Callable[[], Mapping[str, str]]) -> None:
        self._connections, self._declared = connections, submitters
        self._history = RunHistory(connections)

    def pin(self, kind: Kind, ref: AssetRef) -> AssetRef:
        """Resolve `@latest` (the newest by creation) to its version; a pinned ref comes back as it is. Raises NotFound."""
        if ref.pinned:
            return ref
        with self._asking(ref, f"resolve {kind[:-1] if kind != 'data' else kind} {ref}") as client:
            try:
                found = getattr(client, kind).get(name=ref.name, label=ref.version.removeprefix("@"))
            except _refusal() as error:
                raise NotFound(f"{ref}: there is no such asset, or no such label") from error
        return ref.model_copy(update={"version": str(found.version)})

    def model(self, ref: AssetRef) -> ModelVersion:
        """Raises NotFound."""
        with self._asking(ref, f"read model {ref}") as client:
            found = client.models.get(name=ref.name, version=ref.version)
        path = str(found.path or "")
        return ModelVersion(
            ref=ref, id=_asset_id(ref, "models", found.id), type=word(found.type) or "custom_model", path=path,
            tags=_texts(found.tags), properties=_texts(found.properties), description=str(found.description or ""),
            created_by=str(getattr(found.creation_context, "created_by", None) or ""), job=found.job_name or job_of_path(path))

    def model_digest(self, ref: AssetRef) -> ArtifactDigest:
        """Digest of the model's files, read from where this version's own path says. Raises NotFound."""
        return self._model_artifact(ref).digest()

    def register(self, folder: Path, workspace: str, name: str, kind: str, tags: Mapping[str, str]) -> AssetRef:
        """Upload a local folder as the next version of a model, for a rehearsal; `archive` puts it away."""
        from azure.ai.ml.entities import Model

        at = AssetRef(name=name, version="@latest", workspace=workspace)
        with self._asking(at, f"register {folder} as {name} in {workspace}") as client:
            made = client.models.create_or_update(Model(name=name, path=str(folder), type=kind, tags=dict(tags)))
        return at.model_copy(update={"version": str(made.version)})

    def stamp(self, ref: AssetRef, properties: Mapping[str, str]) -> None:
        """Add properties to a version. Raises NotFound, and Conflict where one is there with another text."""
        with self._asking(ref, f"write properties of {ref}") as client:
            found = client.models.get(name=ref.name, version=ref.version)
            known = _texts(found.properties)
            if other := {name for name, text in properties.items() if known.get(name, text) != text}:
                raise Conflict(f"{ref} has {', '.join(sorted(other))} with another text")
            if any(name not in known for name in properties):
                found.properties = {**known, **properties}
                client.models.create_or_update(found)

    def archive(self, ref: AssetRef) -> None:
        """Hide a version from lists; models that were ever deployed can't be deleted."""
        with self._asking(ref, f"archive {ref}") as client:
            client.models.archive(name=ref.name, version=ref.version)

    def submitters(self, model: ModelVersion) -> list[Submitter]:
        """The registrant and, where the model came from a job, whoever submitted that job.

        Azure ML tells the registrant's display name only, and names are not identities: the object id is the one
        the guardrails declare for the name. A job's submitter is known to run history by object id.
        """
        declared = {name.casefold(): object_id for name, object_id in self._declared().items()}
        found = [Submitter(role="registrant", display_name=model.created_by or "unknown",
                           object_id=declared.get(model.created_by.casefold()))]
        if model.job and model.ref.workspace:
            run = self._history.run(self._connections.workspace(model.ref.workspace), model.job)
            name, object_id = owner(run or {})
            found.append(Submitter(role="training_job_owner", display_name=name,
                                   object_id=object_id or declared.get(name.casefold())))
        return found

    def begin_share_model(self, source: AssetRef, target: AssetRef) -> str:
        """Start copying a workspace's model into a registry; returns the operation's URL once the registry accepted.

        Does nothing when the version is there: whether it is a true copy is told by its digest. Raises NotFound
        when the source is not there.
        """
        return self._share("models", source, target, self.model)

    def environment(self, ref: AssetRef) -> EnvironmentVersion:
        """Raises NotFound. The files of a build context are read to digest them."""
        with self._asking(ref, f"read environment {ref}") as client:
            found = client.environments.get(name=ref.name, version=ref.version)
        image = str(found.image or "")
        build = None
        if found.build is not None:
            context = self._artifact(ref, "environments", str(found.build.path)).digest()
            build = {"context": context.value, "dockerfile": str(found.build.dockerfile_path or "Dockerfile")}
        return EnvironmentVersion(
            ref=ref, id=_asset_id(ref, "environments", found.id), image=image,
            # The conda file as parsed: the services rewrite its white space and the order of its keys.
            definition=digest({"image": image, "conda": found.conda_file or None, "build": build}),
            image_digest=f"sha256:{image.rpartition('@sha256:')[2]}" if "@sha256:" in image else None)

    def begin_share_environment(self, source: AssetRef, target: AssetRef) -> str:
        """As `begin_share_model`."""
        return self._share("environments", source, target, self.environment)

    def share_failure(self, target: AssetRef, operation: str) -> str | None:
        """Why a copy's operation has failed; None while it runs, when it has succeeded, and when Azure has forgotten it."""
        from pilotage.azureml.sdk import registry_operation

        try:
            with self._asking(target, f"look at the copy of {target}") as client:
                status, why = registry_operation(client, operation)
        except NotFound:
            return None
        return f"{status}: {why}" if status in ("Failed", "Canceled") else None

    def data(self, ref: AssetRef) -> DataVersion:
        """Raises NotFound. Reads the files to digest them."""
        found = self._data(ref)
        return DataVersion(ref=ref, id=_asset_id(ref, "data", found.id), uri=str(found.path), type=word(found.type) or "uri_folder",
                           digest=self._artifact(ref, "data", str(found.path)).digest())

    def read_data(self, ref: AssetRef, limit: int) -> list[tuple[str, bytes]]:
        """Files (path, content) of a pinned data asset, sorted by path. Raises TooLarge over `limit` bytes in all."""
        return self._artifact(ref, "data", str(self._data(ref).path)).read(limit)

    def model_files(self, ref: AssetRef) -> list[ArtifactFile]:
        """The files of a model, sorted by path; none is read. Raises NotFound."""
        return self._model_artifact(ref).contents()

    def read_model_file(self, ref: AssetRef, path: str, limit: int) -> bytes:
        """One file of a model. Raises TooLarge over `limit` bytes, NotFound."""
        return self._model_artifact(ref).read_file(path, limit)

    def _model_artifact(self, ref: AssetRef) -> Artifact:
        with self._asking(ref, f"read model {ref}") as client:
            path = str(client.models.get(name=ref.name, version=ref.version).path or "")
        return self._artifact(ref, "models", path)

    def _data(self, ref: AssetRef) -> Any:
        with self._asking(ref, f"read data {ref}") as client:
            return client.data.get(name=ref.name, version=ref.version)

    def _share(self, kind: Kind, source: AssetRef, target: AssetRef, read: Callable[[AssetRef], Any]) -> str:
        if source.workspace is None or target.registry is None:
            raise InvalidInput(f"only a workspace's {kind} are copied into a registry, not {source} to {target}")
        try:
            read(target)
            return ""
        except NotFound:
            read(source)  # the import itself would fail later, and out of sight
        details = self._connections.workspace(source.workspace).details
        source_id = f"azureml://locations/{details.location}/workspaces/{details.guid}/{kind}/{source.name}/versions/{source.version}"
        from pilotage.azureml.sdk import import_into_registry

        try:
            with self._asking(target, f"copy {source} to {target}", conflict=_UnderWay) as client:
                return import_into_registry(client, target.registry, target.name, target.version, source_id)
        except _UnderWay:
            return ""  # an earlier call's copy, whose operation only that call was told

    def _artifact(self, ref: AssetRef, kind: Kind, uri: str) -> Artifact:
        """The files of an asset, with what lets us read them."""
        at = parse_location(uri)
        if ref.registry is not None:
            if isinstance(at, DatastorePath):
                raise InvalidInput(f"{ref} lies in a datastore ({uri}); a registry's assets lie in its own storage")
            from pilotage.azureml.sdk import registry_reference

            with self._asking(ref, f"get access to {ref}") as client:
                signed = registry_reference(client, ref.registry, kind, ref.name, ref.version, uri)
            return Artifact(at, signed.partition("?")[2] if signed else None)
        assert ref.workspace is not None
        workspace = self._connections.workspace(ref.workspace)
        if isinstance(at, DatastorePath):
            at = in_datastore(self._connections.workspace(at.workspace or ref.workspace), at)
        return Artifact(at, workspace.credential)

    @contextmanager
    def _asking(self, ref: AssetRef, what: str, conflict: type[Conflict | Busy] = Conflict) -> Iterator[MLClient]:
        """The client of an asset's home, its errors as ours."""
        if ref.registry is not None:
            client, role = self._connections.registry(ref.registry), REGISTRY_ROLE
        else:
            assert ref.workspace is not None
            client, role = self._connections.workspace(ref.workspace).client, WORKSPACE_ROLE
        with azure_errors(what, role, conflict=conflict):
            yield client


class _UnderWay(Busy):
    """The registry is copying this version already."""


def _refusal() -> type[Exception]:
    """What the SDK itself raises (not for Azure): of a label, that it knows no version with it."""
    from azure.ai.ml.exceptions import MlException

    return MlException


def _asset_id(ref: AssetRef, kind: Kind, found: str | None) -> str:
    """The id by which deployments and jobs name an asset: registries' as URI, workspaces' as ARM id."""
    if ref.registry is not None:
        return f"azureml://registries/{ref.registry}/{kind}/{ref.name}/versions/{ref.version}"
    return str(found)


def _texts(values: Mapping[str, Any] | None) -> dict[str, str]:
    return {str(name): str(value) for name, value in (values or {}).items()}
