"""Jobs as real processes: what they see, what they leave, how they end."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.workbench import ADA, MemoryStorage, RecordedEvents, Workbench

TEXT = {"type": "string"}
FOLDER = {"type": "uri_folder"}
FILE = {"type": "uri_file"}


async def test_a_command_runs_and_its_output_is_uploaded(bench: Workbench) -> None:
    await bench.command("hello", "echo -n hi > ${{outputs.o}}/a.txt", outputs={"o": {"jobOutputType": "uri_folder"}})
    run = await bench.ended("hello")
    assert run.status == "Completed", run.error
    assert run.outputs["o"]["uri"] == "azureml://datastores/workspaceblobstore/paths/azureml/hello/o/"
    assert bench.output("hello", "o", "a.txt") == b"hi"


async def test_every_status_is_an_event_and_completion_one_more(bench: Workbench, events: RecordedEvents) -> None:
    await bench.command("hello", "true", tags={"team": "a"}, experimentName="nightly")
    await bench.ended("hello")
    await bench.until(lambda: bool(events.of("RunCompleted", "hello")))
    statuses = [data["runStatus"] for data in events.of("RunStatusChanged", "hello")]
    assert statuses == ["notStarted", "starting", "running", "completed"]
    completed = events.of("RunCompleted", "hello")
    assert [data["runTags"] for data in completed] == [{"team": "a"}]
    assert completed[0]["experimentName"] == "nightly"
    assert completed[0]["runType"] == "commandjob"


async def test_a_command_sees_azure_mls_variables_and_no_secret(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PILOTAGE_TOKEN", "secret")
    bench.azure_ml.context.environment = lambda: {
        "PILOTAGE_TOKEN": "secret", "EVENTGRID_TOPIC_KEY": "secret", "IDENTITY_HEADER": "header",
    }
    script = "import json,os,sys; json.dump(dict(os.environ), open(sys.argv[1], 'w'))"
    await bench.command(
        "see", f'python -c "{script}" ${{{{outputs.o}}}}', outputs={"o": {"jobOutputType": "uri_file"}}, environmentVariables={"MINE": "1"}
    )
    run = await bench.ended("see")
    assert run.status == "Completed", run.error
    seen = json.loads(bench.output("see", "o"))
    trainer = bench.azure_ml.context.config.identity("trainer")
    assert seen["AZUREML_RUN_ID"] == "see"
    assert seen["AZUREML_ARM_WORKSPACE_NAME"] == "mlw-dev"
    assert seen["AZURE_CLIENT_ID"] == trainer.client_id
    assert seen["IDENTITY_HEADER"] == "header"
    assert seen["MINE"] == "1"
    assert "secret" not in seen.values()


async def test_inputs_are_files_here_or_addresses(bench: Workbench) -> None:
    await bench.data("words", b"hello")
    uri = "azureml://datastores/workspaceblobstore/paths/data/words/1.txt"
    await bench.command(
        "inputs",
        'echo "$(cat ${{inputs.file}}) ${{inputs.direct}} ${{inputs.n}} $(cat ${{inputs.folder}}/1.txt)" > ${{outputs.o}}',
        inputs={
            "file": {"jobInputType": "uri_file", "uri": "azureml:words@latest"},
            "direct": {"jobInputType": "uri_file", "uri": uri, "mode": "Direct"},
            "folder": {"jobInputType": "uri_folder", "uri": "azureml://datastores/workspaceblobstore/paths/data/words/"},
            "n": {"jobInputType": "literal", "value": "3"},
        },
        outputs={"o": {"jobOutputType": "uri_file"}},
    )
    run = await bench.ended("inputs")
    assert run.status == "Completed", run.error
    file, direct, number, folder = bench.output("inputs", "o").decode().split()
    assert (file, number, folder) == ("hello", "3", "hello")
    assert direct.startswith(f"azureml://subscriptions/{bench.scope.subscription}/")
    assert direct.endswith("/workspaces/mlw-dev/datastores/workspaceblobstore/paths/data/words/1.txt")


async def test_a_label_means_the_version_it_had_when_the_job_was_submitted(bench: Workbench) -> None:
    await bench.data("words", b"one", "1")
    await bench.command_component("wait", "until test -e ${{inputs.gate}}; do sleep 0.05; done", {"gate": TEXT})
    await bench.command_component("copy", "cat ${{inputs.file}} > ${{outputs.o}}", {"file": FILE}, {"o": FILE})
    gate = bench.azure_ml.context.state / "gate"
    await bench.pipeline(
        "label",
        {
            "wait": {"componentId": "azureml:wait:1", "inputs": {"gate": literal(str(gate))}, "outputs": {}},
            "copy": {"componentId": "azureml:copy@latest", "inputs": {"file": literal("${{parent.inputs.w}}")},
                     "outputs": {"o": {"type": "literal", "value": "${{parent.outputs.o}}"}}},
        },
        inputs={"w": {"jobInputType": "uri_file", "uri": "azureml:words@latest"}},
        outputs={"o": {"jobOutputType": "uri_file"}},
    )
    await bench.data("words", b"two", "2")
    gate.touch()
    assert (await bench.ended("label")).status == "Completed"
    assert bench.output("label", "o") == b"one"


async def test_a_failing_command_says_what_it_said(bench: Workbench, storage: MemoryStorage) -> None:
    await bench.command("bad", "echo oh no >&2; exit 3")
    run = await bench.ended("bad")
    assert run.status == "Failed"
    assert run.error is not None
    assert run.error["code"] == "UserError"
    assert "exited with status code 3" in run.error["message"]
    assert run.error["message"].endswith("oh no")
    assert storage.blobs[bench.scope.account, "azureml", "ExperimentRun/dcid.bad/user_logs/std_log.txt"] == b"oh no\n"


async def test_an_output_file_that_was_not_written_fails_the_run(bench: Workbench) -> None:
    await bench.command("none", "true # ${{outputs.o}}", outputs={"o": {"jobOutputType": "uri_file"}})
    run = await bench.ended("none")
    assert run.status == "Failed"
    assert run.error == {"code": "UserError", "message": "The command did not write its output o."}


async def test_a_command_is_ended_at_its_time_limit(bench: Workbench) -> None:
    await bench.command("long", "sleep 600", limits={"timeout": "PT0.2S"})
    run = await bench.ended("long")
    assert run.status == "Canceled"
    assert run.error is not None
    assert run.error["code"] == "JobTimeout"


async def test_an_output_with_a_name_becomes_an_asset(bench: Workbench) -> None:
    output = {"jobOutputType": "mlflow_model", "assetName": "made", "uri": "azureml://datastores/workspaceblobstore/paths/m/${{name}}/"}
    await bench.command("maker", "echo x > ${{outputs.m}}/MLmodel", outputs={"m": output})
    run = await bench.ended("maker")
    assert run.status == "Completed", run.error
    model = bench.azure_ml.store.get(f"{bench.scope.id}/models/made/versions/1")
    assert model is not None
    assert model["properties"]["jobName"] == "maker"
    assert model["properties"]["modelUri"] == "azureml://datastores/workspaceblobstore/paths/m/maker/"
    assert model["systemData"]["createdBy"] == "Training Jobs"


async def test_without_the_image_a_job_says_what_to_do(bench: Workbench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("emulator.azure_ml.jobs.image.TRAINING", tmp_path / "training" / ".venv")
    await bench.command("homeless", "true")
    run = await bench.ended("homeless")
    assert run.status == "Failed"
    assert run.error is not None
    assert "uv sync" in run.error["message"]


# --- pipelines ---------------------------------------------------------------------------------------


def literal(value: Any) -> dict[str, Any]:
    return {"job_input_type": "literal", "value": value}


async def chain(bench: Workbench, name: str, last: str = "cat ${{inputs.file}} > ${{outputs.o}}", **settings: Any) -> None:
    """Three steps: `a` and `b` side by side, `c` after `a`, whose output is the pipeline's."""
    await bench.command_component("write", "echo -n ${{inputs.text}} > ${{outputs.o}}", {"text": TEXT}, {"o": FILE})
    await bench.command_component("read", last, {"file": FILE}, {"o": FILE})
    await bench.pipeline(
        name,
        {
            "a": {"componentId": "write:1", "inputs": {"text": literal("${{parent.inputs.text}}")}, "outputs": {}},
            "b": {"componentId": "write:1", "inputs": {"text": literal("other-${{parent.inputs.text}}")}},
            "c": {"componentId": "read@latest", "inputs": {"file": literal("${{parent.jobs.a.outputs.o}}")},
                  "outputs": {"o": {"value": "${{parent.outputs.result}}", "type": "literal"}}},
        },
        inputs={"text": {"jobInputType": "literal", "value": "words"}},
        outputs={"result": {"jobOutputType": "uri_file"}},
        settings=settings,
    )  # fmt: skip


async def test_a_pipeline_passes_outputs_on(bench: Workbench, events: RecordedEvents) -> None:
    await chain(bench, "p")
    run = await bench.ended("p")
    assert run.status == "Completed", run.error
    assert bench.output("p", "result") == b"words"
    assert {child.step: child.status for child in bench.jobs.runs.children(run)} == dict.fromkeys("abc", "Completed")
    assert bench.output(bench.step("p", "b").name, "o") == b"other-words"
    child = bench.step("p", "c")
    assert (child.parent, child.root, child.created_by["object_id"]) == ("p", "p", ADA.object_id)
    await bench.until(lambda: bool(events.of("RunCompleted", "p")))
    assert events.of("RunCompleted", child.name)[0]["runType"] == "azureml.StepRun"
    assert events.of("RunCompleted", "p")[0]["runType"] == "azureml.PipelineRun"


async def test_a_failed_step_fails_the_pipeline_and_starts_nothing_more(bench: Workbench) -> None:
    await chain(bench, "p", last="echo broken; exit 1 # ${{inputs.file}} ${{outputs.o}}")
    run = await bench.ended("p")
    assert run.status == "Failed"
    assert run.error is not None
    assert run.error["message"].startswith("Step c failed.")
    assert bench.step("p", "c").status == "Failed"


async def test_a_pipeline_can_go_on_past_a_failed_step(bench: Workbench) -> None:
    await bench.command_component("fail", "exit 1")
    await bench.command_component("gate", "until test -e ${{inputs.gate}}; do sleep 0.05; done", {"gate": TEXT})
    gate = bench.azure_ml.context.state / "gate"
    await bench.pipeline(
        "p",
        {"bad": {"componentId": "fail:1"}, "good": {"componentId": "gate:1", "inputs": {"gate": literal(str(gate))}}},
        settings={"continue_on_step_failure": True},
    )
    await bench.until(lambda: any(child.status == "Failed" for child in bench.jobs.runs.children(bench.run("p"))))
    gate.touch()
    run = await bench.ended("p")
    assert run.status == "Failed"
    assert bench.step("p", "good").status == "Completed"


async def test_a_pipeline_component_brings_its_steps_defaults_and_optional_inputs(bench: Workbench) -> None:
    command = "echo -n ${{inputs.text}} $[[--case ${{inputs.case}}]] > ${{outputs.o}}"
    await bench.command_component("write", command, {"text": TEXT, "case": {**TEXT, "optional": True}}, {"o": FILE})
    inner = {
        "type": "pipeline",
        "inputs": {"text": {**TEXT, "default": "default"}, "case": {**TEXT, "optional": True}},
        "outputs": {"o": FILE},
        "jobs": {
            "only": {"componentId": "write:1",
                     "inputs": {"text": literal("${{parent.inputs.text}}"), "case": literal("${{parent.inputs.case}}")},
                     "outputs": {"o": {"value": "${{parent.outputs.o}}", "type": "literal"}}}
        },
    }  # fmt: skip
    await bench.component("inner", inner)
    outer = {**inner, "jobs": {"nested": {**inner["jobs"]["only"], "type": "pipeline", "componentId": "inner:1"}}}
    await bench.component("outer", outer)
    await bench.submit("plain", {"jobType": "Pipeline", "componentId": "azureml:outer@latest"})
    case = {"case": {"jobInputType": "literal", "value": "c1"}}
    await bench.submit("cased", {"jobType": "Pipeline", "componentId": "azureml:outer:1", "inputs": case})
    assert (await bench.ended("plain")).status == "Completed"
    assert (await bench.ended("cased")).status == "Completed"
    assert bench.output("plain", "o") == b"default"
    assert bench.output("cased", "o") == b"default --case c1"
    nested = bench.step("cased", "nested")
    assert nested.kind == "pipeline"
    assert [child.step for child in bench.jobs.runs.children(nested)] == ["only"]


# --- cancelling and going on ---------------------------------------------------------------------------


async def test_cancelling_ends_the_process_and_what_it_started(bench: Workbench, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    await bench.command("long", f"sleep 600 & echo $! > {pids}.new; echo $$ >> {pids}.new; mv {pids}.new {pids}; wait")
    await bench.until(pids.exists)
    response = await bench.http.post(f"{bench.scope.id}/jobs/long/cancel")
    assert response.status_code == 202
    run = await bench.ended("long")
    assert run.status == "Canceled"
    await bench.until(lambda: not any(alive(int(pid)) for pid in pids.read_text().split()))
    poll = await bench.http.get(response.headers["Azure-AsyncOperation"])
    assert poll.json()["status"] in ("InProgress", "Succeeded")


async def test_cancelling_a_pipeline_cancels_its_steps(bench: Workbench) -> None:
    await bench.command_component("long", "sleep 600")
    await bench.pipeline("p", {"a": {"componentId": "long:1"}, "b": {"componentId": "long:1"}})
    await bench.until(lambda: [c.status for c in bench.jobs.runs.children(bench.run("p"))] == ["Running", "Running"])
    await bench.jobs.engine.cancel(bench.run("p"))
    assert bench.run("p").status == "Canceled"
    assert [child.status for child in bench.jobs.runs.children(bench.run("p"))] == ["Canceled", "Canceled"]


async def test_a_run_that_ended_is_not_cancelled(bench: Workbench) -> None:
    await bench.command("done", "true")
    await bench.ended("done")
    await bench.jobs.engine.cancel(bench.run("done"))
    assert bench.run("done").status == "Completed"


async def test_a_pipeline_goes_on_after_a_restart_where_it_was(
    tmp_path: Path, storage: MemoryStorage, events: RecordedEvents
) -> None:
    state, gate, count = tmp_path / "state", tmp_path / "gate", tmp_path / "count"
    first = Workbench(state, storage, events)
    await first.start()
    await first.command_component("count", f"echo x >> {count}; echo -n done > ${{{{outputs.o}}}}", None, {"o": FILE})
    command = f"until test -e {gate}; do sleep 0.05; done; cat ${{{{inputs.file}}}} > ${{{{outputs.o}}}}"
    await first.command_component("gate", command, {"file": FILE}, {"o": FILE})
    await first.pipeline(
        "p",
        {
            "a": {"componentId": "count:1"},
            "b": {"componentId": "gate:1", "inputs": {"file": literal("${{parent.jobs.a.outputs.o}}")},
                  "outputs": {"o": {"value": "${{parent.outputs.o}}", "type": "literal"}}},
        },
        outputs={"o": {"jobOutputType": "uri_file"}},
    )  # fmt: skip
    await first.until(lambda: len(first.jobs.runs.children(first.run("p"))) == 2 and first.step("p", "b").status == "Running")
    await first.stop()

    gate.touch()
    second = Workbench(state, storage, events)
    await second.start()
    try:
        run = await second.ended("p")
        assert run.status == "Completed", run.error
        assert second.output("p", "o") == b"done"
        assert count.read_text().splitlines() == ["x"], "a step that had ended was run again"
        assert second.step("p", "b").attempts == 2
        assert len(second.jobs.runs.children(run)) == 2
        await second.until(lambda: bool(events.of("RunCompleted", "p")))
        assert len(events.of("RunCompleted", "p")) == 1
        assert len(events.of("RunCompleted", second.step("p", "a").name)) == 1
    finally:
        await second.stop()


async def test_a_cancel_asked_for_before_a_crash_holds_after_it(
    tmp_path: Path, storage: MemoryStorage, events: RecordedEvents
) -> None:
    first = Workbench(tmp_path / "state", storage, events)
    await first.start()
    await first.command("long", "sleep 600")
    await first.until(lambda: first.run("long").status == "Running")

    def ask(run: Any) -> None:
        run.cancel_requested = True

    first.jobs.runs.change(first.run("long"), ask)  # as far as a platform comes that is killed just then
    await first.stop()
    second = Workbench(tmp_path / "state", storage, events)
    await second.start()
    try:
        assert (await second.ended("long")).status == "Canceled"
    finally:
        await second.stop()


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A killed grandchild may stay a zombie until init takes it.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
