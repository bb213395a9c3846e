"""The fixtures as another project uses them: a folder without any of ours, and five lines of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from azure.ai.ml import MLClient
from azure.ai.ml.entities import Data
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import DefaultAzureCredential

from emulator.testing import LivePlatform
from tests.support.platform import DEADLINE

pytestmark = pytest.mark.xdist_group("emulator-testing")
FILES = {
    "conftest.py": 'pytest_plugins = ["emulator.testing"]\n',
    "test_mine.py": '''
import os
from azure.ai.ml import MLClient
from azure.ai.ml.entities import ManagedOnlineEndpoint
from azure.identity import DefaultAzureCredential

def client():
    return MLClient(DefaultAzureCredential(), os.environ["AZURE_SUBSCRIPTION_ID"], os.environ["AZURE_RESOURCE_GROUP"], "mlw-local")

def test_first(clean_platform):
    assert list(client().online_endpoints.list()) == []
    client().online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="mine", auth_mode="key")).result()
    clean_platform.advance("P30D")
    assert clean_platform.journal("onlineEndpoints/mine$", "PUT")

def test_second(clean_platform):
    assert list(client().online_endpoints.list()) == []
    assert clean_platform.journal("onlineEndpoints/mine$") == []
''',
}


@pytest.mark.exhaustive  # nineteen seconds for what the fixtures of this repository show too
def test_in_a_project_of_somebody_else(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AZURE", "EMULATOR", "PYTEST"))}
    result = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "temp")],
                            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=DEADLINE, check=False)
    assert "2 passed" in result.stdout, result.stdout + result.stderr


class TestCleanPlatform:
    """One after the other: what a test has made, the next does not see."""

    @pytest.fixture
    def client(self, clean_platform: LivePlatform) -> MLClient:
        env = clean_platform.env
        return MLClient(DefaultAzureCredential(), env["AZURE_SUBSCRIPTION_ID"], env["AZURE_RESOURCE_GROUP"], env["AZUREML_WORKSPACE_DEV"])

    @pytest.mark.parametrize("time", [1, 2])
    def test_each_test_begins_with_nothing(self, client: MLClient, clean_platform: LivePlatform, tmp_path: Path, time: int) -> None:
        with pytest.raises(ResourceNotFoundError):
            client.data.get("mine", "1")
        (tmp_path / "rows.csv").write_text(f"x\n{time}\n")
        client.data.create_or_update(Data(name="mine", version="1", path=str(tmp_path / "rows.csv"), type="uri_file"))
        assert client.data.get("mine", "1").version == "1"
        assert clean_platform.mailbox() == []
        clean_platform.control("POST", "/mailbox/c", json="posted")
        assert clean_platform.mailbox() == ["posted"]

    def test_a_fault_hits_and_is_gone(self, client: MLClient, clean_platform: LivePlatform) -> None:
        fault = clean_platform.fault(path="/data/mine/versions/9", action="status", status=503, count=1)
        with pytest.raises(ResourceNotFoundError):  # the SDK asks again after a 503
            client.data.get("mine", "9")
        (item,) = clean_platform.control("GET", "/faults")["items"]
        assert (item["id"], item["hits"]) == (fault, 1)
        clean_platform.clear_faults()
        assert not clean_platform.is_holding()
