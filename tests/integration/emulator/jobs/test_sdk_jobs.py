"""Jobs through the unmodified azure-ai-ml SDK against the running platform."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.support.platform import ROOT, LivePlatform, wait_for

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

pytestmark = pytest.mark.xdist_group("sdk-jobs")

CLUSTER = "cpu-cluster"
ENDED = ("Completed", "Failed", "Canceled")


@pytest.fixture(scope="module")
def assets(sdk_platform: LivePlatform, flights: Path) -> None:
    """The sample's environments, components and data on the development workspace."""
    command = [sys.executable, "-W", "ignore", ROOT / "samples" / "flights" / "register_assets.py", "--data", flights]
    variables = os.environ | sdk_platform.variables("ada")
    first, again = (subprocess.run(command, env=variables, capture_output=True, text=True, check=False) for _ in range(2))
    assert first.returncode == 0, first.stderr
    assert again.stdout.count("kept") == 11, again.stdout + again.stderr


@pytest.fixture
def client(as_ada: LivePlatform, assets: None) -> MLClient:
    """The SDK as Ada."""
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    where = (as_ada.env[name] for name in ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZUREML_WORKSPACE_DEV"))
    return MLClient(DefaultAzureCredential(), *where)


def ended(client: MLClient, name: str) -> Any:
    def look() -> Any:
        job = client.jobs.get(name)
        return job if job.status in ENDED else None

    return wait_for(f"the end of {name}", look)


def http_client(platform: LivePlatform) -> httpx.Client:
    """What the SDK has no operation for, with a token of its own."""
    from azure.identity import DefaultAzureCredential

    token = DefaultAzureCredential().get_token("https://management.azure.com/.default").token
    headers = {"authorization": f"Bearer {token}"}
    return httpx.Client(base_url=platform.env["EMULATOR_URL"], verify=platform.env["SSL_CERT_FILE"], trust_env=False, headers=headers)


def test_retraining_by_the_pipeline_component_registers_a_model(client: MLClient, as_ada: LivePlatform) -> None:
    """As the app does it: the component's label, a pinned data asset, a name of its own choosing, no upload."""
    from azure.ai.ml import Input
    from azure.ai.ml.entities import PipelineJob

    def job() -> PipelineJob:
        return PipelineJob(
            name="retrain-case-7",
            component="azureml:train_air_time@latest",
            inputs={"flights": Input(type="uri_file", path="azureml:air-time-flights:1"), "season": "winter", "case": "case-7"},
            compute=CLUSTER,
            experiment_name="retraining",
            tags={"pilotage.case": "case-7"},
        )

    client.jobs.create_or_update(job())
    client.jobs.create_or_update(job())  # after a lost answer: the same job
    done = ended(client, "retrain-case-7")
    assert done.status == "Completed"
    steps = list(client.jobs.list(parent_job_name="retrain-case-7"))
    assert [(step.display_name, step.status) for step in steps] == [
        (name, "Completed") for name in ("prepare", "train", "evaluate", "register")
    ]

    models = list(client.models.list("air-time"))
    assert [model.version for model in models] == ["1"]
    model = client.models.get("air-time", "1")
    assert model.type == "mlflow_model"
    assert model.tags == {"candidate": "true", "scenario": "tabular", "season": "winter", "pilotage.case": "case-7"}
    assert model.properties["pilotage.job"] == "retrain-case-7"
    assert model.creation_context.created_by == "Training Jobs"
    assert model.job_name == next(step.name for step in steps if step.display_name == "train")
    assert float(model.properties["air_time.mae"]) < 9
    assert "python_function" in model.flavors

    with http_client(as_ada) as http:
        workspace = model.id.split("/models/")[0]
        for run in ("retrain-case-7", model.job_name):
            history = http.get(f"/history/v1.0{workspace}/runs/{run}").json()
            assert history["createdBy"]["userName"] == "Ada Lovelace"
            assert history["createdBy"]["userObjectId"] == "0b6d5f6e-8c1a-4a57-9d39-5d1e8f6a0003"


def test_a_command_with_code_is_streamed_and_downloaded(
    client: MLClient, as_ada: LivePlatform, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from azure.ai.ml import Input, Output, command

    code, gate = tmp_path / "code", tmp_path / "gate"
    code.mkdir()
    (code / "copy.py").write_text("import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2] + '/b.txt'); print('copied')")
    (tmp_path / "a.txt").write_text("from here")
    job = command(
        name="copy",
        code=str(code),
        command=f"until test -e {gate}; do sleep 0.1; done; python copy.py ${{{{inputs.file}}}} ${{{{outputs.folder}}}}",
        environment="air-time-training:1",
        compute=CLUSTER,
        inputs={"file": Input(type="uri_file", path=str(tmp_path / "a.txt"))},
        outputs={"folder": Output(type="uri_folder")},
    )
    client.jobs.create_or_update(job)

    def open_gate() -> None:
        """The SDK prints the logs of a job only when it is there before the job's end."""
        wait_for("the stream", lambda: as_ada.journal("/runs/copy/details", "GET") or None)
        gate.touch()

    opener = threading.Thread(target=open_gate)
    opener.start()
    client.jobs.stream("copy")
    opener.join()
    assert "copied" in capsys.readouterr().out
    client.jobs.download("copy", download_path=tmp_path / "down", output_name="folder")
    assert (tmp_path / "down" / "named-outputs" / "folder" / "b.txt").read_text() == "from here"
    client.jobs.download("copy", download_path=tmp_path / "down")
    assert "copied" in (tmp_path / "down" / "artifacts" / "user_logs" / "std_log.txt").read_text()


def test_a_failed_job_says_why_when_it_is_streamed(client: MLClient) -> None:
    from azure.ai.ml import command
    from azure.ai.ml.exceptions import JobException

    client.jobs.create_or_update(
        command(name="broken", command="echo out of flights >&2; exit 4", environment="air-time-training:1", compute=CLUSTER)
    )
    with pytest.raises(JobException, match=r"status code 4.*out of flights"):
        client.jobs.stream("broken")


def test_a_pipeline_of_components_written_in_python(client: MLClient) -> None:
    from azure.ai.ml import Input, dsl, load_component

    folder = ROOT / "samples" / "flights" / "components"
    prepare, train = (load_component(folder / f"{name}.yaml") for name in ("prepare", "train"))

    @dsl.pipeline(default_compute=CLUSTER)
    def two_steps(flights):  # the SDK reads annotations, and cannot read postponed ones
        prepared = prepare(flights=flights)
        trained = train(data=prepared.outputs.data)
        return {"model": trained.outputs.model}

    job = two_steps(flights=Input(type="uri_file", path="azureml:air-time-flights:1"))
    job.name = "two-steps"
    client.jobs.create_or_update(job)
    done = ended(client, "two-steps")
    assert done.status == "Completed"
    assert done.outputs["model"].path.startswith("azureml://datastores/workspaceblobstore/paths/azureml/")


def test_cancelling_through_the_sdk(client: MLClient) -> None:
    from azure.ai.ml import command

    client.jobs.create_or_update(command(name="endless", command="sleep 600", environment="air-time-training:1", compute=CLUSTER))
    wait_for("the running job", lambda: client.jobs.get("endless").status == "Running" or None)
    client.jobs.begin_cancel("endless").result()
    assert client.jobs.get("endless").status == "Canceled"


def test_tags_and_archiving_of_a_job(client: MLClient) -> None:
    from azure.ai.ml import command

    client.jobs.create_or_update(command(name="tagged", command="true", environment="air-time-training:1", compute=CLUSTER))
    job = ended(client, "tagged")
    job.tags["reviewed"] = "yes"
    assert client.jobs.create_or_update(job).tags["reviewed"] == "yes"
    client.jobs.archive("tagged")
    assert "tagged" not in [item.name for item in client.jobs.list()]
    client.jobs.restore("tagged")
    assert "tagged" in [item.name for item in client.jobs.list()]
