"""Azure ML killed in the middle of its work: what had begun is finished, and what served serves again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import light_model
from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import LivePlatform, wait_for

NAME = "phoenix"
LINE = light_model.Line(2.0, 1.0, "x")
WAITS = """
import os, time

def init():
    print("waiting")
    while not os.path.exists(os.environ["GATE"]):
        time.sleep(0.05)

def run(raw):
    return "there"
"""


@pytest.fixture
def sdk(state: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sdk]:
    logging.getLogger("azure.ai.ml").setLevel(logging.ERROR)
    platform = LivePlatform(state, functions=False).start()
    for name, value in platform.variables("ada").items():
        monkeypatch.setenv(name, value)
    yield Sdk(platform)
    platform.stop()


@pytest.fixture
def shared(sdk: Sdk, tmp_path: Path) -> str:
    model = light_model.write(tmp_path / "model", LINE, {"x": "double"})
    return sdk.share(sdk.register(NAME, "1", model))


def killed(sdk: Sdk) -> None:
    """Everything at once, then started on the same folder."""
    address = sdk.platform.env["EMULATOR_URL"]
    sdk.platform.kill()
    sdk.platform.restart()
    assert sdk.platform.env["EMULATOR_URL"] == address  # the clients made before go on


def test_what_served_serves_again(sdk: Sdk, shared: str) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint

    sdk.prod.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name=NAME, auth_mode="key")
    ).result()
    sdk.deploy(NAME, "blue", shared)
    sdk.route(NAME, blue=100)
    keys = sdk.prod.online_endpoints.get_keys(NAME).primary_key
    killed(sdk)
    assert sdk.prod.online_endpoints.get(NAME).traffic == {"blue": 100}
    assert sdk.prod.online_endpoints.get_keys(NAME).primary_key == keys
    answer = sdk.score(NAME)  # it waits for the process that is being started
    assert (answer.status_code, answer.json()) == (200, [41.0])
    assert [item.version for item in sdk.dev.models.list(NAME)] == ["1"]


def test_a_deployment_that_was_coming_up_comes_up(sdk: Sdk, shared: str, tmp_path: Path) -> None:
    from azure.ai.ml.entities import (
        CodeConfiguration,
        Environment,
        ManagedOnlineDeployment,
        ManagedOnlineEndpoint,
    )

    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "score.py").write_text(WAITS)
    gate = tmp_path / "open"
    sdk.prod.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name=NAME, auth_mode="key")
    ).result()
    deployment = ManagedOnlineDeployment(
        name="blue",
        endpoint_name=NAME,
        model=shared,
        code_configuration=CodeConfiguration(code=str(tmp_path / "code"), scoring_script="score.py"),
        environment=sdk.prod.environments.create_or_update(
            Environment(name=NAME, version="1", image="mcr.microsoft.com/a:1")
        ),
        environment_variables={"GATE": str(gate)},
        instance_type="Standard_DS3_v2",
        instance_count=1,
    )
    sdk.prod.online_deployments.begin_create_or_update(deployment)  # begun, not waited for

    def started() -> bool | None:
        return True if "waiting" in sdk.prod.online_deployments.get_logs("blue", NAME, 100) else None

    wait_for("the process", started)
    killed(sdk)
    assert sdk.prod.online_deployments.get("blue", NAME).provisioning_state == "Creating"
    gate.touch()

    def succeeded() -> bool | None:
        state = sdk.prod.online_deployments.get("blue", NAME).provisioning_state
        assert state in ("Creating", "Succeeded")
        return True if state == "Succeeded" else None

    wait_for("the deployment", succeeded)
    assert sdk.score(NAME, deployment="blue").json() == "there"


def test_an_import_and_a_deletion_are_finished(sdk: Sdk, tmp_path: Path) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint
    from azure.core.exceptions import ResourceNotFoundError

    model = sdk.register(NAME, "1", light_model.write(tmp_path / "model", LINE, {"x": "double"}))
    sdk.prod.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name=NAME, auth_mode="key")
    ).result()
    sdk.begin_import(model)  # both begun and not waited for
    sdk.prod.online_endpoints.begin_delete(NAME)
    killed(sdk)

    def copied() -> bool | None:
        try:
            return sdk.registry.models.get(NAME, "1").version == "1"
        except ResourceNotFoundError:
            return None

    def gone() -> bool | None:
        try:
            sdk.prod.online_endpoints.get(NAME)
        except ResourceNotFoundError:
            return True
        return None

    wait_for("the copy", copied)
    wait_for("the end of the endpoint", gone)
