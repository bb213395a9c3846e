"""Assets through the real SDK: uploads to Azurite, versions, labels, archiving, immutability."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.azure_ml_sdk import Sdk

if TYPE_CHECKING:
    from azure.ai.ml.entities import Model

pytestmark = pytest.mark.xdist_group("sdk-assets")


def test_a_workspace(sdk: Sdk) -> None:
    found = sdk.dev.workspaces.get(sdk.platform.env["AZUREML_WORKSPACE_DEV"])
    assert found.location == "eastus"
    assert found.discovery_url.startswith(sdk.platform.env["EMULATOR_URL"])
    assert found.storage_account.endswith("/stmlwdev")
    assert {item.name for item in sdk.dev.workspaces.list()} >= {"mlw-dev", "mlw-staging", "mlw-prod"}


def test_a_model_from_a_local_folder(
    sdk: Sdk, registered: Model, name: str, line: Path, tmp_path: Path
) -> None:
    found = sdk.dev.models.get(name, "1")
    assert found.id == registered.id
    assert "/datastores/workspaceblobstore/paths/LocalUpload/" in str(found.path)
    assert list(found.flavors or {}) == ["python_function"]
    assert found.creation_context is not None
    assert found.creation_context.created_by == "Ada Lovelace"
    sdk.dev.models.download(name, "1", str(tmp_path / "back"))
    (copy,) = (tmp_path / "back" / name).iterdir()
    assert (copy / "MLmodel").read_bytes() == (line / "MLmodel").read_bytes()


def test_versions_labels_and_tags(sdk: Sdk, registered: Model, name: str, line: Path) -> None:
    sdk.register(name, "2", line)
    assert sdk.dev.models.get(name, label="latest").version == "2"
    assert [item.version for item in sdk.dev.models.list(name)] == ["2", "1"]
    registered.tags = {**(registered.tags or {}), "approved": "yes"}
    registered.stage = "Production"
    sdk.dev.models.create_or_update(registered)
    again = sdk.dev.models.get(name, "1")
    assert (again.tags, again.stage) == ({"candidate": "true", "approved": "yes"}, "Production")
    assert [item.version for item in sdk.dev.models.list(name, stage="Production")] == ["1"]


def test_a_version_counts_up_by_itself(sdk: Sdk, registered: Model, name: str, line: Path) -> None:
    from azure.ai.ml.entities import Model

    assert (
        sdk.dev.models.create_or_update(Model(name=name, type="mlflow_model", path=str(line))).version == "2"
    )


def test_archiving(sdk: Sdk, registered: Model, name: str) -> None:
    sdk.dev.models.archive(name, "1")
    assert list(sdk.dev.models.list(name)) == []
    sdk.dev.models.restore(name, "1")
    assert [item.version for item in sdk.dev.models.list(name)] == ["1"]


def test_a_registered_path_stays(sdk: Sdk, registered: Model, name: str, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Model
    from azure.core.exceptions import HttpResponseError

    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "MLmodel").write_text("flavors: {}")
    with pytest.raises(HttpResponseError, match=r"\(UserError\) Asset paths cannot be updated"):
        sdk.dev.models.create_or_update(
            Model(name=name, version="1", type="mlflow_model", path=str(tmp_path / "other"))
        )
    assert sdk.dev.models.get(name, "1").path == registered.path


def test_what_is_not_there(sdk: Sdk, name: str) -> None:
    from azure.core.exceptions import ResourceNotFoundError

    with pytest.raises(ResourceNotFoundError):
        sdk.dev.models.get(name, "1")


def test_data(sdk: Sdk, name: str, tmp_path: Path) -> None:
    from azure.ai.ml.entities import Data

    rows = tmp_path / "rows.csv"
    rows.write_text("x,y\n1,2\n")
    for _ in range(2):
        data = sdk.dev.data.create_or_update(Data(name=name, type="uri_file", path=str(rows)))
    assert data.version == "2"
    assert sdk.dev.data.get(name, label="latest").version == "2"
    assert [item.version for item in sdk.dev.data.list(name)] == ["2", "1"]


def test_environments(sdk: Sdk, name: str) -> None:
    from azure.ai.ml.entities import Environment
    from azure.core.exceptions import ResourceExistsError

    conda = {"name": "x", "dependencies": ["python=3.13"]}
    sdk.dev.environments.create_or_update(
        Environment(name=name, version="1", image="mcr.microsoft.com/a:1", conda_file=conda)
    )
    assert sdk.dev.environments.get(name, label="latest").conda_file == conda
    with pytest.raises(ResourceExistsError):
        sdk.dev.environments.create_or_update(
            Environment(name=name, version="1", image="mcr.microsoft.com/b:1")
        )
    # Without a version the SDK tries the latest and, refused, takes the next.
    assert (
        sdk.dev.environments.create_or_update(Environment(name=name, image="mcr.microsoft.com/b:1")).version
        == "2"
    )


def test_datastores(sdk: Sdk) -> None:
    default = sdk.dev.datastores.get_default(include_secrets=True)
    assert (default.name, default.account_name) == ("workspaceblobstore", "stmlwdev")
    assert {item.name for item in sdk.dev.datastores.list()} >= {
        "workspaceblobstore",
        "workspaceartifactstore",
    }


def test_computes(sdk: Sdk) -> None:
    assert sdk.dev.compute.get("cpu-cluster").type == "amlcompute"
    assert "cpu-cluster" in [item.name for item in sdk.dev.compute.list()]
