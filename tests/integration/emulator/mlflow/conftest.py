"""A plain `mlflow` client in a process of its own: the training image's, with nothing of Azure in it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.support.platform import ROOT, LivePlatform

WORKSPACE = (
    "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/rg-pilotage"
    "/providers/Microsoft.MachineLearningServices/workspaces/mlw-dev"
)
PYTHON = ROOT / "emulator" / "images" / "training" / ".venv" / "bin" / "python"

Client = Callable[..., Any]


@pytest.fixture(scope="session")
def token(sdk_platform: LivePlatform) -> str:
    """A token of Ada's managed identity, as `az account get-access-token` would print it."""
    env = sdk_platform.variables("ada")
    query = {"resource": "https://ml.azure.com", "api-version": "2019-08-01", "client_id": env["AZURE_CLIENT_ID"]}
    headers = {"X-IDENTITY-HEADER": env["IDENTITY_HEADER"]}
    answer = httpx.get(env["IDENTITY_ENDPOINT"], params=query, headers=headers, verify=env["SSL_CERT_FILE"], trust_env=False)
    return str(answer.raise_for_status().json()["access_token"])


@pytest.fixture(scope="session")
def http(sdk_platform: LivePlatform, token: str) -> httpx.Client:
    env = sdk_platform.env
    return httpx.Client(
        base_url=env["EMULATOR_URL"], verify=env["SSL_CERT_FILE"], trust_env=False, timeout=60,
        headers={"authorization": f"Bearer {token}"},
    )  # fmt: skip


@pytest.fixture(scope="session")
def client(sdk_platform: LivePlatform, token: str) -> Client:
    """Run a script that prints JSON as its last line, with `MLFLOW_TRACKING_URI` and `MLFLOW_TRACKING_TOKEN` set."""
    env = sdk_platform.env

    def run(script: str, *arguments: str) -> Any:
        variables = {
            "PATH": "/usr/bin:/bin", "HOME": str(sdk_platform.state), "REQUESTS_CA_BUNDLE": env["SSL_CERT_FILE"],
            "MLFLOW_TRACKING_URI": f"{env['EMULATOR_URL']}/mlflow/v2.0{WORKSPACE}", "MLFLOW_TRACKING_TOKEN": token,
            "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "NO_PROXY": "localhost",
        }  # fmt: skip
        done = subprocess.run([PYTHON, "-c", script, *arguments], env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return run
