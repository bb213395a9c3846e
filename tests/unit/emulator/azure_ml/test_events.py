"""Workspace events: Azure's sample shape or the specification's, and none lost when the sink is down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from emulator.azure_ml.events import shaped
from tests.support.azure_ml import DEV, REGISTRY, LocalAzureMl, running

URI = "azureml://datastores/workspaceblobstore/paths/m"


@pytest.mark.parametrize(
    ("event_type", "shape", "data", "expected"),
    [
        ("ModelRegistered", "sample", {"modelVersion": "20"}, {"ModelVersion": 20}),
        ("ModelRegistered", "sample", {"modelVersion": "v1"}, {"ModelVersion": "v1"}),
        ("ModelRegistered", "sample", {"modelTags": {"userTag": "x"}}, {"ModelTags": {"userTag": "x"}}),
        ("ModelRegistered", "specification", {"modelVersion": "20"}, {"modelVersion": "20"}),
        ("RunCompleted", "sample", {"runId": "r"}, {"runId": "r"}),
        ("DatasetDriftDetected", "sample", {"driftCoefficient": 0.5}, {"DriftCoefficient": 0.5}),
    ],
)
def test_shapes(event_type: str, shape: str, data: dict[str, Any], expected: dict[str, Any]) -> None:
    assert shaped(event_type, data, shape) == expected


async def test_a_first_registration_is_told_once(local: LocalAzureMl) -> None:
    for tags in ({"candidate": "true"}, {"candidate": "false"}):
        await local.put(f"{DEV}/models/m/versions/20", modelUri=URI, tags=tags, properties={"auc": "0.9"})
    await local.put(f"{DEV}/models/m/versions/21", modelUri=URI)
    first, second = await local.relayed(2)
    assert first["eventType"] == "Microsoft.MachineLearningServices.ModelRegistered"
    assert (first["subject"], first["dataVersion"], first["metadataVersion"]) == ("models/m:20", "", "1")
    assert first["data"] == {
        "ModelName": "m",
        "ModelVersion": 20,
        "ModelTags": {"candidate": "true"},
        "ModelProperties": {"auc": "0.9"},
    }
    assert second["subject"] == "models/m:21"
    assert first["id"] != second["id"]
    assert [topic for topic, _ in local.events.published] == [DEV, DEV]


async def test_the_specifications_shape(tmp_path: Path) -> None:
    async with running(tmp_path, event_shape="specification") as local:
        await local.put(f"{DEV}/models/m/versions/20", modelUri=URI)
        (event,) = await local.relayed(1)
    assert event["data"] == {"modelName": "m", "modelVersion": "20", "modelTags": {}, "modelProperties": {}}


async def test_registries_tell_nothing(local: LocalAzureMl) -> None:
    url = "https://stshared.blob.core.windows.net/c/m"
    assert (await local.put(f"{REGISTRY}/models/m/versions/1", modelUri=url)).status_code == 202
    await local.put(f"{DEV}/models/m/versions/1", modelUri=URI)
    await local.relayed(1)
    assert local.events.published[0][0] == DEV


async def test_an_event_outlives_the_process_that_could_not_hand_it_over(tmp_path: Path) -> None:
    async with running(tmp_path) as local:
        local.events.down = True
        assert (await local.put(f"{DEV}/models/m/versions/1", modelUri=URI)).status_code == 201
    assert local.events.published == []
    async with running(tmp_path) as again:
        (event,) = await again.relayed(1)
    assert event["subject"] == "models/m:1"
