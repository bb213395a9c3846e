"""Drift alerts of others: what is published to the custom topic, and Azure Monitor's common alert schema."""

from __future__ import annotations

from typing import Any

from pilotage.domain.drift import DriftAlert
from pilotage.errors import InvalidEvent
from pilotage.events.breach import read_number
from pilotage.events.envelope import Declared, read_envelope, read_time
from pilotage.events.resources import endpoint_of_targets, optional_name, optional_workspace
from pilotage.events.workspace import Noted


def parse_custom_alert(body: Any) -> DriftAlert:
    """Read a drift alert that somebody published to the custom topic.

    The type must speak of drift (such as `Pilotage.DriftDetected`). `data` names `endpoint` or `model`, and may
    hold `workspace`, `signal`, `summary`, `metrics` (an object), `raisedAt` and `alertId`, by which publishers
    that repeat an alert under new event ids keep it one alert.
    """
    envelope = read_envelope(body)
    if "drift" not in envelope.type.casefold():
        raise InvalidEvent(f"the event type {envelope.type[:128]!r} does not speak of drift: publish Pilotage.DriftDetected")
    data = Declared(envelope.data, "data.")
    endpoint, model = optional_name(data, "endpoint", "endpointName"), optional_name(data, "model", "modelName")
    if not endpoint and not model:
        raise InvalidEvent("data.endpoint is missing: name the endpoint or the model that drifts")
    signal = data.optional_text("signal") or "drift"
    return DriftAlert(
        source="custom", key=f"{envelope.topic.casefold()}|{data.optional_text('alertId') or envelope.id}",
        workspace=optional_workspace(data, "workspace"), endpoint=endpoint, model=model,
        signal=signal, summary=data.optional_text("summary", "message") or f"{signal} reported on {endpoint or model}",
        raised_at=read_time(data, "raisedAt") or envelope.time, metrics=_metrics(data.object("metrics")))


def parse_monitor_alert(body: Any) -> DriftAlert | Noted:
    """Read an alert in Azure Monitor's common alert schema; it must be about an online endpoint or say so in customProperties."""
    if not isinstance(body, dict):
        raise InvalidEvent(f"an alert must be a JSON object, not {type(body).__name__}")
    top = Declared(body, "")
    if top.get("schemaId") != "azureMonitorCommonAlertSchema":
        raise InvalidEvent("schemaId is not azureMonitorCommonAlertSchema: switch the common alert schema on in the action group")
    data = Declared(top.object("data"), "data.")
    essentials = Declared(data.object("essentials"), "data.essentials.")
    alert, condition = essentials.text("alertId", "originAlertId"), essentials.text("monitorCondition")
    if condition.casefold() == "resolved":
        return Noted(event_id=alert, type="azureMonitorCommonAlertSchema", reason=f"{alert} is resolved")
    if condition.casefold() != "fired":
        raise InvalidEvent(f"data.essentials.monitorCondition is {condition[:64]!r}: it must be Fired or Resolved")
    custom = Declared(data.object("customProperties"), "data.customProperties.")
    workspace, target = endpoint_of_targets(essentials.get("alertTargetIDs"))
    endpoint, model = optional_name(custom, "endpoint") or target or None, optional_name(custom, "model")
    if not endpoint and not model:
        raise InvalidEvent("data.essentials.alertTargetIDs names no online endpoint: "
                           "alert on an endpoint, or name endpoint or model in the rule's custom properties")
    rule = essentials.optional_text("alertRule") or "alert"
    fired = read_time(essentials, "firedDateTime")
    return DriftAlert(
        # One alert that fires, resolves and fires again keeps its id: its firing time tells the two apart.
        source="azure_monitor", key=f"{alert.casefold()}|{fired}",
        workspace=optional_workspace(custom, "workspace") or workspace, endpoint=endpoint, model=model,
        signal=rule, summary=essentials.optional_text("description") or f"{rule} fired on {endpoint or model}", raised_at=fired,
        metrics={"severity": essentials.optional_text("severity"), "criteria": _criteria(data.object("alertContext"))})


def _criteria(context: dict[str, Any]) -> list[dict[str, Any]]:
    """What was measured against which threshold (Azure writes thresholds as text)."""
    all_of = Declared(Declared(context, "data.alertContext.").object("condition"), "data.alertContext.condition.").get("allOf")
    found = []
    for item in (all_of if isinstance(all_of, list) else [])[:20]:
        if isinstance(item, dict):
            each = Declared(item, "data.alertContext.condition.allOf.")
            dimensions = each.get("dimensions")
            found.append({
                "metric": each.optional_text("metricName"), "operator": each.optional_text("operator"),
                "threshold": read_number(each.get("threshold")), "value": read_number(each.get("metricValue")),
                "dimensions": {str(d.get("name")): str(d.get("value")) for d in dimensions if isinstance(d, dict)}
                if isinstance(dimensions, list) else {}})
    return found


def _metrics(told: dict[str, Any]) -> dict[str, Any]:
    """Numbers and short texts only: an alert's evidence is aggregates, not rows."""
    kept: dict[str, Any] = {}
    for name, value in list(told.items())[:50]:
        number = None if isinstance(value, bool) else read_number(value)
        kept[str(name)[:128]] = number if number is not None else str(value)[:256]
    return kept
