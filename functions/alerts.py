"""Drift alerts of others: the custom topic, and Azure Monitor's webhook."""

import logging
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from functions.durable import intake
from functions.event_grid import receive, reject
from functions.http import Call, Reply, serve
from pilotage.domain.access import Role
from pilotage.errors import InvalidEvent
from pilotage.events import Noted, parse_custom_alert, parse_monitor_alert, read_json

bp = df.Blueprint(http_auth_level=func.AuthLevel.ANONYMOUS)
log = logging.getLogger("pilotage.events")
ALERT_LIMIT = 256 * 1024
"""Bytes; an alert with many criteria is larger than any other body we take."""


@bp.event_grid_trigger(arg_name="event")
@bp.durable_client_input(client_name="client")
def drift_alerts(event: func.EventGridEvent, client: df.SyncDurableFunctionsClient) -> None:
    def handle(body: Any) -> None:
        alert = parse_custom_alert(body)
        result = intake(client).alert(alert)
        log.info("alert %s: %s %s", alert.signal, result.outcome, [item.id for item in result.items])

    receive("custom_alert", event, handle)


@bp.route(route="alerts", methods=["POST"])
@bp.durable_client_input(client_name="client")
def monitor_alerts(req: func.HttpRequest, client: df.SyncDurableFunctionsClient) -> func.HttpResponse:
    """An action group's secure webhook: Azure Monitor signs in with a token of its own, which holds the role Operator."""

    def handle(call: Call) -> Reply:
        try:
            alert = parse_monitor_alert(read_json(call.payload))
            if isinstance(alert, Noted):
                return Reply(200, {"outcome": "ignored", "reason": alert.reason, "items": []})
            result = intake(client).alert(alert)
        except InvalidEvent as error:
            reject("monitor_alert", str(error), call.payload)
            raise
        return Reply(202, {"outcome": result.outcome, "items": [item.model_dump(mode="json") for item in result.items]})

    return serve(req, Role.OPERATOR, handle, limit=ALERT_LIMIT)
