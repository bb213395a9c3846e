"""Data collection: which rows a request and its answer are, and the files they end up in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from emulator.azure_ml.collection import input_table, settle, table
from emulator.azure_ml.errors import ValidationError
from tests.support.azure_ml import PROD, LocalAzureMl, eventually

ROWS = [{"x": 1, "y": "a"}, {"x": 2, "y": "b"}]


@pytest.mark.parametrize("body", [
    {"input_data": {"columns": ["x", "y"], "index": [0, 1], "data": [[1, "a"], [2, "b"]]}},
    {"input_data": {"columns": ["x", "y"], "data": [[1, "a"], [2, "b"]]}},
    {"input_data": ROWS},
    {"input_data": {"x": [1, 2], "y": ["a", "b"]}},
    {"dataframe_split": {"columns": ["x", "y"], "data": [[1, "a"], [2, "b"]]}},
    {"dataframe_records": ROWS},
    {"data": {"x": [1, 2], "y": ["a", "b"]}},
    {"columns": ["x", "y"], "data": [[1, "a"], [2, "b"]]},
    ROWS,
])  # fmt: skip
def test_forms_of_a_request(body: Any) -> None:
    assert input_table(json.dumps(body).encode()) == ROWS


@pytest.mark.parametrize(("answer", "rows"), [
    ([1.5, 2.5], [{"0": 1.5}, {"0": 2.5}]),
    ([[1, 2], [3, 4]], [{"0": 1, "1": 2}, {"0": 3, "1": 4}]),
    ({"prediction": [1, 2]}, [{"prediction": 1}, {"prediction": 2}]),
    ({"prediction": 1}, [{"prediction": 1}]),
    ("a text", None), (7, None), ({}, None), ([], None), ([1, [2]], None), ({"a": [1], "b": [1, 2]}, None),
    ({"columns": ["a"], "data": [[1, 2]]}, None),
])  # fmt: skip
def test_forms_of_an_answer(answer: Any, rows: Any) -> None:
    assert table(answer) == rows


def test_what_is_not_json_is_no_table() -> None:
    assert input_table(b"\xff\x00") is None


def deployment(**collector: Any) -> dict[str, Any]:
    on = {"dataCollectionMode": "Enabled"}
    settings = {"collections": {"model_inputs": on, "model_outputs": on}, **collector}
    return {"id": f"{PROD}/onlineEndpoints/end/deployments/blue", "name": "blue", "properties": {"dataCollector": settings}}


def body(*values: Any) -> bytes:
    return json.dumps({"input_data": {"columns": ["x"], "data": [[value] for value in values]}}).encode()


def stored(local: LocalAzureMl, collection: str = "") -> dict[str, list[dict[str, Any]]]:
    """Blob name below the collection's folder -> its lines."""
    return {
        name.partition("modelDataCollector/end/blue/")[2]: [json.loads(line) for line in content.decode().splitlines()]
        for (account, _, name), content in local.blobs.blobs.items()
        if account == "stprod" and f"modelDataCollector/end/blue/{collection}" in name
    }


async def test_lines_and_files_are_as_documented(local: LocalAzureMl) -> None:
    collector = local.service.collector
    collector.record(deployment(), body(1, 2), 200, b"[3.0, 5.0]")
    collector.record(deployment(), body(3), 200, b"[7.0]")
    await eventually(lambda: len(stored(local)) == 2 or None)  # by itself, a moment later
    (name,) = stored(local, "model_inputs")
    assert name.startswith("model_inputs/2026/01/01/00/")
    assert name.endswith(".jsonl")
    first, second = stored(local)[name]
    assert first["data"] == [{"x": 1}, {"x": 2}]
    assert second["data"] == [{"x": 3}]
    assert first["source"] == f"{PROD}/onlineEndpoints/end/deployments/blue"
    assert (first["specversion"], first["type"], first["time"]) == ("1.0", "azureml.inference.model_inputs", "2026-01-01T00:00:00Z")
    assert {"id", "xrequestid", "datacontenttype", "contentrange", "modelversion", "collectdatatype", "agent"} <= set(first)
    (outputs,) = stored(local, "model_outputs").values()
    assert [line["data"] for line in outputs] == [[{"0": 3.0}, {"0": 5.0}], [{"0": 7.0}]]
    asked = [first["correlationid"], second["correlationid"]]
    assert [line["correlationid"] for line in outputs] == asked, "inputs and outputs belong together"
    assert first["correlationid"] != second["correlationid"]


async def test_the_data_assets_are_there_without_the_sdk_too(local: LocalAzureMl) -> None:
    local.service.collector.record(deployment(), body(1), 200, b"[1]")
    await local.service.collector.flush()
    for part in ("model_inputs", "model_outputs"):
        asset = (await local.http.get(f"{PROD}/data/end-blue-{part}/versions/1")).json()["properties"]
        assert asset["dataUri"] == f"azureml://datastores/workspaceblobstore/paths/modelDataCollector/end/blue/{part}"
        assert asset["dataType"] == "uri_folder"


async def test_an_asset_of_ones_own_says_where(local: LocalAzureMl) -> None:
    uri = "azureml://datastores/workspaceblobstore/paths/mine/in"
    await local.put(f"{PROD}/data/mine/versions/3", dataUri=uri, dataType="uri_folder")
    collections = {"model_inputs": {"dataCollectionMode": "enabled", "dataId": f"{PROD}/data/mine/versions/3"}}
    local.service.collector.record(deployment(collections=collections), body(1), 200, b"[1]")
    await local.service.collector.flush()
    (name,) = [name for _, _, name in local.blobs.blobs]
    assert name.startswith("mine/in/2026/01/01/00/")


@pytest.mark.parametrize(
    ("rate", "folder"), [("Minute", "2026/01/01/00/00/"), ("hour", "2026/01/01/00/"), ("Day", "2026/01/01/"), ("Month", "2026/01/")]
)
async def test_rolling(local: LocalAzureMl, rate: str, folder: str) -> None:
    settings = deployment(rollingRate=rate, collections={"model_inputs": {"dataCollectionMode": "Enabled"}})
    local.service.collector.record(settings, body(1), 200, b"[1]")
    local.clock.advance(32 * 86400)
    local.service.collector.record(settings, body(2), 200, b"[1]")
    await local.service.collector.flush()
    first, second = sorted(stored(local))
    assert first.rpartition("/")[0] + "/" == f"model_inputs/{folder}"
    assert second.startswith("model_inputs/2026/02/"), "a file for each period"


async def test_payloads_as_they_were(local: LocalAzureMl) -> None:
    on = {"dataCollectionMode": "Enabled"}
    local.service.collector.record(deployment(collections={"request": on, "response": on}), b'{"any": {"thing": [1, [2]]}}', 200, b'"ok"')
    await local.service.collector.flush()
    ((request,),), ((response,),) = (stored(local, part).values() for part in ("request", "response"))
    assert (request["data"], request["type"], request["path"], request["method"]) == (
        {"any": {"thing": [1, [2]]}}, "azureml.inference.request", "/score", "POST",
    )  # fmt: skip
    assert (response["data"], response["correlationid"]) == ("ok", request["correlationid"])


async def test_what_is_not_collected(local: LocalAzureMl) -> None:
    collector = local.service.collector
    collector.record({**deployment(), "properties": {}}, body(1), 200, b"[1]")
    collector.record(deployment(), body(1), 424, b"{}")
    collector.record(deployment(), b"no json", 200, b'"no table"')
    collector.record(deployment(rollingRate="never"), body(1), 200, b"[1]")
    collector.record(deployment(collections={"model_inputs": {"dataCollectionMode": "Disabled"}}), body(1), 200, b"[1]")
    collector.record(deployment(collections={"model_inputs": {"dataCollectionMode": "Enabled", "samplingRate": 0}}), body(1), 200, b"[1]")
    await collector.flush()
    assert stored(local) == {}


async def test_a_sample_takes_inputs_and_outputs_of_the_same_requests(local: LocalAzureMl) -> None:
    half = {"dataCollectionMode": "Enabled", "samplingRate": 0.5}
    for number in range(200):
        local.service.collector.record(deployment(collections={"model_inputs": half, "model_outputs": half}), body(number), 200, b"[1]")
    await local.service.collector.flush()
    (inputs,), (outputs,) = (list(stored(local, part).values()) for part in ("model_inputs", "model_outputs"))
    assert 60 < len(inputs) < 140
    assert [line["correlationid"] for line in inputs] == [line["correlationid"] for line in outputs]


async def test_nothing_is_lost_or_doubled_while_the_storage_is_away(local: LocalAzureMl, monkeypatch: pytest.MonkeyPatch) -> None:
    collector, write = local.service.collector, local.blobs.write
    collector.record(deployment(), body(1), 200, b"[1]")
    await collector.flush()

    def down(*arguments: Any) -> None:
        raise ConnectionError("the storage is down")

    monkeypatch.setattr(local.blobs, "write", down)
    collector.record(deployment(), body(2), 200, b"[2]")
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await collector.flush()
    monkeypatch.setattr(local.blobs, "write", write)
    collector.record(deployment(), body(3), 200, b"[3]")
    await collector.flush()
    (inputs,) = stored(local, "model_inputs").values()
    assert [line["data"][0]["x"] for line in inputs] == [1, 2, 3]


async def test_what_waits_is_stored_when_the_platform_stops(local: LocalAzureMl) -> None:
    local.service.collector.record(deployment(), body(1), 200, b"[1]")
    await local.service.collector.stop()
    assert len(stored(local)) == 2


def test_settings_are_checked_and_written_as_azure_returns_them() -> None:
    collection = {"dataCollectionMode": "enabled", "samplingRate": 0.5}
    settle({"dataCollector": {"collections": {"model_inputs": collection}}})
    assert collection["dataCollectionMode"] == "Enabled"
    settle({})


@pytest.mark.parametrize(("settings", "field"), [
    ("on", "collections"), ({}, "collections"), ({"collections": {}}, "collections"),
    ({"collections": {str(number): {} for number in range(6)}}, "5"),
    ({"collections": {"a": {}}, "rollingRate": "never"}, "rollingRate"),
    ({"collections": {"a": {"dataCollectionMode": "maybe"}}}, "collections.a.dataCollectionMode"),
    ({"collections": {"a": "on"}}, "collections.a.dataCollectionMode"),
    ({"collections": {"a": {"samplingRate": 2}}}, "collections.a.samplingRate"),
    ({"collections": {"a": {"samplingRate": "1"}}}, "collections.a.samplingRate"),
])  # fmt: skip
def test_settings_that_are_refused(settings: Any, field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        settle({"dataCollector": settings})


async def test_a_deployment_that_is_made_anew_begins_files_of_its_own(local: LocalAzureMl) -> None:
    collector = local.service.collector
    collector.record(deployment(), body(1), 200, b"[3.0]")
    await collector.flush()
    collector.forget(deployment()["id"].upper())
    collector.record(deployment(), body(2), 200, b"[5.0]")
    await collector.flush()
    assert [len(lines) for lines in stored(local, "model_inputs").values()] == [1, 1]
