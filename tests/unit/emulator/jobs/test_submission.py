"""What is refused when a job is submitted, before anything runs."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.azure_ml.errors import AzureMlError, NotFound
from emulator.azure_ml.jobs.bindings import order
from emulator.azure_ml.jobs.definitions import InvalidJob, check_literal
from emulator.azure_ml.jobs.submission import Submission
from tests.support.workbench import Workbench

COMMAND = {"jobType": "Command", "command": "true", "environmentId": "azureml:env:1"}
PIPELINE = {"jobType": "Pipeline"}


def literal(value: str) -> dict[str, str]:
    return {"job_input_type": "literal", "value": value}


@pytest.fixture
async def submission(bench: Workbench) -> Submission:
    text = {"type": "string"}
    await bench.command_component("one", "echo ${{inputs.n}} > ${{outputs.o}}", {"n": {"type": "integer", "min": 1, "max": 9}},
                                  {"o": {"type": "uri_file"}})
    await bench.command_component("eat", "cat ${{inputs.file}}", {"file": {"type": "uri_file"}})
    await bench.command_component("free", "echo $[[${{inputs.x}}]]", {"x": {**text, "optional": True}})
    return Submission(bench.scope, bench.azure_ml.locations)


@pytest.mark.parametrize(
    ("job", "error", "message"),
    [
        (COMMAND | {"command": " "}, InvalidJob, "must not be empty"),
        (COMMAND | {"environmentId": None}, InvalidJob, "needs an environment"),
        (COMMAND | {"environmentId": "azureml:missing:1"}, NotFound, "azureml:missing:1"),
        (COMMAND | {"codeId": "azureml:missing:1"}, NotFound, "azureml:missing:1"),
        (COMMAND | {"command": "echo ${{inputs.n}}"}, InvalidJob, "refers to n"),
        (COMMAND | {"limits": {"timeout": "soon"}}, InvalidJob, "PT10M"),
        (COMMAND | {"inputs": {"d": {"jobInputType": "uri_file", "uri": "azureml:missing@latest"}}}, NotFound, "missing"),
        (COMMAND | {"inputs": {"d": {"jobInputType": "uri_file", "uri": "azureml://datastores/none/paths/a"}}}, NotFound, "none"),
        (COMMAND | {"inputs": {"d": {"jobInputType": "literal", "value": "${{parent.inputs.a}}"}}}, InvalidJob, "no parent"),
        ({"jobType": "Sweep"}, InvalidJob, "sweep"),
        (PIPELINE | {"jobs": {}}, InvalidJob, "at least one step"),
        (PIPELINE | {"componentId": "azureml:missing@latest"}, NotFound, "missing"),
        (PIPELINE | {"componentId": "azureml:one:1"}, InvalidJob, "not a pipeline component"),
        (PIPELINE | {"jobs": {"a": {"componentId": "missing:1"}}}, NotFound, "missing"),
        (PIPELINE | {"jobs": {"a": {"componentId": "one:1"}}}, InvalidJob, "needs its input n"),
        (PIPELINE | {"jobs": {"a": {"componentId": "one:1", "inputs": {"n": literal("x")}}}}, InvalidJob, "integer"),
        (PIPELINE | {"jobs": {"a": {"componentId": "one:1", "inputs": {"n": literal("10")}}}}, InvalidJob, "between 1 and 9"),
        (PIPELINE | {"jobs": {"a": {"componentId": "free:1", "inputs": {"z": literal("10")}}}}, InvalidJob, "no input z"),
        (PIPELINE | {"jobs": {"a": {"componentId": "one:1", "inputs": {"n": literal("${{parent.inputs.k}}")}}}},
         InvalidJob, "unknown input k"),
        (PIPELINE | {"jobs": {"a": {"componentId": "eat:1", "inputs": {"file": literal("${{parent.jobs.b.outputs.o}}")}}}},
         InvalidJob, "does not exist"),
        (PIPELINE | {"jobs": {"a": {"componentId": "eat:1", "inputs": {"file": literal("text")}}}}, InvalidJob, "needs data"),
        (PIPELINE | {"jobs": {"a": {"componentId": "free:1", "outputs": {"o": {"value": "${{parent.outputs.o}}"}}}}},
         InvalidJob, "no output o"),
    ],
)  # fmt: skip
async def test_a_job_that_cannot_run_is_refused(
    submission: Submission, job: dict[str, Any], error: type[AzureMlError], message: str
) -> None:
    with pytest.raises(error, match=message):
        submission.job(job)


def test_steps_that_wait_for_each_other_are_refused() -> None:
    steps = {name: {"inputs": {"i": {"step": other, "output": "o"}}} for name, other in (("a", "b"), ("b", "a"))}
    with pytest.raises(InvalidJob, match="a, b wait for each other"):
        order(steps)


def test_steps_come_after_those_they_read_from() -> None:
    steps = {
        "last": {"inputs": {"i": {"step": "middle", "output": "o"}}},
        "middle": {"inputs": {"i": {"step": "first", "output": "o"}}},
        "first": {"inputs": {}},
    }
    assert order(steps) == ["first", "middle", "last"]


async def test_a_component_is_copied_into_the_job(submission: Submission, bench: Workbench) -> None:
    spec, values = submission.job(PIPELINE | {"jobs": {"a": {"componentId": "one@latest", "inputs": {"n": literal("3")}}}})
    assert values == {}
    step = spec["steps"]["a"]
    assert step["spec"]["component"] == f"{bench.scope.id}/components/one/versions/1"
    assert step["spec"]["command"].startswith("echo")
    assert step["inputs"] == {"n": {"literal": "3"}}


@pytest.mark.parametrize(
    ("text", "definition"),
    [
        ("3", {"type": "integer"}),
        ("3.5", {"type": "number", "min": 1, "max": 4}),
        ("true", {"type": "boolean"}),
        ("hours", {"type": "string", "enum": ["hours", "minutes"]}),
        ("${{parent.inputs.x}}", {"type": "integer"}),
    ],
)
def test_literals_that_fit(text: str, definition: dict[str, Any]) -> None:
    check_literal("n", text, definition)


@pytest.mark.parametrize(
    ("text", "definition"),
    [
        ("3.5", {"type": "integer"}),
        ("5", {"type": "number", "max": 4}),
        ("yes", {"type": "boolean"}),
        ("days", {"type": "string", "enum": ["hours", "minutes"]}),
    ],
)
def test_literals_that_do_not_fit(text: str, definition: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        check_literal("n", text, definition)
