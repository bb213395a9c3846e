"""Batch endpoints through the real SDK: jobs that really score files."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import LivePlatform, wait_for
from tests.support.published import problems

pytestmark = pytest.mark.xdist_group("sdk-batch")

COUNT = """
import os
from pathlib import Path

def init():
    global word
    word = os.environ["WORD"]
    print("models:", os.listdir(os.environ["AZUREML_MODEL_DIR"]))

def run(mini_batch):
    print("a mini-batch of", len(mini_batch))
    texts = [Path(path).read_text() for path in mini_batch]
    if any("break" in text for text in texts):
        raise ValueError("asked to fail")
    return [f"{Path(path).name} {text.count(word)}" for path, text in zip(mini_batch, texts)]
"""

SUMMARY = """
import os
from pathlib import Path

def run(mini_batch):
    for path in mini_batch:
        Path(os.environ["AZUREML_BI_OUTPUT_PATH"], Path(path).name + ".upper").write_text(Path(path).read_text().upper())
    return mini_batch
"""


@pytest.fixture
def batch(sdk: Sdk, name: str) -> Iterator[str]:
    """A batch endpoint of the development workspace without deployments."""
    from azure.ai.ml.entities import BatchEndpoint

    made = sdk.dev.batch_endpoints.begin_create_or_update(BatchEndpoint(name=name, description="scores files")).result()
    assert (made.provisioning_state, made.auth_mode) == ("Succeeded", "aad_token")
    yield name
    sdk.dev.batch_endpoints.begin_delete(name).result()


@pytest.fixture
def environment(sdk: Sdk, name: str) -> Any:
    from azure.ai.ml.entities import Environment

    return sdk.dev.environments.create_or_update(Environment(name=name, version="1", image="mcr.microsoft.com/a:1"))


def deploy(sdk: Sdk, endpoint: str, name: str, **given: Any) -> Any:
    from azure.ai.ml.entities import ModelBatchDeployment, ModelBatchDeploymentSettings

    settings = ModelBatchDeploymentSettings(**{"mini_batch_size": 2, **given.pop("settings", {})})
    given = {"compute": "cpu-cluster", **given}
    made = ModelBatchDeployment(name=name, endpoint_name=endpoint, settings=settings, **given)
    return sdk.dev.batch_deployments.begin_create_or_update(made).result()


def make_default(sdk: Sdk, endpoint: str, name: str) -> None:
    found = sdk.dev.batch_endpoints.get(endpoint)
    found.defaults = {"deployment_name": name}
    assert sdk.dev.batch_endpoints.begin_create_or_update(found).result().defaults.deployment_name == name


def files(folder: Path, **contents: str) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_text(content)
    return str(folder)


def ended(sdk: Sdk, job: str, status: str = "Completed") -> Any:
    def look() -> Any:
        found = sdk.dev.jobs.get(job)
        return found if found.status in ("Completed", "Failed", "Canceled") else None

    found = wait_for(f"the end of {job}", look)
    assert found.status == status, log_of(sdk, job)
    return found


def test_an_mlflow_model_scores_a_folder_without_code(sdk: Sdk, batch: str, registered: Any, tmp_path: Path) -> None:
    from azure.ai.ml import Input

    made = deploy(sdk, batch, "line", model=registered.id)
    assert (made.provisioning_state, made.mini_batch_size, made.output_file_name) == ("Succeeded", 2, "predictions.csv")
    make_default(sdk, batch, "line")
    given = files(tmp_path / "in", a__csv="x\n1\n2\n", b__csv="x\n3.5\n", c__jsonl='{"x": 10}\n{"x": 20}\n')
    job = sdk.dev.batch_endpoints.invoke(endpoint_name=batch, input=Input(type="uri_folder", path=given))
    assert job.name
    ended(sdk, job.name)
    sdk.dev.jobs.download(job.name, download_path=tmp_path / "out", output_name="score")
    rows = list(csv.reader((tmp_path / "out" / "predictions.csv").open()))
    assert [(row, float(value), name) for row, value, name in rows] == [
        ("0", 3.0, "a.csv"), ("1", 5.0, "a.csv"), ("0", 8.0, "b.csv"), ("0", 21.0, "c.jsonl"), ("1", 41.0, "c.jsonl")
    ]  # fmt: skip
    assert [found.name for found in sdk.dev.batch_endpoints.list_jobs(batch)] == [job.name]
    for kind, path in (("BatchEndpoint", ""), ("BatchDeployment", "/deployments/line"), ("JobBase", f"../../jobs/{job.name}")):
        assert problems(kind, document(sdk, batch, path)) == []
    assert [found.status for found in sdk.dev.batch_deployments.list_jobs(batch, name="line")] == ["Completed"]
    (child,) = sdk.dev.jobs.list(parent_job_name=job.name)
    assert child.display_name == "batchscoring"


def test_a_scoring_script(
    sdk: Sdk, batch: str, registered: Any, environment: Any, line: Path, code: Callable[[str], Path], tmp_path: Path
) -> None:
    from azure.ai.ml import Input
    from azure.ai.ml.entities import CodeConfiguration

    folder = code(COUNT)
    configuration = CodeConfiguration(code=str(folder), scoring_script="score.py")
    settings = {"environment_variables": {"WORD": "ab"}, "error_threshold": 2, "output_file_name": "counts.csv"}
    given: dict[str, Any] = {"model": registered.id, "environment": environment, "code_configuration": configuration}
    deploy(sdk, batch, "count", **given, settings={**settings, "retry_settings": _retries(0)})
    data = files(tmp_path / "in", a__txt="ab ab", b__txt="b", c__txt="break", d__txt="ab", e__txt="abab")
    job = sdk.dev.batch_endpoints.invoke(
        endpoint_name=batch, deployment_name="count", input=Input(type="uri_folder", path=data)
    )
    ended(sdk, job.name)
    sdk.dev.jobs.download(job.name, download_path=tmp_path / "out", output_name="score")
    assert (tmp_path / "out" / "counts.csv").read_text().splitlines() == ["a.txt 2", "b.txt 0", "e.txt 2"]
    log = log_of(sdk, job.name)
    assert f"models: ['{line.name}']" in log
    assert "asked to fail" in log
    assert "2 files failed" in log


@pytest.mark.exhaustive
def test_what_a_script_writes_itself(
    sdk: Sdk, batch: str, registered: Any, environment: Any, code: Callable[[str], Path], tmp_path: Path
) -> None:
    from azure.ai.ml import Input
    from azure.ai.ml.entities import CodeConfiguration

    configuration = CodeConfiguration(code=str(code(SUMMARY)), scoring_script="score.py")
    deploy(sdk, batch, "upper", model=registered.id, environment=environment, code_configuration=configuration,
           settings={"output_action": "summary_only"})  # fmt: skip
    file = Path(files(tmp_path / "in", note__txt="hello")) / "note.txt"
    job = sdk.dev.batch_endpoints.invoke(
        endpoint_name=batch, deployment_name="upper", input=Input(type="uri_file", path=str(file))
    )
    ended(sdk, job.name)
    sdk.dev.jobs.download(job.name, download_path=tmp_path / "out", output_name="score")
    assert [(path.name, path.read_text()) for path in (tmp_path / "out").iterdir()] == [("note.txt.upper", "HELLO")]


def test_rest_calls_name_their_output_and_are_safe_to_repeat(
    sdk: Sdk, batch: str, registered: Any, environment: Any, code: Callable[[str], Path], tmp_path: Path
) -> None:
    from azure.ai.ml.entities import CodeConfiguration, Data
    from azure.identity import DefaultAzureCredential

    script = "def run(mini_batch):\n    return [open(path).read() for path in mini_batch]\n"
    configuration = CodeConfiguration(code=str(code(script)), scoring_script="score.py")
    deploy(sdk, batch, "line", model=registered.id, environment=environment, code_configuration=configuration)
    given = files(tmp_path / "in", a__txt="one")
    data = sdk.dev.data.create_or_update(Data(name=batch, version="1", type="uri_folder", path=given))
    uri = sdk.dev.batch_endpoints.get(batch).scoring_uri
    token = DefaultAzureCredential().get_token("https://ml.azure.com/.default").token
    body = {"properties": {
        "InputData": {"in": {"JobInputType": "UriFolder", "Uri": f"azureml:{data.name}:1"}},
        "OutputData": {"out": {"JobOutputType": "UriFile", "Uri": f"azureml://datastores/workspaceblobstore/paths/{batch}/p.csv"}},
        "properties": {"experimentName": "nightly"},
    }}  # fmt: skip
    headers = {"Authorization": f"Bearer {token}", "azureml-model-deployment": "line", "repeatability-request-id": "one"}

    def post(content: Any = body, **more: str) -> httpx.Response:
        return httpx.post(uri, json=content, headers={**headers, **more}, verify=sdk.platform.env["SSL_CERT_FILE"])

    first, second = post(), post()
    assert (first.status_code, first.json()["name"]) == (201, second.json()["name"])
    found = ended(sdk, first.json()["name"])
    assert found.experiment_name == "nightly"
    sdk.dev.jobs.download(found.name, download_path=tmp_path / "out", output_name="score")
    assert list(csv.reader((tmp_path / "out" / "p.csv").open())) == [["one"]]

    assert post(Authorization="Bearer nobody").status_code == 401
    assert post(Authorization=f"Bearer {sdk.platform.user_token('ada', 'https://management.azure.com/.default')}").status_code == 401
    assert post(Authorization=f"Bearer {sdk.platform.user_token('rita', 'https://ml.azure.com/.default')}").status_code == 403
    for bad in (
        {"properties": {}},
        {"properties": {"inputData": {"a": {"jobInputType": "UriFolder"}}}},
        {"properties": {"inputData": {"a": {"jobInputType": "Else", "uri": "x"}}}},
        {"properties": {"inputData": {"a": {"jobInputType": "UriFolder", "uri": "https://elsewhere.blob.core.windows.net/c/p"}}}},
        {"properties": {**body["properties"], "miniBatchSize": 0}},
        {"properties": []},
    ):
        refused = post(bad, **{"repeatability-request-id": "two"})
        assert (refused.status_code, bool(refused.json()["error"]["message"])) == (400, True), refused.text
    assert post(**{"azureml-model-deployment": "none"}).status_code == 404
    assert post(**{"azureml-model-deployment": ""}).status_code == 400  # no default


@pytest.mark.exhaustive
def test_rules(sdk: Sdk, batch: str, registered: Any, name: str, tmp_path: Path) -> None:
    from azure.ai.ml.entities import BatchEndpoint
    from azure.core.exceptions import HttpResponseError, ResourceNotFoundError

    with pytest.raises(HttpResponseError, match="names are unique"):
        sdk.prod.batch_endpoints.begin_create_or_update(BatchEndpoint(name=name)).result()
    with pytest.raises(HttpResponseError, match="not a deployment"):
        make_default(sdk, batch, "none")
    deploy(sdk, batch, "line", model=registered.id)
    deploy(sdk, batch, "second", model=registered.id)
    make_default(sdk, batch, "line")
    assert [item.name for item in sdk.dev.batch_deployments.list(batch)] == ["line", "second"]
    with pytest.raises(HttpResponseError, match="default deployment"):
        sdk.dev.batch_deployments.begin_delete("line", batch).result()
    sdk.dev.batch_deployments.begin_delete("second", batch).result()
    with pytest.raises(ResourceNotFoundError):
        sdk.dev.batch_deployments.get("second", batch)
    custom = sdk.dev.models.create_or_update(_custom(name, files(tmp_path / "custom", a__txt="a")))
    with pytest.raises(HttpResponseError, match="only MLflow models"):
        deploy(sdk, batch, "custom", model=custom.id)
    with pytest.raises(HttpResponseError, match="was not found"):
        deploy(sdk, batch, "bad", model=registered.id, compute="no-cluster")
    assert batch in [item.name for item in sdk.dev.batch_endpoints.list()]


@pytest.mark.exhaustive
def test_a_deployment_of_a_pipeline_component(sdk: Sdk, batch: str, environment: Any, tmp_path: Path) -> None:
    import yaml
    from azure.ai.ml import Input, load_component
    from azure.ai.ml.entities import PipelineComponentBatchDeployment

    count = {
        "type": "command", "name": f"count_{batch}", "version": "1", "environment": f"azureml:{environment.name}:1",
        "inputs": {"text": {"type": "uri_file"}, "word": {"type": "string"}}, "outputs": {"found": {"type": "uri_folder"}},
        "command": "grep -o ${{inputs.word}} ${{inputs.text}} | wc -l > ${{outputs.found}}/count",
    }  # fmt: skip
    (tmp_path / "count.yaml").write_text(yaml.safe_dump(count))
    sdk.dev.components.create_or_update(load_component(tmp_path / "count.yaml"))
    whole = {
        "type": "pipeline", "name": f"whole_{batch}", "version": "1",
        "inputs": {"text": {"type": "uri_file"}, "word": {"type": "string", "default": "zz"}},
        "outputs": {"found": {"type": "uri_folder"}},
        "jobs": {"count": {"type": "command", "component": f"azureml:count_{batch}:1", "compute": "azureml:cpu-cluster",
                           "inputs": {"text": "${{parent.inputs.text}}", "word": "${{parent.inputs.word}}"},
                           "outputs": {"found": "${{parent.outputs.found}}"}}},
    }  # fmt: skip
    (tmp_path / "whole.yaml").write_text(yaml.safe_dump(whole))
    component = sdk.dev.components.create_or_update(load_component(tmp_path / "whole.yaml"))
    made = PipelineComponentBatchDeployment(name="words", endpoint_name=batch, component=component.id,
                                            settings={"default_compute": "cpu-cluster", "continue_on_step_failure": False})  # fmt: skip
    assert sdk.dev.batch_deployments.begin_create_or_update(made).result().component == component.id
    text = Path(files(tmp_path / "in", text__txt="abc ab\nab\n")) / "text.txt"
    inputs = {"text": Input(type="uri_file", path=str(text)), "word": Input(type="string", default="ab")}
    job = sdk.dev.batch_endpoints.invoke(endpoint_name=batch, deployment_name="words", inputs=inputs)
    ended(sdk, job.name)
    for kind, path in (("BatchEndpoint", ""), ("BatchDeployment", "/deployments/words"), ("JobBase", f"../../jobs/{job.name}")):
        assert problems(kind, document(sdk, batch, path)) == []
    sdk.dev.jobs.download(job.name, download_path=tmp_path / "out", output_name="found")
    assert (tmp_path / "out" / "named-outputs" / "found" / "count").read_text().strip() == "3"


def test_a_job_is_cancelled_and_one_fails_by_a_fault(
    sdk: Sdk, batch: str, registered: Any, environment: Any, code: Callable[[str], Path], tmp_path: Path
) -> None:
    from azure.ai.ml import Input
    from azure.ai.ml.entities import CodeConfiguration

    endless = CodeConfiguration(code=str(code("import time\ndef run(mini_batch):\n    time.sleep(600)\n")), scoring_script="score.py")
    deploy(sdk, batch, "endless", model=registered.id, environment=environment, code_configuration=endless,
           settings={"retry_settings": _retries(0, 600)})  # fmt: skip
    data = Input(type="uri_folder", path=files(tmp_path / "in", a__txt="a"))
    job = sdk.dev.batch_endpoints.invoke(endpoint_name=batch, deployment_name="endless", input=data)
    wait_for("the job", lambda: sdk.dev.jobs.get(job.name).status == "Running" or None)
    sdk.dev.jobs.begin_cancel(job.name).result()
    assert sdk.dev.jobs.get(job.name).status == "Canceled"
    fault = {"action": "fail_operation", "code": "ServiceError", "message": "on purpose", "count": 1}
    sdk.platform.fault(method="POST", path=f"/batch/{batch}/jobs$", **fault)
    job = sdk.dev.batch_endpoints.invoke(endpoint_name=batch, deployment_name="endless", input=data)
    assert (job.status, sdk.dev.jobs.get(job.name).status) == ("Failed", "Failed")


GATED = """
import os, time

def run(mini_batch):
    with open({begun!r}, "a") as begun:
        begun.write(mini_batch[0][-1])
    while not os.path.exists({gate!r}):
        time.sleep(0.05)
    return [path[-1] for path in mini_batch]
"""


@pytest.mark.exhaustive
def test_a_killed_platforms_job_scores_every_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are scored again after a restart, but their predictions are there once."""
    from azure.ai.ml import Input
    from azure.ai.ml.entities import BatchEndpoint, CodeConfiguration, Environment

    begun, gate = tmp_path / "begun", tmp_path / "gate"
    platform = LivePlatform(tmp_path / "state", functions=False).start()

    def connect() -> Sdk:
        for name, value in platform.variables("ada").items():
            monkeypatch.setenv(name, value)
        return Sdk(platform)

    try:
        sdk = connect()
        (tmp_path / "code").mkdir()
        (tmp_path / "code" / "score.py").write_text(GATED.format(begun=str(begun), gate=str(gate)))
        model = sdk.dev.models.create_or_update(_custom("m", files(tmp_path / "model", w__txt="w")))
        environment = sdk.dev.environments.create_or_update(Environment(name="e", version="1", image="mcr.microsoft.com/a:1"))
        sdk.dev.batch_endpoints.begin_create_or_update(BatchEndpoint(name="nightly")).result()
        deploy(sdk, "nightly", "gated", model=model.id, environment=environment, settings={"mini_batch_size": 1},
               code_configuration=CodeConfiguration(code=str(tmp_path / "code"), scoring_script="score.py"))  # fmt: skip
        data = Input(type="uri_folder", path=files(tmp_path / "in", a="a", b="b", c="c"))
        job = sdk.dev.batch_endpoints.invoke(endpoint_name="nightly", deployment_name="gated", input=data).name
        wait_for("the first mini-batch", lambda: begun.exists() or None)
        platform.kill()
        before = len(begun.read_text())
        gate.touch()
        platform.start()
        sdk = connect()
        ended(sdk, job)
        sdk.dev.jobs.download(job, download_path=tmp_path / "out", output_name="score")
        assert (tmp_path / "out" / "predictions.csv").read_text().split() == ["a", "b", "c"]
        assert sorted(begun.read_text()[before:]) == ["a", "b", "c"]
        assert [item.name for item in sdk.dev.batch_endpoints.list_jobs("nightly")] == [job]
    finally:
        platform.kill()


def document(sdk: Sdk, endpoint: str, path: str) -> dict[str, Any]:
    """A resource as it is on the wire; `path` goes on from the batch endpoint."""
    from azure.identity import DefaultAzureCredential

    env = sdk.platform.env
    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    url = (f"{env['EMULATOR_URL']}/subscriptions/{env['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{env['AZURE_RESOURCE_GROUP']}"
           f"/providers/Microsoft.MachineLearningServices/workspaces/{env['AZUREML_WORKSPACE_DEV']}/")  # fmt: skip
    rest = path.removeprefix("../../") if path.startswith("..") else f"batchEndpoints/{endpoint}{path}"
    return dict(httpx.get(url + rest, headers={"Authorization": f"Bearer {token}"}, verify=env["SSL_CERT_FILE"]).json())


def log_of(sdk: Sdk, job: str) -> str:
    """What the scoring step has printed, by the address in its run's details."""
    import tempfile

    (child,) = sdk.dev.jobs.list(parent_job_name=job)
    with tempfile.TemporaryDirectory() as folder:
        sdk.dev.jobs.download(child.name, download_path=folder)
        return "".join(path.read_text() for path in Path(folder).rglob("std_log.txt"))


def _retries(count: int, timeout: int = 30) -> Any:
    from azure.ai.ml.entities import BatchRetrySettings

    return BatchRetrySettings(max_retries=count, timeout=timeout)


def _custom(name: str, path: str) -> Any:
    from azure.ai.ml.entities import Model

    return Model(name=f"{name}-custom", version="1", type="custom_model", path=path)
