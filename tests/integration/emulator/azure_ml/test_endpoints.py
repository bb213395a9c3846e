"""Managed online endpoints through the real SDK, with real scoring processes behind them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.support import light_model
from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import wait_for

pytestmark = pytest.mark.xdist_group("sdk-endpoints")

ECHO = """
import json, os

def init():
    print("the flavour is", os.environ["FLAVOUR"])

def run(raw):
    body = json.loads(raw)
    if body.get("fail"):
        raise ValueError("asked to fail")
    if body.get("hang"):
        import time
        time.sleep(5)
    model = os.listdir(os.environ["AZUREML_MODEL_DIR"])
    return {"flavour": os.environ["FLAVOUR"], "model": model, "pid": os.getpid()}
"""

MORTAL = """
import os, signal, time

def init(): ...

def run(raw):
    if "die" in raw:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)  # the worker dies with its master
    return os.getpid()
"""


def test_a_deployment_from_the_registry_answers_like_its_model(sdk: Sdk, endpoint: str, shared: str) -> None:
    made = sdk.deploy(endpoint, "blue", shared)
    assert (made.provisioning_state, made.instance_count) == ("Succeeded", 1)
    assert sdk.score(endpoint).status_code == 404  # no traffic yet
    named = sdk.score(endpoint, deployment="blue")
    assert (named.status_code, named.json()) == (200, [41.0])
    assert named.headers["azureml-model-deployment"] == "blue"
    sdk.route(endpoint, blue=100)
    assert sdk.score(endpoint, x=1.5).json() == [4.0]
    wrong = sdk.score(endpoint, input_data={"columns": ["y"], "data": [[1]]})
    assert (wrong.status_code, wrong.headers["ms-azureml-model-error-statuscode"]) == (424, "400")


def test_two_deployments_share_traffic(
    sdk: Sdk, endpoint: str, shared: str, name: str, tmp_path: Path
) -> None:
    steeper = light_model.write(tmp_path / "steeper", light_model.Line(3.0, 1.0, "x"), {"x": "double"})
    second = sdk.register(name, "2", steeper)
    sdk.deploy(endpoint, "blue", shared)
    sdk.deploy(endpoint, "green", str(sdk.share(second)))
    sdk.route(endpoint, blue=50, green=50)
    answers = [sdk.score(endpoint) for _ in range(30)]
    assert {(item.headers["azureml-model-deployment"], item.text) for item in answers} == {
        ("blue", "[41.0]"),
        ("green", "[61.0]"),
    }
    sdk.route(endpoint, {"green": 20}, blue=100)
    found = sdk.prod.online_endpoints.get(endpoint)
    assert (found.traffic, found.mirror_traffic) == ({"blue": 100}, {"green": 20})
    sdk.route(endpoint, blue=100)
    sdk.prod.online_deployments.begin_delete("green", endpoint).result()
    assert [item.name for item in sdk.prod.online_deployments.list(endpoint)] == ["blue"]


def test_a_scoring_script(
    sdk: Sdk, endpoint: str, shared: str, code: Callable[[str], Path], line: Path
) -> None:
    from azure.ai.ml.entities import CodeConfiguration, Environment, OnlineRequestSettings

    environment = Environment(name=endpoint, version="1", image="mcr.microsoft.com/azureml/minimal:1")
    configuration = CodeConfiguration(code=str(code(ECHO)), scoring_script="score.py")
    deployed = {
        "code_configuration": configuration,
        "environment": sdk.prod.environments.create_or_update(environment),
        "environment_variables": {"FLAVOUR": "mint"},
        "request_settings": OnlineRequestSettings(request_timeout_ms=1000),
    }
    sdk.deploy(endpoint, "green", shared, **deployed)
    answer = sdk.score(endpoint, deployment="green", any=1).json()
    assert (answer["flavour"], answer["model"]) == ("mint", [line.name])
    failed = sdk.score(endpoint, deployment="green", fail=1)
    assert (failed.status_code, failed.headers["ms-azureml-model-error-statuscode"]) == (424, "500")
    assert "asked to fail" in sdk.prod.online_deployments.get_logs("green", endpoint, 100)
    initializer = sdk.prod.online_deployments.get_logs(
        "green", endpoint, 100, container_type="storage-initializer"
    )
    assert "Downloading model azureml://registries/" in initializer

    # Scaling changes no process; another environment variable does.
    scaled = sdk.deploy(endpoint, "green", shared, **deployed, instance_count=3)
    assert scaled.instance_count == 3
    assert sdk.score(endpoint, deployment="green", any=1).json()["pid"] == answer["pid"]
    sdk.deploy(endpoint, "green", shared, **deployed | {"environment_variables": {"FLAVOUR": "lime"}})
    changed = sdk.score(endpoint, deployment="green", any=1).json()
    assert changed["flavour"] == "lime"
    assert changed["pid"] != answer["pid"]
    assert sdk.score(endpoint, deployment="green", hang=1).status_code == 408


def test_a_script_that_cannot_start_fails_the_deployment(
    sdk: Sdk, endpoint: str, shared: str, code: Callable[[str], Path]
) -> None:
    from azure.ai.ml.entities import CodeConfiguration, Environment
    from azure.core.exceptions import HttpResponseError

    environment = sdk.prod.environments.create_or_update(
        Environment(name=endpoint, version="1", image="mcr.microsoft.com/a:1")
    )
    broken = CodeConfiguration(
        code=str(code("def init():\n    raise RuntimeError('no licence')\n\ndef run(raw): ...\n")),
        scoring_script="score.py",
    )
    with pytest.raises(HttpResponseError, match="ResourceNotReady"):
        sdk.deploy(endpoint, "bad", shared, code_configuration=broken, environment=environment)
    assert sdk.prod.online_deployments.get("bad", endpoint).provisioning_state == "Failed"
    assert "no licence" in sdk.prod.online_deployments.get_logs("bad", endpoint, 200)
    assert sdk.score(endpoint, deployment="bad").status_code == 404

    # An update that fails leaves what served.
    sdk.deploy(endpoint, "blue", shared)
    with pytest.raises(HttpResponseError, match="ResourceNotReady"):
        sdk.deploy(endpoint, "blue", shared, code_configuration=broken, environment=environment)
    assert sdk.score(endpoint, deployment="blue").json() == [41.0]
    # And it can be mended.
    assert sdk.deploy(endpoint, "bad", shared).provisioning_state == "Succeeded"


@pytest.mark.parametrize("fails", ["load", "predict"])
def test_a_model_that_breaks(sdk: Sdk, endpoint: str, name: str, tmp_path: Path, fails: str) -> None:
    from azure.core.exceptions import HttpResponseError

    broken = light_model.write(
        tmp_path / "broken", light_model.Line(1.0, 1.0, "x", fails=fails), {"x": "double"}
    )
    model = sdk.share(sdk.register(name, "9", broken))
    if fails == "load":
        with pytest.raises(HttpResponseError, match="ResourceNotReady"):
            sdk.deploy(endpoint, "blue", model)
    else:
        sdk.deploy(endpoint, "blue", model)
        assert sdk.score(endpoint, deployment="blue").headers["ms-azureml-model-error-statuscode"] == "500"


def test_what_is_missing_fails_the_deployment(sdk: Sdk, endpoint: str, shared: str) -> None:
    from azure.core.exceptions import HttpResponseError

    with pytest.raises(HttpResponseError, match="BadArgument"):
        sdk.deploy(endpoint, "blue", shared.replace("/versions/1", "/versions/99"))
    with pytest.raises(HttpResponseError, match="not found"):
        sdk.deploy(endpoint, "blue", shared, environment="azureml:none:1")


def test_a_fault_fails_an_operation_and_is_over(sdk: Sdk, endpoint: str, shared: str) -> None:
    from azure.core.exceptions import HttpResponseError

    fault = {"action": "fail_operation", "code": "OutOfQuota", "message": "Not enough quota", "count": 1}
    sdk.platform.fault(method="PUT", path=f"{endpoint}/deployments/blue$", **fault)
    with pytest.raises(HttpResponseError, match="OutOfQuota"):
        sdk.deploy(endpoint, "blue", shared)
    assert sdk.prod.online_deployments.get("blue", endpoint).provisioning_state == "Failed"
    assert sdk.deploy(endpoint, "blue", shared).provisioning_state == "Succeeded"


def test_keys_and_invoke(sdk: Sdk, endpoint: str, shared: str, tmp_path: Path) -> None:
    sdk.deploy(endpoint, "blue", shared)
    sdk.route(endpoint, blue=100)
    request = tmp_path / "request.json"
    request.write_text('{"input_data": {"columns": ["x"], "data": [[2.0]]}}')
    assert sdk.prod.online_endpoints.invoke(endpoint, request_file=str(request)) == "[5.0]"
    before = sdk.prod.online_endpoints.get_keys(endpoint)
    sdk.prod.online_endpoints.begin_regenerate_keys(endpoint, key_type="primary").result()
    after = sdk.prod.online_endpoints.get_keys(endpoint)
    assert (after.primary_key != before.primary_key, after.secondary_key) == (True, before.secondary_key)
    uri = sdk.prod.online_endpoints.get(endpoint).scoring_uri
    bundle = sdk.platform.env["SSL_CERT_FILE"]
    old = httpx.post(uri, json={}, headers={"Authorization": f"Bearer {before.primary_key}"}, verify=bundle)
    assert old.status_code == 401


def test_a_scoring_process_that_dies_is_started_again(
    sdk: Sdk, endpoint: str, shared: str, code: Callable[[str], Path]
) -> None:
    from azure.ai.ml.entities import CodeConfiguration, Environment

    environment = sdk.prod.environments.create_or_update(
        Environment(name=endpoint, version="1", image="mcr.microsoft.com/a:1")
    )
    configuration = CodeConfiguration(code=str(code(MORTAL)), scoring_script="score.py")
    sdk.deploy(endpoint, "blue", shared, code_configuration=configuration, environment=environment)
    before = sdk.score(endpoint, deployment="blue", live=1).json()
    assert sdk.score(endpoint, deployment="blue", die=1).status_code == 424

    def again() -> int | None:
        answer = sdk.score(endpoint, deployment="blue", live=1)
        return int(answer.json()) if answer.status_code == 200 else None

    assert wait_for("an answer of the new process", again) != before


def test_an_endpoint_of_identities(sdk: Sdk, name: str, shared: str) -> None:
    from azure.ai.ml.entities import ManagedOnlineEndpoint
    from azure.identity import DefaultAzureCredential

    endpoint = f"{name}-aad"
    sdk.prod.online_endpoints.begin_create_or_update(
        ManagedOnlineEndpoint(name=endpoint, auth_mode="aad_token")
    ).result()
    sdk.deploy(endpoint, "blue", shared)
    uri = sdk.prod.online_endpoints.get(endpoint).scoring_uri
    token = DefaultAzureCredential().get_token("https://ml.azure.com/.default").token
    audience = "https://ml.azure.com/.default"
    for given, status in (
        (token, 200),
        (sdk.prod.online_endpoints.get_keys(endpoint).access_token, 200),
        (sdk.platform.user_token("ada", audience), 200),
        (sdk.platform.user_token("rita", audience), 403),  # a reader
        (sdk.platform.user_token("ada", "https://management.azure.com/.default"), 401),  # for another service
        ("nobody", 401),
    ):
        headers = {"Authorization": f"Bearer {given}", "azureml-model-deployment": "blue"}
        body = {"input_data": {"columns": ["x"], "data": [[1.0]]}}
        assert (
            httpx.post(uri, json=body, headers=headers, verify=sdk.platform.env["SSL_CERT_FILE"]).status_code
            == status
        )
    sdk.prod.online_endpoints.begin_delete(endpoint).result()
