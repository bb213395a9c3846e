from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pilotage.domain.drift import DriftAlert
from pilotage.errors import InvalidEvent
from pilotage.events import ModelRegistered, Noted, parse_workspace_event, read_json
from tests.support.desk import DEV, PROD, registered

PREFIX = "Microsoft.MachineLearningServices."
BREACH = ("The signal 'air-time-monitor_data_drift' has failed due to one or more features violating metric thresholds.\n"
          "The feature names and their corresponding computed metric values violating the threshold are \n"
          '[{"group": "distance", "metric_value": 0.31, "metric_name": "NormalizedWassersteinDistance", "threshold_value": 0.1}, '
          '{"group": "origin", "metric_value": "0.25", "metric_name": "JensenShannonDistance", "threshold_value": "0.2"}]\n')


def event(kind: str, data: Any, **changes: Any) -> dict[str, Any]:
    return {"id": "e-1", "topic": DEV, "subject": "s", "eventType": PREFIX + kind, "eventTime": "2026-01-05T09:00:00Z",
            "data": data} | changes


def run_status(status: str = "Failed", tag: str = BREACH, **more: Any) -> dict[str, Any]:
    data = {"experimentId": "x", "experimentName": "monitoring", "runId": "run-1", "runType": None, "runStatus": status,
            "runTags": {"azureml_modelmonitor_threshold_breached": tag}, "runProperties": {}} | more
    return event("RunStatusChanged", data, topic=PROD)


def test_the_documented_sample_is_understood() -> None:
    """Azure's own sample: PascalCase data, an integer version, a topic of somebody else."""
    sample = {
        "topic": "/subscriptions/S/resourceGroups/R/providers/Microsoft.MachineLearningServices/workspaces/W", "subject": "models/m:20",
        "eventType": "Microsoft.MachineLearningServices.ModelRegistered", "eventTime": "2017-06-26T18:41:00Z", "id": "831e",
        "dataVersion": "", "metadataVersion": "1",
        "data": {"ModelName": "m", "ModelVersion": 20, "ModelTags": {"Candidate": "true"}, "ModelProperties": {}}}
    found = parse_workspace_event(sample)
    assert found == ModelRegistered(event_id="831e", workspace_id=sample["topic"], workspace="W", model="m", version="20",
                                    tags={"Candidate": "true"}, at="2017-06-26T18:41:00.000+00:00")


@pytest.mark.parametrize("cloud", [False, True])
@pytest.mark.parametrize("version", [7, "7"])
@pytest.mark.parametrize("fold", [str, str.upper, str.lower, str.title])
def test_schema_casing_and_type_of_the_version_make_no_difference(cloud: bool, version: Any, fold: Any) -> None:
    body = registered(version, cloud=cloud)
    body["data"] = {fold(name) if fold is not str.title else name[:1].upper() + name[1:]: value for name, value in body["data"].items()}
    body = {fold(name) if fold in (str.upper, str.lower) else name: value for name, value in body.items()}
    found = parse_workspace_event(body)
    assert isinstance(found, ModelRegistered)
    assert (found.model, found.version, found.workspace, found.tags) == ("air-time", "7", "mlw-dev", {"candidate": "true"})


def test_users_tag_names_keep_their_casing_and_other_values_become_text() -> None:
    found = parse_workspace_event(registered(modelTags={"Candidate": True, "candidate": "no", "n": 3, "none": None}))
    assert isinstance(found, ModelRegistered)
    assert found.tags == {"Candidate": "true", "candidate": "no", "n": "3"}


@pytest.mark.parametrize(("body", "reason"), [
    ([], "an event must be a JSON object, not list"),
    ("text", "an event must be a JSON object, not str"),
    (None, "an event must be a JSON object, not NoneType"),
    (7, "an event must be a JSON object, not int"),
    ({}, "data is missing"),
    (event("ModelRegistered", None), "data is missing"),
    (event("ModelRegistered", "text"), "data must be an object, not str"),
    (event("ModelRegistered", []), "data must be an object, not list"),
    (event("ModelRegistered", {}), "data.modelName is missing"),
    (event("ModelRegistered", {"modelName": "m"}), "data.modelVersion is missing"),
    (event("ModelRegistered", {"modelName": "m", "modelVersion": None}), "data.modelVersion is missing"),
    (event("ModelRegistered", {"modelName": "m", "modelVersion": True}), "data.modelVersion must be a whole number or text, not bool"),
    (event("ModelRegistered", {"modelName": "m", "modelVersion": 1.5}), "data.modelVersion must be a whole number or text, not float"),
    (event("ModelRegistered", {"modelName": "m", "modelVersion": [1]}), "data.modelVersion must be a whole number or text, not list"),
    (event("ModelRegistered", {"modelName": "m", "modelVersion": -1}), "data.modelVersion is out of range"),
    (event("ModelRegistered", {"modelName": "m", "modelVersion": "../1"}), "data.modelVersion '../1' is not a version"),
    (event("ModelRegistered", {"modelName": 5, "modelVersion": 1}), "data.modelName must be text, not int"),
    (event("ModelRegistered", {"modelName": "a/b", "modelVersion": 1}), "data.modelName 'a/b' is not a name"),
    (event("ModelRegistered", {"modelName": "m" * 300, "modelVersion": 1}), "is not a name"),
    (event("ModelRegistered", {"modelName": "m", "modelVersion": 1, "modelTags": "t"}), "data.modelTags must be an object, not str"),
    (event("ModelRegistered", {"modelName": "m", "ModelName": "n", "modelVersion": 1}), "given twice with different values"),
    (registered(topic="/subscriptions/S/resourceGroups/R/providers/Microsoft.Storage/storageAccounts/A"), "is not the ARM id of"),
    (registered(topic=f"{DEV}/onlineEndpoints/e"), "is not the ARM id of an Azure ML workspace"),
    (registered(topic=""), "is not the ARM id of an Azure ML workspace"),
    (registered() | {"eventType": "Microsoft.Storage.BlobCreated"}, "'Microsoft.Storage.BlobCreated' is unknown here; known are"),
    (registered() | {"eventType": PREFIX + "ModelArchived"}, "is unknown here"),
    (registered() | {"eventType": None}, "eventType is missing"),
    (registered() | {"eventTime": "yesterday"}, "eventTime 'yesterday' is not an ISO 8601 time"),
    (registered() | {"eventTime": 5}, "eventTime must be text, not int"),
    (registered() | {"eventTime": "0001-01-01T00:00:00+14:00"}, "is out of range"),
    (registered() | {"id": ""}, "id is missing"),
    (registered() | {"id": "x" * 5000}, "id has 5000 characters"),
    (registered(cloud=True) | {"specversion": "0.3"}, "specversion '0.3' is not supported"),
    (registered(cloud=True) | {"source": None}, "source is missing"),
    (registered(cloud=True) | {"type": 3}, "type must be text, not int"),
    (run_status(runId=None), "data.runId is missing"),
    (run_status(runTags=["t"]), "data.runTags must be an object, not list"),
    (event("RunCompleted", {"runType": None}), "data.runId is missing"),
    (event("ModelDeployed", {}), "data.serviceName is missing"),
    (event("DatasetDriftDetected", {"runId": "r", "dataDriftName": "d", "driftCoefficient": "much"}), "driftCoefficient must be a number"),
])
def test_what_is_malformed_or_unknown_is_refused_with_the_reason(body: Any, reason: str) -> None:
    with pytest.raises(InvalidEvent) as refused:
        parse_workspace_event(body)
    assert reason in str(refused.value)


@pytest.mark.parametrize(("payload", "reason"), [
    (b"", "the body is not JSON"), (b"{", "the body is not JSON"), (b"\xff\xfe\xfa", "the body is not JSON"),
    (b'{"a": NaN}', "NaN is no JSON number"), (b'{"a": "\\ud800"}', "the body is not JSON"), (b"[" * 100_000, "the body is not JSON"),
    (b'{"a": ' + b"9" * 5000 + b"}", "the body is not JSON"),
])
def test_what_is_not_json_is_refused_with_the_reason(payload: bytes, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason):
        read_json(payload)


# How long an example takes says more of the machine than of the parser.
untimed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
_json = st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
                     lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12)


@untimed
@given(st.dictionaries(st.sampled_from(["id", "topic", "source", "eventType", "type", "data", "eventTime", "time", "specversion"]), _json))
def test_no_json_makes_the_parser_raise_anything_else(body: dict[str, Any]) -> None:
    with contextlib.suppress(InvalidEvent):
        parse_workspace_event(body)


@untimed
@given(st.dictionaries(st.sampled_from(
    ["modelName", "ModelName", "modelVersion", "runId", "runTags", "runStatus", "runProperties"]), _json),
       st.sampled_from(["ModelRegistered", "RunStatusChanged", "DatasetDriftDetected", "ModelDeployed", "RunCompleted"]))
def test_no_data_makes_the_parser_raise_anything_else(data: dict[str, Any], kind: str) -> None:
    with contextlib.suppress(InvalidEvent):
        parse_workspace_event(event(kind, data))


@pytest.mark.parametrize(("body", "reason"), [
    (event("ModelDeployed", {"serviceName": "air-time", "modelIds": "m:1"}), "air-time was deployed in mlw-dev"),
    (event("RunCompleted", {"runId": "r", "runType": None, "runTags": {}}), "r completed in mlw-dev"),
    (event("RunStatusChanged", {"runId": "r", "runStatus": "Running", "runTags": None}), "r is Running, and no monitor's breach"),
    (run_status("Running"), "its end will tell it again"),
    (run_status(tag="all good"), "its text tells of no breach"),
])
def test_what_needs_nothing_is_noted_with_the_reason(body: Any, reason: str) -> None:
    found = parse_workspace_event(body)
    assert isinstance(found, Noted)
    assert reason in found.reason


def test_a_breach_is_read_into_numbers() -> None:
    found = parse_workspace_event(run_status())
    assert isinstance(found, DriftAlert)
    assert (found.source, found.workspace, found.endpoint) == ("model_monitor", "mlw-prod", None)
    assert found.signal == "air-time-monitor_data_drift"
    assert found.summary == "air-time-monitor_data_drift: 2 features over their thresholds (distance, origin)"
    assert found.metrics == {
        "violations": [
            {"feature": "distance", "metric": "NormalizedWassersteinDistance", "value": 0.31, "threshold": 0.1},
            {"feature": "origin", "metric": "JensenShannonDistance", "value": 0.25, "threshold": 0.2}],
        "violations_total": 2, "run": "run-1", "experiment": "monitoring"}


def test_every_terminal_event_of_one_run_is_one_alert() -> None:
    one, two = parse_workspace_event(run_status("Failed") | {"id": "a"}), parse_workspace_event(run_status("completed") | {"id": "b"})
    other = parse_workspace_event(run_status(runId="run-2"))
    assert isinstance(one, DriftAlert)
    assert isinstance(two, DriftAlert)
    assert isinstance(other, DriftAlert)
    assert one.hash == two.hash != other.hash


@pytest.mark.parametrize("tags", [{"runTags": {"azureml_modelmonitor_threshold_breached": BREACH, "pilotage.endpoint": "air-time"}},
                                  {"runProperties": {"pilotage.endpoint": "air-time"}}])
def test_a_monitor_can_say_what_it_watches(tags: dict[str, Any]) -> None:
    found = parse_workspace_event(run_status(**tags))
    assert isinstance(found, DriftAlert)
    assert found.endpoint == "air-time"


@pytest.mark.parametrize(("tail", "features"), [
    ("", 0), ("\n[]", 0), ("\n[not json", 0), ('\n[{"group": "a", "metric_value": 1}, {"group": "b", "metr', 1), ("\n[1, 2]", 0),
    ("""\n['{"group": "a", "metric_value": 1}', '{"group": "it\\'s", "metric_value": 2}']\n""", 2),
    ("""\n['{"group": "a"}', '{"group": "b", "metr""", 1), ("\n['a', 'b']", 0), ("\n['[1]']", 0), ("\n['\\x']", 0),
])
def test_a_breach_whose_list_is_cut_off_is_still_a_breach(tail: str, features: int) -> None:
    found = parse_workspace_event(run_status(tag=BREACH.split(".\n")[0] + tail))
    assert isinstance(found, DriftAlert)
    assert found.metrics["violations_total"] == features


def test_a_long_list_is_counted_in_full_and_kept_in_part() -> None:
    rows = [{"group": f"f{n}", "metric_value": n, "metric_name": "m", "threshold_value": 0} for n in range(300)]
    found = parse_workspace_event(run_status(tag=BREACH.split("[")[0] + json.dumps(rows)))
    assert isinstance(found, DriftAlert)
    assert (found.metrics["violations_total"], len(found.metrics["violations"])) == (300, 50)


def test_dataset_drift_is_an_alert_of_its_workspace() -> None:
    found = parse_workspace_event(event("DatasetDriftDetected", {
        "DataDriftId": "d-1", "DataDriftName": "weather", "RunId": "r-9", "BaseDatasetId": "b", "TargetDatasetId": "t",
        "DriftCoefficient": 0.83, "StartTime": "2026-01-01T00:00:00Z", "EndTime": "2026-01-02T00:00:00Z"}))
    assert isinstance(found, DriftAlert)
    assert (found.source, found.workspace, found.signal) == ("dataset_drift", "mlw-dev", "weather")
    assert found.metrics["drift_coefficient"] == 0.83
