"""Monitors' definitions: read in any casing, refused with the name of what is wrong, never with a 500."""

from __future__ import annotations

import copy
import json
import random
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from emulator.azure_ml.errors import ValidationError
from emulator.azure_ml.monitoring.definition import duration, parse
from tests.support.azure_ml import DEV, LocalAzureMl

NOW = datetime(2026, 3, 10, 3, 15, tzinfo=UTC)
TRAILING = {"inputDataType": "Trailing", "dataContext": "model_inputs", "jobInputType": "uri_folder", "uri": "azureml:collected:1",
            "windowSize": "P7D", "windowOffset": "P1D"}  # fmt: skip
FIXED = {"inputDataType": "Fixed", "dataContext": "training", "jobInputType": "uri_file", "uri": "azureml:training:1"}


def threshold(metric: str, kind: str = "Numerical", value: Any = 0.1) -> dict[str, Any]:
    return {"dataType": kind, "metric": metric, "threshold": {"value": value}}


def signal(kind: str = "DataDrift", **settings: Any) -> dict[str, Any]:
    thresholds = [threshold("jensenShannonDistance"), threshold("PearsonsChiSquaredTest", "categorical")]
    return {"signalType": kind, "mode": "Enabled", "productionData": dict(TRAILING), "referenceData": dict(FIXED),
            "metricThresholds": thresholds, **settings}  # fmt: skip


def definition(**settings: Any) -> dict[str, Any]:
    emails = {"alertNotificationType": "Email", "emailNotificationSetting": {"emails": ["a@b.c"], "emailOn": ["JobFailed"]}}
    compute = {"computeType": "ServerlessSpark", "runtimeVersion": "3.4", "instanceType": "standard_e4s_v3"}
    return {"computeConfiguration": compute, "alertNotificationSetting": emails, "signals": {"m_data_drift": signal(**settings)}}


def test_what_is_given_in_one_form() -> None:
    (found,) = parse(definition(features={"filterType": "FeatureSubset", "features": ["x"]}, featureDataTypeOverride={"x": "Categorical"},
                                dataSegment={"feature": "city", "values": ["a"]}))  # fmt: skip
    assert found.settings == {
        "name": "m_data_drift",
        "type": "DataDrift",
        "thresholds": [
            {"metric": "JensenShannonDistance", "data_type": "numerical", "value": 0.1},
            {"metric": "PearsonsChiSquaredTest", "data_type": "categorical", "value": 0.1},
        ],
        "features": ["x"],
        "type_overrides": {"x": "categorical"},
        "segment": {"feature": "city", "values": ["a"]},
        "emails": ["a@b.c"],
    }
    assert found.production.window(NOW) == {"start": "2026-03-02T03:15:00+00:00", "end": "2026-03-09T03:15:00+00:00"}
    assert found.reference.window(NOW) == {"start": None, "end": None}


def test_static_windows_and_alerts_that_are_off() -> None:
    static = FIXED | {"inputDataType": "Static", "windowStart": "2026-01-01T00:00:00.000Z", "windowEnd": "2026-02-01T00:00:00.000Z"}
    (found,) = parse(definition(referenceData=static, mode="Disabled"))
    assert found.reference.window(NOW) == {"start": "2026-01-01T00:00:00+00:00", "end": "2026-02-01T00:00:00+00:00"}
    assert found.settings["emails"] == []


def test_performance_reads_the_thresholds_where_the_sdk_writes_them() -> None:
    text = '[{"modelType":"regression","metric":"MeanAbsoluteError","threshold":{"value":2.5}}]'
    (found,) = parse(definition(
        kind="ModelPerformance", productionData=[TRAILING | {"columns": {"prediction": "0"}}],
        referenceData=FIXED | {"columns": {"target": "y", "correlation_id": "id"}},
        metricThreshold={"modelType": "Classification", "metric": "Accuracy", "threshold": {"value": 0.9}},
        properties={"azureml.modelmonitor.model_performance_thresholds": text},
    ))  # fmt: skip
    assert found.settings["thresholds"] == [{"metric": "MeanAbsoluteError", "data_type": "", "value": 2.5}]
    assert found.settings["columns"] == {"prediction": "0", "target": "y", "production_key": None, "reference_key": "id"}


@pytest.mark.parametrize(("text", "expected"), [
    ("P7D", timedelta(days=7)), ("P2W", timedelta(weeks=2)), ("P1M", timedelta(days=30)), ("P1Y", timedelta(days=365)),
    ("PT36H", timedelta(hours=36)), ("P1DT2H3M4S", timedelta(days=1, hours=2, minutes=3, seconds=4)), ("P0D", timedelta(0)),
])  # fmt: skip
def test_durations(text: str, expected: timedelta) -> None:
    assert duration(text, "windowSize") == expected


@pytest.mark.parametrize("text", ["", "P", "PT", "7D", "P7", None, 7, "P1D2H", "P99999999999D", "P4000000W", "P7D\n", f"P{5000 * '9'}D"])
def test_what_is_no_duration(text: Any) -> None:
    with pytest.raises(ValidationError, match="windowSize"):
        duration(text, "windowSize")


REFUSED: list[tuple[Any, str]] = [
    (None, "monitorDefinition is required"),
    ({"signals": {"a": {}}}, "computeConfiguration"),
    (definition() | {"signals": {}}, "signals must have"),
    (definition(kind="GenerationSafetyQuality"), "signals.m_data_drift.signalType must be one of"),
    (definition(metricThresholds=[]), "metricThresholds must have"),
    (definition(metricThresholds=[threshold("PearsonsChiSquaredTest")]), r"metricThresholds\[0\].metric"),
    (definition(metricThresholds=[threshold("NullValueRate")]), r"metricThresholds\[0\].metric"),
    (definition(metricThresholds=[threshold("jensenShannonDistance", "Both")]), r"metricThresholds\[0\].dataType"),
    (definition(metricThresholds=[threshold("jensenShannonDistance", value="much")]), "threshold.value"),
    (definition(productionData=None), "productionData is required"),
    (definition(productionData=TRAILING | {"inputDataType": "Sliding"}), "inputDataType"),
    (definition(productionData=TRAILING | {"jobInputType": "literal"}), "jobInputType"),
    (definition(productionData=TRAILING | {"uri": ""}), "uri is required"),
    (definition(productionData=TRAILING | {"windowSize": "a week"}), "windowSize"),
    (definition(referenceData=FIXED | {"inputDataType": "Static", "windowStart": "x"}), "windowStart"),
    (definition(referenceData=FIXED | {"inputDataType": "Static", "windowStart": "2026-01-02", "windowEnd": "2026-01-01"}), "windowEnd"),
    (definition(features={"filterType": "FeatureSubset", "features": []}), "features must be"),
    (definition(dataSegment={"feature": ["x"], "values": ["a"]}), "dataSegment"),
    (definition(features={"filterType": "TopNFeaturesByAttribution", "top": -1}), "features.top"),
    (definition(featureDataTypeOverride={"x": "text"}), "featureDataTypeOverride.x"),
    (definition(dataSegment={"feature": "x"}), "dataSegment"),
    (definition(kind="ModelPerformance", productionData=[TRAILING]), "metricThreshold"),
]


@pytest.mark.parametrize(("given", "field"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_is_wrong_is_named(given: Any, field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        parse(given)


@pytest.fixture
async def assets(local: LocalAzureMl) -> LocalAzureMl:
    """The data that the definition names."""
    for name in ("collected", "training"):
        uri = f"azureml://datastores/workspaceblobstore/paths/{name}"
        await local.put(f"{DEV}/data/{name}/versions/1", dataUri=uri, dataType="uri_folder")
    return local


def monitor(given: Any) -> dict[str, Any]:
    trigger = {"triggerType": "Recurrence", "frequency": "Day", "interval": 1, "schedule": {"hours": [3], "minutes": [15]},
               "startTime": "2026-01-01T00:00:00", "endTime": "2027-01-01T00:00:00", "timeZone": "UTC"}  # fmt: skip
    return {"trigger": trigger, "action": {"actionType": "CreateMonitor", "monitorDefinition": given}, "isEnabled": True, "tags": {}}


async def test_data_that_is_not_there_is_said_at_once(assets: LocalAzureMl) -> None:
    assert (await assets.put(f"{DEV}/schedules/m", **monitor(definition()))).status_code == 201
    for missing in ("azureml:nothing:1", "azureml://datastores/nowhere/paths/x", "???"):
        response = await assets.put(f"{DEV}/schedules/other", **monitor(definition(productionData=TRAILING | {"uri": missing})))
        assert response.status_code in (400, 404)
        assert response.json()["error"]["message"]
    component = TRAILING | {"preprocessingComponentId": "azureml:clean:1"}
    assert (await assets.put(f"{DEV}/schedules/other", **monitor(definition(productionData=component)))).status_code == 404


JUNK: list[Any] = [None, 0, -1, 1e308, True, "", "x", "9999-12-31T23:59:59", "0001-01-01", "P9999D",
                   [], [[]], [None], {}, {"x": 1}, "${{name}}"]  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


async def test_bad_requests_are_refused_and_never_break(assets: LocalAzureMl) -> None:
    """A seeded walk over a valid body: any part of it replaced by any junk."""
    draw = random.Random(4)
    whole = {"properties": monitor(definition(features={"filterType": "AllFeatures"}, dataSegment={"feature": "x", "values": ["a"]}))}
    everywhere = [place for place in places(whole) if place]
    for number in range(400):
        body = copy.deepcopy(whole)
        place = draw.choice(everywhere)
        part: Any = body
        for key in place[:-1]:
            part = part[key]
        part[place[-1]] = draw.choice(JUNK)
        response = await assets.http.put(f"{DEV}/schedules/fuzz{number}", content=json.dumps(body))
        assert response.status_code in (200, 201, 400, 404), (place, part[place[-1]], response.text)
        if response.status_code >= 400:
            assert response.json()["error"]["message"]
        else:
            assert (await assets.finished(response))["status"] == "Succeeded", (place, part[place[-1]])
