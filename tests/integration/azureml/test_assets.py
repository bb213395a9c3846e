"""Reading, digesting and copying assets, through the unmodified azure-ai-ml."""

from __future__ import annotations

import threading
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from pilotage.azureml import WorkspaceModelRegistry
from pilotage.azureml.artifacts import CHUNK
from pilotage.domain.assets import ArtifactDigest, AssetRef, BlobDigest
from pilotage.errors import Conflict, InvalidInput, NotFound, PermissionDenied, Throttled, Unavailable
from tests.support.light_model import write
from tests.support.platform import LivePlatform, wait_for

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

pytestmark = pytest.mark.xdist_group("sdk")


def digest_of(root: Path) -> ArtifactDigest:
    """What the artifact's digest must be, from the files themselves."""
    files = [root] if root.is_file() else [path for path in sorted(root.rglob("*")) if path.is_file()]
    base = root.parent if root.is_file() else root
    return ArtifactDigest.of([
        BlobDigest(path=path.relative_to(base).as_posix(), size=path.stat().st_size, sha256=sha256(path.read_bytes()).hexdigest())
        for path in files])


def dev(name: str, version: str = "1") -> AssetRef:
    return AssetRef(name=name, version=version, workspace="mlw-dev")


def shared(name: str, version: str = "1") -> AssetRef:
    return AssetRef(name=name, version=version, registry="shared-registry")


@pytest.fixture(scope="module")
def model(ada: MLClient, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """(name, folder) of an MLflow model that Ada registered, with a file larger than a chunk."""
    from azure.ai.ml.entities import Model

    folder, name = write(tmp_path_factory.mktemp("model") / "model"), f"air-time-{uuid4().hex[:8]}"
    (folder / "weights.bin").write_bytes(bytes(range(256)) * (2 * CHUNK // 256) + b"tail")
    ada.models.create_or_update(Model(name=name, version="1", path=str(folder), type="mlflow_model", tags={"candidate": "true"},
                                      description="a line"))
    return name, folder


# --- models ---------------------------------------------------------------------------------------

def test_a_model_is_read_as_it_was_registered(registry: WorkspaceModelRegistry, model: tuple[str, Path]) -> None:
    found = registry.model(dev(model[0]))
    assert found.ref == dev(model[0])
    assert found.id.endswith(f"/workspaces/mlw-dev/models/{model[0]}/versions/1")
    assert (found.type, found.tags, found.description) == ("mlflow_model", {"candidate": "true"}, "a line")
    assert (found.created_by, found.job) == ("Ada Lovelace", None)
    assert found.path.startswith("azureml://")


@pytest.mark.parametrize("ref", [dev("none"), shared("none")], ids=str)
def test_what_is_not_there_is_not_found(registry: WorkspaceModelRegistry, ref: AssetRef) -> None:
    for read in (registry.model, registry.model_digest, registry.environment, registry.data):
        with pytest.raises(NotFound):
            read(ref)


def test_a_registry_that_is_not_there_is_not_found(registry: WorkspaceModelRegistry) -> None:
    with pytest.raises(NotFound):
        registry.model(AssetRef(name="m", version="1", registry="no-such-registry"))


def test_the_digest_is_of_the_files_themselves(registry: WorkspaceModelRegistry, model: tuple[str, Path]) -> None:
    assert registry.model_digest(dev(model[0])) == digest_of(model[1])


def test_a_model_of_one_file_has_a_digest_too(registry: WorkspaceModelRegistry, ada: MLClient, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Model

    (tmp_path / "model.pkl").write_bytes(b"pickled")
    (tmp_path / "model.pkl.old").write_bytes(b"a neighbour whose name begins alike")
    name = f"single-{uuid4().hex[:8]}"
    ada.models.create_or_update(Model(name=name, version="1", path=str(tmp_path / "model.pkl"), type="custom_model"))
    assert registry.model_digest(dev(name)) == digest_of(tmp_path / "model.pkl")


def test_an_artifact_without_files_is_not_found(registry: WorkspaceModelRegistry, ada: MLClient) -> None:
    from azure.ai.ml.entities import Data

    name = f"empty-{uuid4().hex[:8]}"
    ada.data.create_or_update(Data(name=name, version="1", type="uri_folder", path="azureml://datastores/workspaceblobstore/paths/no/such/"))
    with pytest.raises(NotFound, match="no file"):
        registry.data(dev(name))


# --- copies into the registry ---------------------------------------------------------------------

def _imports(azure: LivePlatform, name: str) -> list[dict[str, Any]]:
    return [request for request in azure.journal("/registries/shared-registry/import", "POST")
            if request["body"]["properties"]["destinationName"] == name]


def _present(registry: WorkspaceModelRegistry, ref: AssetRef) -> Any:
    try:
        return registry.model(ref)
    except NotFound:
        return None


def test_a_copy_is_begun_at_once_and_is_a_true_copy(registry: WorkspaceModelRegistry, azure: LivePlatform, model: tuple[str, Path]) -> None:
    name = model[0]
    registry.model(dev(name))
    threads = threading.enumerate()
    operation = registry.begin_share_model(dev(name), shared(name))
    assert threading.enumerate() == threads, "nobody polls in the background"
    found = wait_for("the copy", lambda: _present(registry, shared(name)))
    assert registry.share_failure(shared(name), operation) is None
    assert found.id == f"azureml://registries/shared-registry/models/{name}/versions/1"
    assert (found.type, found.ref) == ("mlflow_model", shared(name))
    assert registry.model_digest(shared(name)) == digest_of(model[1])
    assert registry.begin_share_model(dev(name), shared(name)) == ""
    assert len(_imports(azure, name)) == 1, "what is there is not copied again"


def test_a_copy_that_fails_says_why(registry: WorkspaceModelRegistry, azure: LivePlatform, ada: MLClient, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Model

    name = f"fails-{uuid4().hex[:8]}"
    ada.models.create_or_update(Model(name=name, version="1", path=str(write(tmp_path / "m")), type="mlflow_model"))
    azure.fault(method="POST", path="/registries/shared-registry/import", action="fail_operation", code="StorageUnavailable",
                message="the registry's storage is full", count=1)
    operation = registry.begin_share_model(dev(name), shared(name))
    why = wait_for("its failure", lambda: registry.share_failure(shared(name), operation))
    assert why == "Failed: StorageUnavailable: the registry's storage is full"
    assert registry.share_failure(shared(name), operation.replace("mfeOperationsStatus/", "mfeOperationsStatus/0")) is None, "forgotten"


def test_a_copy_whose_answer_was_lost_can_be_asked_for_again(
    registry: WorkspaceModelRegistry, azure: LivePlatform, ada: MLClient, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import Model

    name = f"lost-{uuid4().hex[:8]}"
    ada.models.create_or_update(Model(name=name, version="7", path=str(write(tmp_path / "m")), type="mlflow_model"))
    azure.fault(method="POST", path="/registries/shared-registry/import", when="after", action="drop", count=9)
    with pytest.raises(Unavailable):
        registry.begin_share_model(dev(name, "7"), shared(name, "7"))
    azure.clear_faults()
    registry.begin_share_model(dev(name, "7"), shared(name, "7"))
    wait_for("the copy", lambda: _present(registry, shared(name, "7")))
    assert registry.model_digest(shared(name, "7")) == digest_of(tmp_path / "m")


def test_only_what_is_in_a_workspace_is_copied(registry: WorkspaceModelRegistry) -> None:
    with pytest.raises(NotFound):
        registry.begin_share_model(dev("none"), shared("none"))
    with pytest.raises(InvalidInput):
        registry.begin_share_model(shared("m"), shared("m"))


def test_a_digest_is_put_on_a_version_in_the_registry_and_stays(
    registry: WorkspaceModelRegistry, ada: MLClient, tmp_path: Path
) -> None:
    from azure.ai.ml.entities import Model

    name = f"stamped-{uuid4().hex[:8]}"
    ada.models.create_or_update(Model(name=name, version="1", path=str(write(tmp_path / "m")), type="mlflow_model",
                                      properties={"by": "ada"}))
    at = shared(name)
    registry.begin_share_model(dev(name), at)
    wait_for("the copy", lambda: _present(registry, at))
    before = registry.model(at)
    registry.stamp(at, {"pilotage.passport": "sha256:01", "pilotage.promotion": "p"})
    registry.stamp(at, {"pilotage.passport": "sha256:01"})
    with pytest.raises(Conflict, match=r"pilotage\.passport with another text"):
        registry.stamp(at, {"pilotage.passport": "sha256:02", "more": "x"})
    after = registry.model(at)
    assert after.properties == {**before.properties, "pilotage.passport": "sha256:01", "pilotage.promotion": "p"}
    assert after.model_copy(update={"properties": before.properties}) == before, "nothing else of it changes"
    assert registry.model_digest(at) == registry.model_digest(dev(name))
    with pytest.raises(NotFound):
        registry.stamp(shared("none"), {"a": "b"})


# --- labels ---------------------------------------------------------------------------------------

def test_latest_is_the_newest_by_creation(registry: WorkspaceModelRegistry, ada: MLClient) -> None:
    from azure.ai.ml.entities import Data, Environment, Model

    name, path = f"pin-{uuid4().hex[:8]}", "azureml://datastores/workspaceblobstore/paths/x/"
    for version in ("1", "10", "9"):
        ada.data.create_or_update(Data(name=name, version=version, type="uri_folder", path=path))
        ada.models.create_or_update(Model(name=name, version=version, path=path, type="custom_model"))
        ada.environments.create_or_update(Environment(name=name, version=version, image="mcr.microsoft.com/azureml/minimal"))
    for kind in ("data", "models", "environments"):
        assert registry.pin(kind, dev(name, "@latest")) == dev(name, "9"), kind
        with pytest.raises(NotFound):
            registry.pin(kind, dev(f"{name}-none", "@latest"))
        with pytest.raises(NotFound):
            registry.pin(kind, dev(name, "@production"))


def test_a_pinned_reference_needs_no_look(registry: WorkspaceModelRegistry) -> None:
    assert registry.pin("models", dev("never-registered", "3")) == dev("never-registered", "3")


def test_labels_resolve_in_registries_too(registry: WorkspaceModelRegistry, model: tuple[str, Path]) -> None:
    registry.begin_share_model(dev(model[0]), shared(model[0]))
    wait_for("the copy", lambda: _present(registry, shared(model[0])))
    assert registry.pin("models", shared(model[0], "@latest")) == shared(model[0], "1")


# --- environments ---------------------------------------------------------------------------------

CONDA = {"name": "inference", "channels": ["conda-forge"], "dependencies": ["python=3.13", {"pip": ["mlflow==3.17.2", "pandas"]}]}


def test_an_environment_is_the_same_in_workspace_and_registry(registry: WorkspaceModelRegistry, ada: MLClient, tmp_path: Path) -> None:
    import yaml
    from azure.ai.ml.entities import Environment

    name, image = f"env-{uuid4().hex[:8]}", f"mcr.microsoft.com/azureml/minimal@sha256:{'a' * 64}"
    for version, text in (("1", yaml.safe_dump(CONDA, sort_keys=True)), ("2", yaml.safe_dump(CONDA, sort_keys=False, indent=4)),
                          ("3", yaml.safe_dump({**CONDA, "channels": ["defaults"]}))):
        (tmp_path / f"{version}.yaml").write_text(text)
        conda = str(tmp_path / f"{version}.yaml")
        ada.environments.create_or_update(Environment(name=name, version=version, image=image, conda_file=conda))
    one, two, three = (registry.environment(dev(name, version)) for version in "123")
    assert one.definition == two.definition, "white space and the order of keys define nothing"
    assert three.definition != one.definition
    assert (one.image, one.image_digest) == (image, f"sha256:{'a' * 64}")

    registry.begin_share_environment(dev(name), shared(name))

    def copied() -> Any:
        try:
            return registry.environment(shared(name))
        except NotFound:
            return None

    copy = wait_for("the copy", copied)
    assert copy.definition == one.definition
    assert copy.id == f"azureml://registries/shared-registry/environments/{name}/versions/1"


def test_an_image_without_digest_is_unpinned(registry: WorkspaceModelRegistry, ada: MLClient) -> None:
    from azure.ai.ml.entities import Environment

    name = f"env-{uuid4().hex[:8]}"
    ada.environments.create_or_update(Environment(name=name, version="1", image="mcr.microsoft.com/azureml/minimal:latest"))
    assert registry.environment(dev(name)).image_digest is None


# --- data -----------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def data(ada: MLClient, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    from azure.ai.ml.entities import Data

    folder, name = tmp_path_factory.mktemp("data") / "requests", f"requests-{uuid4().hex[:8]}"
    (folder / "deep").mkdir(parents=True)
    (folder / "b.jsonl").write_text("2\n")
    (folder / "a.jsonl").write_text("1\n")
    (folder / "deep" / "c.jsonl").write_text("3\n")
    ada.data.create_or_update(Data(name=name, version="1", type="uri_folder", path=str(folder)))
    return name, folder


def test_data_is_digested_and_read_file_by_file(registry: WorkspaceModelRegistry, data: tuple[str, Path]) -> None:
    name, folder = data
    found = registry.data(dev(name))
    assert found.digest == digest_of(folder)
    assert found.id.endswith(f"/data/{name}/versions/1")
    assert registry.read_data(dev(name), 6) == [("a.jsonl", b"1\n"), ("b.jsonl", b"2\n"), ("deep/c.jsonl", b"3\n")]


def test_more_data_than_the_limit_is_refused_before_it_is_read(registry: WorkspaceModelRegistry, data: tuple[str, Path]) -> None:
    with pytest.raises(InvalidInput, match="holds 6 bytes in 3 files; the limit is 5"):
        registry.read_data(dev(data[0]), 5)


def test_data_of_one_file_is_read_by_its_name(registry: WorkspaceModelRegistry, ada: MLClient, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Data

    (tmp_path / "holdout.csv").write_text("a,b\n1,2\n")
    name = f"holdout-{uuid4().hex[:8]}"
    ada.data.create_or_update(Data(name=name, version="1", type="uri_file", path=str(tmp_path / "holdout.csv")))
    assert registry.read_data(dev(name), 1000) == [("holdout.csv", b"a,b\n1,2\n")]
    assert registry.data(dev(name)).digest == digest_of(tmp_path / "holdout.csv")


# --- who submitted --------------------------------------------------------------------------------

def test_the_registrant_is_known_by_the_declared_object_id(registry: WorkspaceModelRegistry, model: tuple[str, Path]) -> None:
    [submitter] = registry.submitters(registry.model(dev(model[0])))
    assert (submitter.role, submitter.display_name, submitter.object_id) == ("registrant", "Ada Lovelace", "oid-declared-ada")


def test_a_registrant_who_is_not_declared_is_not_known(connections: Any, model: tuple[str, Path]) -> None:
    registry = WorkspaceModelRegistry(connections, dict)
    [submitter] = registry.submitters(registry.model(dev(model[0])))
    assert submitter.object_id is None, "a name is not an identity: approval fails closed"


def test_a_job_that_history_does_not_know_leaves_its_owner_unknown(registry: WorkspaceModelRegistry, model: tuple[str, Path]) -> None:
    found = registry.model(dev(model[0])).model_copy(update={"job": "purged-long-ago"})
    owner = registry.submitters(found)[1]
    assert (owner.role, owner.object_id) == ("training_job_owner", None)


# --- errors ---------------------------------------------------------------------------------------

@pytest.mark.parametrize(("status", "error"), [(403, PermissionDenied), (429, Throttled), (503, Unavailable)])
def test_azures_errors_are_ours(
    registry: WorkspaceModelRegistry, azure: LivePlatform, model: tuple[str, Path], status: int, error: type[Exception]
) -> None:
    azure.fault(method="GET", path=f"/models/{model[0]}/versions/1", action="status", status=status, count=9, headers={"retry-after": "1"})
    with pytest.raises(error, match=f"mlw-dev/{model[0]}:1"):
        registry.model(dev(model[0]))


def test_a_short_outage_is_waited_out(registry: WorkspaceModelRegistry, azure: LivePlatform, model: tuple[str, Path]) -> None:
    azure.fault(method="GET", path=f"/models/{model[0]}/versions/1", action="status", status=503, count=2)
    assert registry.model(dev(model[0])).ref == dev(model[0])
