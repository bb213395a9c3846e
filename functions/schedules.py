"""Timers: the outbox makes good what a crash left between two writes; the sweeper takes away what was left behind."""

import logging
from datetime import UTC

import azure.durable_functions as df
import azure.functions as func

from functions.durable import DurableOrchestrator, intake
from pilotage.bootstrap import app
from pilotage.domain.phase import PromotionPhase
from pilotage.messages import SweepRequest
from pilotage.ports import Orchestrator

bp = df.Blueprint()
log = logging.getLogger("pilotage.schedules")
REAPED_AT_ONCE = 50
"""Promotions that one sweep closes; the next one takes the rest."""


@bp.timer_trigger(schedule="%PILOTAGE_OUTBOX_SCHEDULE%", arg_name="timer", run_on_startup=False, use_monitor=False)
@bp.durable_client_input(client_name="client")
def deliver_outbox(timer: func.TimerRequest, client: df.SyncDurableFunctionsClient) -> None:
    """Start what is claimed and not started; wake what has votes and was not told."""
    done = intake(client).deliver_outbox()
    if any(done.values()):
        log.info("outbox: %s", done)


@bp.timer_trigger(schedule="%PILOTAGE_SWEEP_SCHEDULE%", arg_name="timer", run_on_startup=False, use_monitor=False)
@bp.durable_client_input(client_name="client")
def start_sweep(timer: func.TimerRequest, client: df.SyncDurableFunctionsClient) -> None:
    """Start `sweep`, once a minute at most: the time slot is its id."""
    orchestrator = DurableOrchestrator(client)
    now = app().clock.now().astimezone(UTC)
    sweep = f"sweep-{now:%Y%m%d-%H%M}"
    if orchestrator.state(sweep) is None:
        message = SweepRequest(id=sweep, at=now.isoformat(timespec="milliseconds"), terminated=abandoned(orchestrator))
        orchestrator.start("sweep", sweep, message.wire())


def abandoned(orchestrator: Orchestrator) -> list[str]:
    """Promotions that their index shows under way, and whose instance has ended without telling, or is gone."""
    found: list[str] = []
    for phase in (phase for phase in PromotionPhase if not phase.terminal):
        for row in app().ledger.promotions.list(phase=phase.value):
            if row.sequence < 0:
                continue  # claimed and not started: the outbox's business
            if orchestrator.state(row.id) in (None, "FAILED", "TERMINATED"):
                found.append(row.id)
    return found[:REAPED_AT_ONCE]
