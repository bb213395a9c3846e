"""The private parts of azure-ai-ml that we lean on, held to the pinned version; no network."""

from __future__ import annotations

import json
import os
import threading
import time
import tomllib
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.ai.ml import MLClient
from azure.core.credentials import AccessToken
from azure.core.exceptions import HttpResponseError
from azure.core.polling import LROPoller, NoPolling

from pilotage.azureml import Connections, sdk
from pilotage.errors import Unavailable
from pilotage.settings import Settings
from tests.unit.settings.test_settings import ENOUGH

ROOT = Path(__file__).parents[3]


class NoCredential:
    def get_token(self, *scopes: str, **named: Any) -> AccessToken:
        return AccessToken("none", int(time.time()) + 3600)


@pytest.fixture
def public_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Azure: nothing in the environment names a cloud."""
    for name in ("ARM_CLOUD_METADATA_URL", sdk.CLOUD_VARIABLE):
        monkeypatch.setenv(name, "")  # so that what the SDK writes is undone
        monkeypatch.delenv(name)


@pytest.fixture
def client(public_cloud: None) -> MLClient:
    return MLClient(NoCredential(), "sub", "rg", "mlw-dev", enable_telemetry=False, **sdk.PATIENCE)


def test_the_version_is_the_one_that_was_read() -> None:
    pinned = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"azure-ai-ml=={version('azure-ai-ml')}" in pinned
    assert version("azure-ai-ml") == "1.35.2", "read sdk.py's docstrings against the new version before raising this"


def test_clients_stop_polling_and_say_what_cloud_they_are_for(client: MLClient) -> None:
    inner = client.online_endpoints._online_operation
    assert sdk.accepting(client) is client
    assert client.online_endpoints._online_operation is not inner
    assert client.online_endpoints._online_operation.get == inner.get
    assert sdk.base_url(client) == "https://management.azure.com"
    assert client.online_deployments._online_deployment.begin_delete.keywords == {}


def test_a_begun_operation_starts_no_thread() -> None:
    """What `polling=False` comes to in the generated operations: a poller that is finished, and has no thread."""
    class Generated:
        def begin_create_or_update(self, *args: Any, polling: Any = True, **named: Any) -> LROPoller[Any]:
            assert polling is False
            return LROPoller(None, args, lambda response: response, NoPolling())

        def get(self) -> str:
            return "read"

    before = threading.enumerate()
    operations = sdk._Accepting(Generated())
    poller = operations.begin_create_or_update("body", polling=object(), polling_interval=5)
    assert poller.done()
    assert threading.enumerate() == before
    assert operations.get() == "read"


def test_patience_reaches_every_client(client: MLClient) -> None:
    from azure.core.pipeline.policies import RetryPolicy

    pipeline = client.online_endpoints._online_operation._client._pipeline
    retries = [policy for policy in pipeline._impl_policies if isinstance(policy, RetryPolicy)]
    assert [(policy.total_retries, policy.timeout) for policy in retries] == [(3, 90)]
    assert pipeline._transport.connection_config.timeout == 20


def test_states_are_azures_words_whatever_type_the_sdk_gives_them() -> None:
    from azure.ai.ml._restclient.arm_ml_service.models import JobStatus

    assert [sdk.word(value) for value in (JobStatus.COMPLETED, "Running", None)] == ["Completed", "Running", ""]


def test_a_cloud_whose_metadata_cannot_be_read_is_not_taken_for_public_azure(public_cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK falls back to public Azure, and stays there for the rest of the process."""
    url = "https://localhost:1/metadata/endpoints?api-version=2019-05-01"
    monkeypatch.setenv("ARM_CLOUD_METADATA_URL", url)
    connections = Connections(Settings.from_environment({**ENOUGH, "ARM_CLOUD_METADATA_URL": url}))
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"azure-ai-ml would use https://management\.azure\.com"):
            connections.workspace("mlw-dev")
        with pytest.raises(Unavailable, match="ARM_CLOUD_METADATA_URL"):
            connections.registry("shared-registry")
        assert sdk.CLOUD_VARIABLE not in os.environ


def test_each_workspace_has_one_client_as_its_own_identity(public_cloud: None) -> None:
    connections = Connections(Settings.from_environment({
        **ENOUGH, "PILOTAGE_WORKSPACES": '{"mlw-dev": {}, "mlw-prod": {"resource_group": "rg-prod", "client_id": "id-prod"}}'}))
    dev, prod = connections.workspace("mlw-dev"), connections.workspace("MLW-PROD")
    assert connections.workspace("MLW-Dev") is dev
    assert prod.client is not dev.client
    assert prod.credential is not dev.credential
    assert (prod.client.resource_group_name, prod.client.workspace_name) == ("rg-prod", "mlw-prod")


class _Response:
    def __init__(self, status_code: int, body: Any = None) -> None:
        self.status_code, self._body = status_code, body

    def text(self) -> str:
        return "" if self._body is None else json.dumps(self._body)

    def json(self) -> Any:
        return self._body

    def raise_for_status(self) -> None:
        if self.status_code >= 400:
            raise HttpResponseError(f"HTTP {self.status_code}")


@pytest.mark.parametrize(("answer", "said"), [
    (_Response(200, {"status": "InProgress"}), ("InProgress", "")),
    (_Response(200, {"status": "Succeeded"}), ("Succeeded", "")),
    (_Response(200, {"status": "Failed", "error": {"code": "UserError", "message": "no"}}), ("Failed", "UserError: no")),
    (_Response(200, {"status": "Canceled", "error": None}), ("Canceled", "")),
    (_Response(202), ("InProgress", "")),
    (_Response(204), ("Succeeded", "")),
    (_Response(200, {"id": "azureml://registries/r/models/m/versions/1"}), ("Succeeded", "")),
    (_Response(400, {"error": {"code": "UserError", "message": "no"}}), ("Failed", "UserError: no")),
    (_Response(409), ("Failed", "HTTP 409")),
])
def test_a_registrys_operation_tells_its_status_in_either_way(answer: _Response, said: tuple[str, str]) -> None:
    client = SimpleNamespace(_service_client_registry_arm=SimpleNamespace(send_request=lambda request: answer))
    assert sdk.registry_operation(cast(Any, client), "https://registry.example/operations/1") == said


def test_an_operation_that_cannot_be_read_is_no_failed_operation() -> None:
    client = SimpleNamespace(_service_client_registry_arm=SimpleNamespace(send_request=lambda request: _Response(503)))
    with pytest.raises(HttpResponseError):
        sdk.registry_operation(cast(Any, client), "https://registry.example/operations/1")
