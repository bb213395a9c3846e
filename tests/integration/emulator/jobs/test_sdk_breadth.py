"""The breadth of jobs through the unmodified azure-ai-ml: ports of every kind, limits, children, cancelling, archiving."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest

from tests.support.platform import LivePlatform, wait_for

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

pytestmark = pytest.mark.xdist_group("sdk-jobs")

CLUSTER, ENVIRONMENT = "cpu-cluster", "breadth:1"
ENDED = ("Completed", "Failed", "Canceled")


@pytest.fixture
def client(as_ada: LivePlatform) -> MLClient:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Environment
    from azure.identity import DefaultAzureCredential

    where = (as_ada.env[name] for name in ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", "AZUREML_WORKSPACE_DEV"))
    client = MLClient(DefaultAzureCredential(), *where)
    client.environments.create_or_update(Environment(name="breadth", version="1", image="mcr.microsoft.com/azureml/minimal"))
    return client


@pytest.fixture
def name() -> str:
    return f"breadth-{uuid4().hex[:10]}"


def job(name: str, text: str, **options: Any) -> Any:
    from azure.ai.ml import command

    return command(name=name, command=text, environment=ENVIRONMENT, compute=CLUSTER, **options)


def ended(client: MLClient, name: str) -> Any:
    def look() -> Any:
        job = client.jobs.get(name)
        return job if job.status in ENDED else None

    return wait_for(f"the end of {name}", look)


def test_ports_of_every_kind_reach_the_command(client: MLClient, name: str, tmp_path: Path) -> None:
    """Inputs by download and by address, literals as the SDK writes them, variables, and outputs that become assets."""
    from azure.ai.ml import Input, Output

    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("from a folder")
    (tmp_path / "folder" / "MLTable").write_text("paths: [{file: ./a.txt}]")
    script = (
        "echo $MINE > ${{outputs.seen}}/words; echo ${{inputs.flag}} ${{inputs.n}} ${{inputs.x}} >> ${{outputs.seen}}/words;"
        " cat ${{inputs.file}} >> ${{outputs.seen}}/words; test -f ${{inputs.folder}}/a.txt; test -f ${{inputs.table}}/MLTable;"
        " echo ${{inputs.there}} >> ${{outputs.seen}}/words;"
        " echo flavors: {python_function: {loader_module: m}} > ${{outputs.model}}/MLmodel;"
        " echo weights > ${{outputs.custom}}/w.bin; echo -n one > ${{outputs.one}}"
    )
    folder = str(tmp_path / "folder")
    client.jobs.create_or_update(job(
        name, script, environment_variables={"MINE": "a variable"},
        inputs={
            "flag": True, "n": 3, "x": 0.5,
            "file": Input(type="uri_file", path=f"{folder}/a.txt", mode="download"),
            "folder": Input(type="uri_folder", path=folder, mode="ro_mount"),
            "table": Input(type="mltable", path=folder),
            "there": Input(type="uri_folder", path="azureml://datastores/workspaceblobstore/paths/somewhere/", mode="direct"),
        },
        outputs={
            "seen": Output(type="uri_folder", mode="rw_mount"), "one": Output(type="uri_file", name=f"{name}-one", version="7"),
            "model": Output(type="mlflow_model", name=f"{name}-model"),
            "custom": Output(type="custom_model", name=f"{name}-custom", mode="upload"),
        },
    ))  # fmt: skip
    done = ended(client, name)
    assert done.status == "Completed"
    client.jobs.download(name, download_path=tmp_path / "down", all=True)
    down = tmp_path / "down"
    words = (down / "named-outputs" / "seen" / "words").read_text().splitlines()
    assert words[:2] == ["a variable", "True 3 0.5"], "a boolean is Python's word for it, as the SDK sends it"
    assert words[2].startswith("from a folderazureml://subscriptions/")
    assert (down / "artifacts" / "user_logs" / "std_log.txt").exists()
    model, custom = client.models.get(f"{name}-model", "1"), client.models.get(f"{name}-custom", "1")
    assert (model.type, model.job_name, "python_function" in model.flavors) == ("mlflow_model", name, True)
    assert (custom.type, custom.job_name) == ("custom_model", name)
    assert client.data.get(f"{name}-one", "7").type == "uri_file"


def test_a_time_limit_cancels_the_job(client: MLClient, name: str) -> None:
    from azure.ai.ml.entities import CommandJobLimits

    endless = job(name, "sleep 600")
    endless.limits = CommandJobLimits(timeout=1)
    client.jobs.create_or_update(endless)
    assert ended(client, name).status == "Canceled"


def test_a_name_is_taken_for_good_and_texts_can_change(client: MLClient, name: str) -> None:
    from azure.core.exceptions import HttpResponseError

    client.jobs.create_or_update(job(name, "true", tags={"a": "1"}))
    with pytest.raises(HttpResponseError, match="A job with this name already exists"):
        client.jobs.create_or_update(job(name, "false"))
    done = ended(client, name)
    done.description, done.display_name, done.tags["b"] = "told later", "Shown", "2"
    client.jobs.create_or_update(done)
    read = client.jobs.get(name)
    assert (read.description, read.display_name, read.tags, read.status) == ("told later", "Shown", {"a": "1", "b": "2"}, "Completed")


def _component(client: MLClient, folder: Path, name: str, command: str, **ports: Any) -> Any:
    import yaml
    from azure.ai.ml import load_component

    spec = {"type": "command", "name": name, "version": "1", "environment": f"azureml:{ENVIRONMENT}", "command": command, **ports}
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump(spec))
    return client.components.create_or_update(load_component(file))


def test_a_pipelines_steps_run_side_by_side_and_end_with_it(client: MLClient, name: str, tmp_path: Path) -> None:
    """Three steps that wait for each other; a fourth after them is cancelled with the pipeline, and its follower never starts."""
    from azure.ai.ml import dsl

    meet = _component(client, tmp_path, f"meet_{uuid4().hex[:8]}", f"touch {tmp_path}/here-$AZUREML_RUN_ID;"
                      f" until test $(ls {tmp_path} | grep -c here-) = 3; do sleep 0.05; done; echo -n x > ${{{{outputs.o}}}}",
                      outputs={"o": {"type": "uri_file"}})  # fmt: skip
    stay = _component(client, tmp_path, f"stay_{uuid4().hex[:8]}",
                      "cat ${{inputs.a}} ${{inputs.b}} ${{inputs.c}}; sleep 600 # ${{outputs.o}}",
                      inputs={key: {"type": "uri_file"} for key in "abc"}, outputs={"o": {"type": "uri_file"}})  # fmt: skip
    last = _component(client, tmp_path, f"last_{uuid4().hex[:8]}", "cat ${{inputs.a}}", inputs={"a": {"type": "uri_file"}})

    @dsl.pipeline(default_compute=CLUSTER)
    def together():  # the SDK reads annotations, and cannot read postponed ones
        first, second, third = meet(), meet(), meet()
        held = stay(a=first.outputs.o, b=second.outputs.o, c=third.outputs.o)
        last(a=held.outputs.o)

    pipeline = together()
    pipeline.name = name
    client.jobs.create_or_update(pipeline)

    def statuses() -> dict[str, str]:
        return {step.display_name: step.status for step in client.jobs.list(parent_job_name=name)}

    wait_for("the step that stays", lambda: True if statuses().get("held") == "Running" else None)
    client.jobs.begin_cancel(name).result()
    assert client.jobs.get(name).status == "Canceled"
    found = statuses()
    assert found == {"first": "Completed", "second": "Completed", "third": "Completed", "held": "Canceled"}
    [step] = [step for step in client.jobs.list(parent_job_name=name) if step.display_name == "first"]
    assert client.jobs.get(step.name).status == "Completed"


@pytest.mark.parametrize("proceed", [True, False])
def test_a_failing_step_fails_its_pipeline(client: MLClient, name: str, tmp_path: Path, proceed: bool) -> None:
    """The other branch goes on to its end only where the settings say so."""
    from azure.ai.ml import dsl

    fail = _component(client, tmp_path, f"fail_{uuid4().hex[:8]}", "exit 3")
    gate = tmp_path / "gate"
    wait = _component(client, tmp_path, f"wait_{uuid4().hex[:8]}",
                      f"until test -e {gate}; do sleep 0.05; done; echo -n x > ${{{{outputs.o}}}}",
                      outputs={"o": {"type": "uri_file"}})  # fmt: skip
    after = _component(client, tmp_path, f"after_{uuid4().hex[:8]}", "cat ${{inputs.a}}", inputs={"a": {"type": "uri_file"}})

    @dsl.pipeline(default_compute=CLUSTER)
    def branches():
        bad = fail()
        slow = wait()
        then = after(a=slow.outputs.o)
        assert bad is not then

    pipeline = branches()
    pipeline.name, pipeline.settings.continue_on_step_failure = name, proceed
    client.jobs.create_or_update(pipeline)

    def statuses() -> dict[str, str]:
        return {step.display_name: step.status for step in client.jobs.list(parent_job_name=name)}

    wait_for("the failed step", lambda: True if statuses().get("bad") == "Failed" else None)
    if proceed:
        gate.touch()
    assert ended(client, name).status == "Failed"
    expected = {"bad": "Failed", "slow": "Completed", "then": "Completed"} if proceed else {"bad": "Failed", "slow": "Canceled"}
    assert statuses() == expected
