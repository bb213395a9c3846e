"""The unmodified SDK against the running platform, as Ada; every name is new, so that tests don't meet."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import light_model
from tests.support.azure_ml_sdk import Sdk
from tests.support.sdk_fixtures import quiet, sdk

if TYPE_CHECKING:
    from azure.ai.ml.entities import Model

__all__ = ["quiet", "sdk"]


@pytest.fixture
def name() -> str:
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
def line(tmp_path: Path) -> Path:
    """A model that predicts 2 * x + 1."""
    return light_model.write(
        tmp_path / "model", light_model.Line(slope=2.0, intercept=1.0, column="x"), {"x": "double"}
    )


@pytest.fixture
def registered(sdk: Sdk, name: str, line: Path) -> Model:
    """The model, uploaded and registered on the development workspace."""
    return sdk.register(name, "1", line, candidate="true")


@pytest.fixture
def shared(sdk: Sdk, registered: Model) -> str:
    """The id of the model in the registry."""
    return sdk.share(registered)


@pytest.fixture
def endpoint(sdk: Sdk, name: str) -> Iterator[str]:
    """An endpoint of the production workspace without deployments."""
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    sdk.prod.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name=name, auth_mode="key")
    ).result()
    yield name
    sdk.prod.online_endpoints.begin_delete(name).result()


@pytest.fixture
def code(tmp_path: Path) -> Callable[[str], Path]:
    """Write a scoring script into a folder of its own."""

    def write(text: str) -> Path:
        folder = tmp_path / f"code-{uuid.uuid4().hex[:6]}"
        os.makedirs(folder)
        (folder / "score.py").write_text(text, encoding="utf-8")
        return folder

    return write
