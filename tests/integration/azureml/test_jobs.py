"""Pipeline components as jobs, through the unmodified azure-ai-ml and really run."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
import yaml

from pilotage.azureml import PipelineJobs, WorkspaceModelRegistry
from pilotage.domain.assets import AssetRef
from pilotage.errors import Conflict, InvalidInput, NotFound, TooLarge, Unavailable
from pilotage.ports import JobSpec, JobState, ProgramSpec
from tests.support.platform import LivePlatform, wait_for

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

pytestmark = pytest.mark.xdist_group("sdk")

W = "mlw-dev"
NUMBERS = "numbers"
TOTAL = """
import pathlib, signal, sys
rows, factor, wait, out = sys.argv[1:5]
case = sys.argv[5] if len(sys.argv) > 5 else ""
total = sum(int(line) for line in pathlib.Path(rows).read_text().split())
if factor == "0":
    sys.exit("a factor of zero makes no sense")
if wait == "True":  # how the SDK writes a boolean, and so how Azure ML hands it to a command
    signal.pause()
pathlib.Path(out).write_text(f"{total * int(factor)} {case}")
"""


@pytest.fixture(scope="module")
def component(ada: MLClient, tmp_path_factory: pytest.TempPathFactory) -> AssetRef:
    """A pipeline component of one step that sums the lines of a file, and the data asset `numbers`."""
    from azure.ai.ml import load_component
    from azure.ai.ml.entities import Data, Environment

    folder, name = tmp_path_factory.mktemp("component"), f"sum_{uuid4().hex[:8]}"
    (folder / "src").mkdir()
    (folder / "src" / "total.py").write_text(TOTAL)
    (folder / "numbers.txt").write_text("1\n2\n39\n")
    step = {
        "type": "command", "name": f"{name}_step", "version": "1", "code": "./src", "environment": "azureml:sums:1",
        "inputs": {"rows": {"type": "uri_file"}, "factor": {"type": "integer"}, "wait": {"type": "boolean"},
                   "case": {"type": "string", "optional": True}},
        "outputs": {"total": {"type": "uri_file"}},
        "command": "python total.py ${{inputs.rows}} ${{inputs.factor}} ${{inputs.wait}} ${{outputs.total}} $[[${{inputs.case}}]]",
    }
    inputs = {**step["inputs"], "factor": {"type": "integer", "default": 1}, "wait": {"type": "boolean", "default": False}}
    whole = {
        "type": "pipeline", "name": name, "version": "1", "inputs": inputs, "outputs": {"total": {"type": "uri_file"}},
        "jobs": {"sum": {"type": "command", "component": f"azureml:{name}_step:1",
                         "inputs": {key: f"${{{{parent.inputs.{key}}}}}" for key in inputs},
                         "outputs": {"total": "${{parent.outputs.total}}"}}},
    }
    ada.environments.create_or_update(Environment(name="sums", version="1", image="mcr.microsoft.com/azureml/minimal"))
    ada.data.create_or_update(Data(name=NUMBERS, version="1", type="uri_file", path=str(folder / "numbers.txt")))
    for spec in (step, whole):
        file = folder / f"{spec['name']}.yaml"
        file.write_text(yaml.safe_dump(spec))
        ada.components.create_or_update(load_component(file))
    return AssetRef(name=name, version="1", workspace=W)


@pytest.fixture(scope="module")
def numbers(registry: WorkspaceModelRegistry, component: AssetRef) -> str:
    return registry.data(AssetRef(name=NUMBERS, version="1", workspace=W)).id


@pytest.fixture(scope="module")
def step(component: AssetRef, ada: MLClient) -> AssetRef:
    """The command component behind the pipeline's step."""
    return component.model_copy(update={"name": f"{component.name}_step"})


def _spec(component: AssetRef, numbers: str, **inputs: str) -> JobSpec:
    name = f"retrain-{uuid4().hex[:12]}"
    return JobSpec(workspace=W, name=name, component=component, inputs={"rows": numbers, **inputs}, compute="cpu-cluster",
                   tags={"pilotage.case": name}, experiment="pilotage-sums")


def _ended(jobs: PipelineJobs, name: str) -> JobState:
    def look() -> JobState | None:
        state = jobs.state(W, name)
        return state if state is not None and state.terminal else None

    return wait_for(f"the end of {name}", look)


def test_the_component_runs_once_with_the_inputs_given(
    jobs: PipelineJobs, registry: WorkspaceModelRegistry, azure: LivePlatform, ada: MLClient, component: AssetRef, numbers: str
) -> None:
    from azure.ai.ml.entities import Data

    spec, threads = _spec(component, numbers, factor="2", case="drift-7"), set(threading.enumerate())
    assert jobs.state(W, spec.name) is None
    jobs.begin(spec)
    jobs.begin(spec)
    assert set(threading.enumerate()) <= threads, "others' may end meanwhile: pollers of another module's deployments"
    assert _ended(jobs, spec.name).status == "Completed"
    jobs.begin(spec)
    assert len(azure.journal(f"/jobs/{spec.name}$", "PUT")) == 1
    output = AssetRef(name=f"total-{uuid4().hex[:8]}", version="1", workspace=W)
    ada.data.create_or_update(Data(name=output.name, version="1", type="uri_file", path=f"azureml://jobs/{spec.name}/outputs/total"))
    [(_, content)] = registry.read_data(output, 1000)
    assert content == b"84 drift-7"
    job = ada.jobs.get(spec.name)
    assert (job.experiment_name, job.tags["pilotage.case"]) == ("pilotage-sums", spec.name)


def test_a_submission_whose_answer_was_lost_is_found_again(
    jobs: PipelineJobs, azure: LivePlatform, component: AssetRef, numbers: str
) -> None:
    spec = _spec(component, numbers)
    azure.fault(method="PUT", path=f"/jobs/{spec.name}$", when="after", action="drop", count=9)
    with pytest.raises(Unavailable):
        jobs.begin(spec)
    azure.clear_faults()
    before = len(azure.journal(f"/jobs/{spec.name}$", "PUT"))
    jobs.begin(spec)
    assert len(azure.journal(f"/jobs/{spec.name}$", "PUT")) == before
    assert _ended(jobs, spec.name).status == "Completed"


def test_a_job_of_the_name_for_something_else_is_a_conflict(jobs: PipelineJobs, component: AssetRef, numbers: str) -> None:
    spec = _spec(component, numbers)
    jobs.begin(spec)
    with pytest.raises(Conflict, match=spec.name):
        jobs.begin(spec.model_copy(update={"tags": {"pilotage.case": "another"}}))


def test_a_failed_job_says_why(jobs: PipelineJobs, component: AssetRef, numbers: str) -> None:
    spec = _spec(component, numbers, factor="0")
    jobs.begin(spec)
    state = _ended(jobs, spec.name)
    assert state.status == "Failed"
    assert state.message


def test_azure_ends_a_component_that_nobody_waits_for(jobs: PipelineJobs, step: AssetRef, numbers: str, azure: LivePlatform) -> None:
    """The orchestration that would cancel it may be gone."""
    spec = _spec(step, numbers, factor="1", wait="true").model_copy(update={"timeout": 900})
    jobs.begin(spec)
    sent = azure.journal(f"/jobs/{spec.name}$", "PUT")[0]
    assert [node["limits"]["timeout"] for node in sent["body"]["properties"]["jobs"].values()] == ["PT15M"]
    jobs.cancel(W, spec.name)
    assert _ended(jobs, spec.name).status == "Canceled"


def test_a_running_job_is_canceled_and_an_ended_one_left(jobs: PipelineJobs, component: AssetRef, numbers: str) -> None:
    spec, threads = _spec(component, numbers, wait="true"), set(threading.enumerate())
    jobs.begin(spec)
    wait_for("it to run", lambda: True if (state := jobs.state(W, spec.name)) and state.status == "Running" else None)
    jobs.cancel(W, spec.name)
    assert set(threading.enumerate()) <= threads, "others' may end meanwhile: pollers of another module's deployments"
    assert _ended(jobs, spec.name).status == "Canceled"
    jobs.cancel(W, spec.name)
    jobs.cancel(W, "never-submitted")


@pytest.mark.parametrize(("inputs", "told"), [
    ({"colour": "red"}, "declares no input colour"),
    ({"factor": "many"}, "input factor is 'many', which is not of type integer"),
    ({"wait": "perhaps"}, "input wait is 'perhaps', which is not of type boolean"),
])
def test_inputs_must_fit_the_component(jobs: PipelineJobs, component: AssetRef, numbers: str, inputs: dict[str, str], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        jobs.begin(_spec(component, numbers, **inputs))


def test_a_required_input_must_be_given(jobs: PipelineJobs, component: AssetRef, numbers: str) -> None:
    with pytest.raises(InvalidInput, match="needs the input rows: set it under the policy's inputs"):
        jobs.begin(_spec(component, numbers).model_copy(update={"inputs": {}}))


def test_what_runs_is_a_component_that_exists(jobs: PipelineJobs, component: AssetRef, numbers: str) -> None:
    with pytest.raises(NotFound):
        jobs.begin(_spec(component.model_copy(update={"name": "no_such_component"}), numbers))


def test_component_labels_resolve(registry: WorkspaceModelRegistry, component: AssetRef) -> None:
    assert registry.pin("components", component.model_copy(update={"version": "@latest"})) == component
    with pytest.raises(NotFound):
        registry.pin("components", AssetRef(name="no_such_component", version="@latest", workspace=W))


def test_the_owner_of_the_training_job_is_told_by_object_id(
    registry: WorkspaceModelRegistry, azure: LivePlatform, ada: MLClient, jobs: PipelineJobs, component: AssetRef, numbers: str
) -> None:
    """A model that lies where a job wrote it: run history knows who submitted that job."""
    from azure.ai.ml.entities import Model

    spec = _spec(component, numbers)
    jobs.begin(spec)
    _ended(jobs, spec.name)
    name = f"from-job-{uuid4().hex[:8]}"
    ada.models.create_or_update(Model(name=name, version="1", type="custom_model", path=f"azureml://jobs/{spec.name}/outputs/total"))
    found = registry.model(AssetRef(name=name, version="1", workspace=W))
    assert found.job == spec.name
    registrant, owner = registry.submitters(found)
    assert registrant.display_name == "Ada Lovelace"
    assert (owner.role, owner.display_name) == ("training_job_owner", "Pilotage")
    assert owner.object_id == "0b6d5f6e-8c1a-4a57-9d39-5d1e8f6a0001"


# --- jobs of gates --------------------------------------------------------------------------------


def test_what_a_component_writes_is_read_back_wherever_it_runs(
    jobs: PipelineJobs, component: AssetRef, step: AssetRef, numbers: str
) -> None:
    """A pipeline component by itself, and a command component inside a pipeline of one step."""
    offered = {"output": "total", "offered": {"case": "gate-1", "endpoint": "nobody declares this"}}
    specs = [_spec(component, numbers, factor="3").model_copy(update=offered),
             _spec(step, numbers, factor="5", wait="false").model_copy(update=offered)]
    for spec in specs:
        assert jobs.written(W, spec.name, 1000) == []
        jobs.begin(spec)
        jobs.begin(spec)
    found = []
    for spec in specs:
        assert _ended(jobs, spec.name).status == "Completed"
        [(_, content)] = jobs.written(W, spec.name, 1000)
        found.append(content)
        assert jobs.metrics(W, spec.name) == {}
    assert found == [b"126 gate-1", b"210 gate-1"]
    with pytest.raises(TooLarge):
        jobs.written(W, specs[0].name, 3)


def test_an_output_that_is_not_declared_is_told(jobs: PipelineJobs, component: AssetRef, numbers: str) -> None:
    spec = _spec(component, numbers).model_copy(update={"output": "report"})
    with pytest.raises(InvalidInput, match=r"declares no output 'report' \(it has total\)"):
        jobs.begin(spec)


PROGRAM = """
import argparse, pathlib, mlflow
parser = argparse.ArgumentParser()
for name in ("rows", "times", "result"): parser.add_argument("--" + name)
given = parser.parse_args()
folder = pathlib.Path(given.result)
folder.mkdir(parents=True, exist_ok=True)
(folder / "deep").mkdir()
(folder / "deep" / "sum.json").write_text(str(sum(map(int, pathlib.Path(given.rows).read_text().split())) * int(given.times)))
mlflow.log_metric("joules", 4.5)
"""


def test_a_program_of_ours_is_uploaded_run_once_and_read_back(
    jobs: PipelineJobs, azure: LivePlatform, component: AssetRef, numbers: str, tmp_path: Path
) -> None:
    (tmp_path / "program").mkdir()
    (tmp_path / "program" / "measure.py").write_text(PROGRAM)
    spec = ProgramSpec(
        workspace=W, name=f"gate-{uuid4().hex[:12]}", program=str(tmp_path / "program"), compute="cpu-cluster",
        tags={"pilotage-role": "gate"},
        command="python measure.py --rows ${{inputs.rows}} --times ${{inputs.times}} --result ${{outputs.result}}",
        environment="azureml:sums:1", timeout=600, experiment="pilotage-gates",
        inputs={"rows": ("uri_file", numbers), "times": ("integer", "2")})
    jobs.begin_program(spec)
    jobs.begin_program(spec)
    assert _ended(jobs, spec.name).status == "Completed"
    assert jobs.written(W, spec.name, 1000) == [("deep/sum.json", b"84")]
    assert jobs.metrics(W, spec.name) == {"joules": 4.5}
    [asked] = azure.journal(f"/jobs/{spec.name}$", "PUT")
    assert asked["body"]["properties"]["limits"]["timeout"] == "PT10M", "it ends by itself when nobody waits for it any more"
    with pytest.raises(Conflict):
        jobs.begin_program(spec.model_copy(update={"tags": {"pilotage-role": "other"}}))
    with pytest.raises(InvalidInput, match="set `environment`"):
        jobs.begin_program(spec.model_copy(update={"name": "gate-x", "environment": None}))
