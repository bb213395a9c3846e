"""The adapters as the app builds them, and a data scientist who registers things."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from pilotage.azureml import Connections, OnlineDeployments, PipelineJobs, WorkspaceModelRegistry
from pilotage.credentials import credential
from pilotage.settings import Settings
from tests.support.platform import LivePlatform
from tests.support.running_platform import azure, settings

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

__all__ = ["azure", "settings"]

DECLARED = {"Ada Lovelace": "oid-declared-ada"}


@pytest.fixture(scope="module")
def connections(settings: Settings) -> Connections:
    return Connections(settings)


@pytest.fixture(scope="module")
def registry(connections: Connections) -> WorkspaceModelRegistry:
    return WorkspaceModelRegistry(connections, lambda: DECLARED)


@pytest.fixture(scope="module")
def deployments(connections: Connections) -> OnlineDeployments:
    return OnlineDeployments(connections)


@pytest.fixture(scope="module")
def jobs(connections: Connections) -> PipelineJobs:
    return PipelineJobs(connections)


@pytest.fixture(scope="module")
def ada(azure: LivePlatform) -> MLClient:
    """The plain SDK in the development workspace, as Ada."""
    from azure.ai.ml import MLClient

    identity: Any = credential(azure.variables("ada")["AZURE_CLIENT_ID"])
    return MLClient(identity, azure.env["AZURE_SUBSCRIPTION_ID"], azure.env["AZURE_RESOURCE_GROUP"], "mlw-dev", enable_telemetry=False)


@pytest.fixture(autouse=True)
def _no_faults_left(azure: LivePlatform) -> Iterator[None]:
    yield
    azure.clear_faults()
