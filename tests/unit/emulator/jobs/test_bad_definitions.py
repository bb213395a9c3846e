"""Job and component definitions that can't be: refused with the field named, never broken by."""

from __future__ import annotations

import copy
import random
from typing import Any

import pytest

from tests.support.workbench import Workbench

COMMAND: dict[str, Any] = {
    "jobType": "Command", "command": "echo ${{inputs.n}} > ${{outputs.o}}", "environmentId": "azureml:env:1",
    "computeId": "cpu-cluster",
    "inputs": {"n": {"jobInputType": "literal", "value": "3"}, "d": {"jobInputType": "uri_file", "uri": "azureml:words:1"}},
    "outputs": {"o": {"jobOutputType": "uri_file", "assetName": "made", "mode": "Upload"}},
    "environmentVariables": {"A": "b"}, "limits": {"timeout": "PT1H"}, "tags": {"t": "u"}, "displayName": "d", "experimentName": "e",
}  # fmt: skip
PIPELINE: dict[str, Any] = {
    "jobType": "Pipeline", "settings": {"continue_on_step_failure": False}, "inputs": {"text": {"jobInputType": "literal", "value": "x"}},
    "outputs": {"o": {"jobOutputType": "uri_file"}},
    "jobs": {"a": {"componentId": "write:1",
                   "inputs": {"text": {"job_input_type": "literal", "value": "${{parent.inputs.text}}"}},
                   "outputs": {"o": {"value": "${{parent.outputs.o}}", "type": "literal"}},
                   "limits": {"timeout": 60}}},
}  # fmt: skip
WRONG: list[Any] = ["x", "", 5, -1, True, None, [], ["x"], {}, {"a": "b"}, {"a": None}, "${{", "${{parent.inputs.gone}}",
         "${{parent.jobs.gone.outputs.o}}", "azureml:gone:1", "azureml://", "https://", "\0", "PT", {"type": []},
         {"value": {}}]  # fmt: skip


@pytest.mark.parametrize(("change", "status", "told"), [
    ({"inputs": []}, 400, "inputs must be an object"),
    ({"inputs": {"n": ["3"]}}, 400, "inputs.n must be an object or a literal"),
    ({"inputs": {"n": {"value": {}}}}, 400, "inputs.n.value"),
    ({"outputs": {"o": {"jobOutputType": 5}}}, 400, "outputs.o.jobOutputType must be a string"),
    ({"outputs": {"o": {"jobOutputType": "uri_file", "assetName": "no spaces"}}}, 400, "outputs.o"),
    ({"outputs": {"o": {"jobOutputType": "uri_file", "uri": "azureml://datastores/none/paths/x"}}}, 400, "outputs.o: There is no"),
    ({"command": ["echo"]}, 400, "command must be a string"),
    ({"command": " "}, 400, "command must not be empty"),
    ({"limits": "PT1H"}, 400, "limits must be an object"),
    ({"limits": {"timeout": "an hour"}}, 400, "limits.timeout"),
    ({"limits": {"timeout": "PT0S"}}, 400, "limits.timeout"),
    ({"environmentVariables": {"A": {}}}, 400, "environmentVariables.A"),
    ({"tags": "x"}, 400, "tags must be an object"),
    ({"jobType": "Sweep"}, 400, "Sweep"),
    ({"jobType": "Sweep?"}, 400, "sweep?"),
    ({"environmentId": None}, 400, "environment"),
    ({"environmentId": "azureml:gone:1"}, 404, "gone:1"),
])  # fmt: skip
async def test_what_is_wrong_is_named(bench: Workbench, change: dict[str, Any], status: int, told: str) -> None:
    answer = await bench.put("bad", {**COMMAND, "inputs": {"n": COMMAND["inputs"]["n"]}, **change})
    assert answer.status_code == status, answer.text
    assert told.lower() in answer.json()["error"]["message"].lower()
    assert (await bench.http.get(f"{bench.scope.id}/jobs/bad")).status_code == 404


async def test_no_definition_breaks_the_service(bench: Workbench) -> None:
    chance = random.Random(23)
    await bench.data("words", b"w")
    port = {"type": "string"}
    await bench.command_component("write", "echo ${{inputs.text}} > ${{outputs.o}}", {"text": port}, {"o": {"type": "uri_file"}})
    spec = {"type": "command", "command": "echo ${{inputs.n}}", "environment": "azureml:env:1",
            "inputs": {"n": {"type": "integer", "default": 1, "min": 0, "max": 3, "enum": [1, 2]}}, "outputs": {"o": {"type": "uri_file"}},
            "environment_variables": {"a": "b"}, "limits": {"timeout": 5}}  # fmt: skip
    seen = set()
    for number in range(300):
        body = copy.deepcopy(chance.choice([COMMAND, PIPELINE, spec]))
        component = body["command"] == spec["command"] if "command" in body else False
        for _ in range(chance.randint(1, 2)):
            _spoil(body, chance, WRONG)
        if component:
            url, sent = f"{bench.scope.id}/components/bad{number}/versions/1", {"properties": {"componentSpec": body}}
        else:
            url, sent = f"{bench.scope.id}/jobs/bad{number}", {"properties": {**body, "computeId": "cpu-cluster"}}
        answer = await bench.http.put(url, json=sent)
        seen.add(answer.status_code)
        assert answer.status_code in (200, 201, 400, 404), (body, answer.text)
        if answer.status_code == 201 and not component:
            await bench.jobs.engine.cancel(bench.run(f"bad{number}"))
    assert {201, 400, 404} <= seen


def _spoil(body: dict[str, Any], chance: random.Random, wrong: list[Any]) -> None:
    """Put something wrong at a place deep inside."""
    place: Any = body
    while True:
        key = chance.choice(list(place))
        if not (isinstance(place[key], dict) and place[key] and chance.random() < 0.7):
            place[key] = chance.choice(wrong)
            return
        place = place[key]
