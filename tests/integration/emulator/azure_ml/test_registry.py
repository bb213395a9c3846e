"""The registry through the real SDK: sharing copies bytes, uploads go there, assets are read by SAS."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.azure_ml_sdk import Sdk

if TYPE_CHECKING:
    from azure.ai.ml.entities import Model

pytestmark = pytest.mark.xdist_group("sdk-assets")


def same_files(left: Path, right: Path) -> bool:
    def read(root: Path) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    return read(left) == read(right)


def test_sharing_a_model(
    sdk: Sdk, registered: Model, shared: str, name: str, line: Path, tmp_path: Path
) -> None:
    assert shared == f"azureml://registries/{sdk.platform.env['AZUREML_REGISTRY']}/models/{name}/versions/1"
    found = sdk.registry.models.get(name, "1")
    assert str(found.path).startswith("https://stsharedregistry.blob.core.windows.net/")
    assert (found.tags, list(found.flavors or {})) == ({"candidate": "true"}, ["python_function"])
    assert sdk.registry.models.get(name, label="latest").version == "1"
    assert [item.version for item in sdk.registry.models.list(name)] == ["1"]
    assert name in [item.name for item in sdk.registry.models.list()]
    sdk.registry.models.download(name, "1", str(tmp_path / "back"))
    assert same_files(tmp_path / "back" / name / line.name, line)


def test_sharing_twice_is_refused(sdk: Sdk, registered: Model, shared: str) -> None:
    from azure.ai.ml.exceptions import ValidationException

    with pytest.raises(ValidationException, match="already exists in registry"):
        sdk.share(registered)


def test_a_reference_from_the_registrys_side(sdk: Sdk, registered: Model, name: str) -> None:
    from azure.ai.ml.entities._assets import WorkspaceAssetReference

    workspace = sdk.dev.workspaces.get(sdk.platform.env["AZUREML_WORKSPACE_DEV"])
    guid = str(workspace.discovery_url).rpartition("/")[2]
    source = f"azureml://locations/{workspace.location}/workspaces/{guid}/models/{name}/versions/1"
    reference = WorkspaceAssetReference(name=name, version="7", asset_id=source)
    assert sdk.registry.models.create_or_update(reference).version == "7"


def test_a_fault_fails_the_import(sdk: Sdk, registered: Model, name: str) -> None:
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

    sdk.platform.fault(
        method="POST", path="/import$", action="fail_operation", code="CopyFailed", message="no", count=1
    )
    with pytest.raises(HttpResponseError, match="CopyFailed"):
        sdk.share(registered)
    with pytest.raises(ResourceNotFoundError):
        sdk.registry.models.get(name, "1")
    assert sdk.share(registered).endswith("/versions/1")


def test_tags_of_a_shared_model(sdk: Sdk, shared: str, name: str) -> None:
    found = sdk.registry.models.get(name, "1")
    found.tags["seen"] = "yes"
    path = found.path
    sdk.registry.models.create_or_update(found)
    again = sdk.registry.models.get(name, "1")
    assert (again.tags["seen"], again.path) == ("yes", path)


def test_a_model_uploaded_to_the_registry(sdk: Sdk, name: str, line: Path) -> None:
    from azure.ai.ml.entities import Model

    made = sdk.registry.models.create_or_update(
        Model(name=name, version="1", type="mlflow_model", path=str(line))
    )
    assert str(made.path).startswith("https://stsharedregistry.blob.core.windows.net/models-")
    assert list(made.flavors or {}) == ["python_function"]


def test_environments(sdk: Sdk, name: str) -> None:
    from azure.ai.ml.entities import Environment

    conda = {"name": "x", "dependencies": ["python=3.13"]}
    sdk.dev.environments.create_or_update(
        Environment(name=name, version="1", image="mcr.microsoft.com/a:1", conda_file=conda)
    )
    registry = sdk.platform.env["AZUREML_REGISTRY"]
    sdk.dev.environments.share(
        name, "1", share_with_name=name, share_with_version="1", registry_name=registry
    )
    found = sdk.registry.environments.get(name, "1")
    assert (found.image, found.conda_file) == ("mcr.microsoft.com/a:1", conda)
    direct = Environment(name=name, version="2", image="mcr.microsoft.com/a:2")
    assert sdk.registry.environments.create_or_update(direct).id.endswith(f"/environments/{name}/versions/2")


def test_data(sdk: Sdk, name: str, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Data

    (tmp_path / "rows.csv").write_text("x\n1\n")
    sdk.dev.data.create_or_update(
        Data(name=name, version="1", type="uri_file", path=str(tmp_path / "rows.csv"))
    )
    registry = sdk.platform.env["AZUREML_REGISTRY"]
    sdk.dev.data.share(name, "1", share_with_name=name, share_with_version="1", registry_name=registry)
    found = sdk.registry.data.get(name, "1")
    assert str(found.path).endswith("/rows.csv")
    assert str(found.path).startswith("https://stsharedregistry")
