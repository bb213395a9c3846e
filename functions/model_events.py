"""Events of Azure ML workspaces: registrations start promotions, a monitor's breach opens a drift incident."""

import logging
from typing import Any

import azure.durable_functions as df
import azure.functions as func

from functions.durable import intake
from functions.event_grid import receive
from pilotage.domain.drift import DriftAlert
from pilotage.events import ModelRegistered, parse_workspace_event

bp = df.Blueprint()
log = logging.getLogger("pilotage.events")


@bp.event_grid_trigger(arg_name="event")
@bp.durable_client_input(client_name="client")
def model_events(event: func.EventGridEvent, client: df.SyncDurableFunctionsClient) -> None:
    def handle(body: Any) -> None:
        found = parse_workspace_event(body)
        if isinstance(found, ModelRegistered):
            result = intake(client).model_registered(found)
            log.info("event %s: %s:%s %s %s", found.event_id, found.model, found.version, result.outcome,
                     [item.id for item in result.items] or result.reason)
        elif isinstance(found, DriftAlert):
            result = intake(client).alert(found)
            log.info("breach %s: %s %s", found.signal, result.outcome, [item.id for item in result.items])
        else:
            log.info("event %s (%s) needs nothing: %s", found.event_id, found.type, found.reason)

    receive("workspace_event", event, handle)
