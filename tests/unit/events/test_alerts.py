from __future__ import annotations

from typing import Any

import pytest

from pilotage.domain.drift import DriftAlert
from pilotage.errors import InvalidEvent
from pilotage.events import Noted, parse_custom_alert, parse_monitor_alert
from tests.support.desk import PROD


def custom(data: Any, **changes: Any) -> dict[str, Any]:
    return {"id": "a-1", "topic": "drift-alerts", "subject": "air-time", "eventType": "Pilotage.DriftDetected",
            "eventTime": "2026-01-05T09:00:00Z", "data": data, "dataVersion": "1"} | changes


def common(essentials: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    """Azure's documented sample, about an endpoint of ours."""
    return {"schemaId": "azureMonitorCommonAlertSchema", "data": {
        "essentials": {
            "alertId": "/subscriptions/s/providers/Microsoft.AlertsManagement/alerts/b9569717", "alertRule": "air-time is slow",
            "severity": "Sev3",
            "signalType": "Metric", "monitorCondition": "Fired", "monitoringService": "Platform",
            "alertTargetIDs": [f"{PROD}/onlineEndpoints/air-time".lower()], "originAlertId": "o",
            "firedDateTime": "2019-03-22T13:58:24.3713213Z",
        } | (essentials or {}),
        "alertContext": {"conditionType": "SingleResourceMultipleMetricCriteria", "condition": {"windowSize": "PT5M", "allOf": [
            {"metricName": "RequestLatency_P90", "operator": "GreaterThan", "threshold": "25", "timeAggregation": "Average",
             "dimensions": [{"name": "deployment", "value": "green"}], "metricValue": 31.1}]}},
        "customProperties": {}} | data}


def test_a_custom_alert_names_what_drifts() -> None:
    found = parse_custom_alert(custom({"endpoint": "air-time", "workspace": "mlw-prod", "signal": "data_drift", "summary": "summer",
                                       "metrics": {"psi": 0.4, "text": "x", "flag": True, "nested": {"a": 1}}}))
    assert found == DriftAlert(
        source="custom", key="drift-alerts|a-1", workspace="mlw-prod", endpoint="air-time", signal="data_drift", summary="summer",
        raised_at="2026-01-05T09:00:00.000+00:00", metrics={"psi": 0.4, "text": "x", "flag": "True", "nested": "{'a': 1}"})


def test_a_custom_alert_as_a_cloud_event_with_other_casing() -> None:
    found = parse_custom_alert({"specversion": "1.0", "id": "c-1", "source": "/monitors/1", "type": "Contoso.ModelDrift",
                                "data": {"ModelName": "air-time", "Workspace": PROD, "Message": "m"}})
    assert (found.model, found.workspace, found.summary, found.key) == ("air-time", "mlw-prod", "m", "/monitors/1|c-1")


def test_publishers_can_keep_one_alert_one_under_new_event_ids() -> None:
    one = parse_custom_alert(custom({"endpoint": "air-time", "alertId": "x"}, id="1"))
    two = parse_custom_alert(custom({"endpoint": "air-time", "alertId": "x"}, id="2"))
    three = parse_custom_alert(custom({"endpoint": "air-time"}, id="2"))
    assert one.hash == two.hash != three.hash


@pytest.mark.parametrize(("body", "reason"), [
    (custom({}), "data.endpoint is missing: name the endpoint or the model"),
    (custom(None), "data is missing"),
    (custom({"endpoint": 5}), "data.endpoint must be text, not int"),
    (custom({"endpoint": "a b"}), "data.endpoint 'a b' is not a name"),
    (custom({"model": "../m"}), "data.model '../m' is not a name"),
    (custom({"endpoint": "e", "workspace": "/subscriptions/x"}), "is not a name"),
    (custom({"endpoint": "e", "metrics": [1]}), "data.metrics must be an object, not list"),
    (custom({"endpoint": "e", "raisedAt": "now"}), "raisedAt 'now' is not an ISO 8601 time"),
    (custom({"endpoint": "e"}, eventType="Contoso.OrderPlaced"), "does not speak of drift"),
    ("x", "an event must be a JSON object"),
])
def test_a_custom_alert_that_nobody_can_act_on_is_refused_with_the_reason(body: Any, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason.replace("(", r"\(")):
        parse_custom_alert(body)


def test_a_common_alert_is_read_from_its_target() -> None:
    found = parse_monitor_alert(common())
    assert isinstance(found, DriftAlert)
    assert (found.source, found.workspace, found.endpoint, found.signal) == ("azure_monitor", "mlw-prod", "air-time", "air-time is slow")
    assert found.raised_at == "2019-03-22T13:58:24.371+00:00"
    assert found.metrics["criteria"] == [{"metric": "RequestLatency_P90", "operator": "GreaterThan", "threshold": 25.0, "value": 31.1,
                                          "dimensions": {"deployment": "green"}}]


def test_a_rule_can_say_what_it_is_about() -> None:
    found = parse_monitor_alert(common({"alertTargetIDs": ["/subscriptions/s/resourcegroups/r/providers/microsoft.insights/components/c"]},
                                       customProperties={"model": "air-time", "Workspace": "mlw-prod"}))
    assert isinstance(found, DriftAlert)
    assert (found.model, found.endpoint, found.workspace) == ("air-time", None, "mlw-prod")


def test_firing_again_is_another_alert_and_a_retry_is_not() -> None:
    first, again, later = (parse_monitor_alert(common({"firedDateTime": time})) for time in (
        "2019-03-22T13:58:24Z", "2019-03-22T13:58:24Z", "2019-03-22T15:00:00Z"))
    assert isinstance(first, DriftAlert)
    assert isinstance(again, DriftAlert)
    assert isinstance(later, DriftAlert)
    assert first.hash == again.hash != later.hash


def test_resolved_needs_nothing() -> None:
    assert isinstance(parse_monitor_alert(common({"monitorCondition": "Resolved"})), Noted)


@pytest.mark.parametrize(("body", "reason"), [
    ([], "an alert must be a JSON object, not list"),
    ({}, "schemaId is not azureMonitorCommonAlertSchema"),
    ({"schemaId": "azureMonitorCommonAlertSchema"}, "alertId is missing"),
    ({"schemaId": "azureMonitorCommonAlertSchema", "data": []}, "data must be an object, not list"),
    (common({"alertId": None, "originAlertId": None}), "data.essentials.alertId is missing"),
    (common({"monitorCondition": "Maybe"}), "monitorCondition is 'Maybe'"),
    (common({"alertTargetIDs": "x"}), "alertTargetIDs must be a list"),
    (common({"alertTargetIDs": [PROD]}), "alertTargetIDs names no online endpoint"),
    (common({"firedDateTime": "soon"}), "is not an ISO 8601 time"),
    (common(alertContext=[1]), "data.alertContext must be an object"),
])
def test_an_alert_that_is_malformed_is_refused_with_the_reason(body: Any, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason):
        parse_monitor_alert(body)
