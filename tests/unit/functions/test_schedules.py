from __future__ import annotations

from datetime import timedelta
from typing import Any

import grpc
import pytest

from pilotage.domain.phase import PromotionPhase
from pilotage.errors import Unavailable
from pilotage.messages import SweepRequest
from tests.support.desk import Desk, registered
from tests.support.routes import FUNCTIONS, DurableClient, deliver, user_function


def tick(name: str, client: DurableClient) -> None:
    user_function(name)(None, client)


def sweeps(desk: Desk) -> list[SweepRequest]:
    return [SweepRequest.read(message) for name, message in desk.orchestrator.instances.values() if name == "sweep"]


@pytest.mark.parametrize(("name", "setting"), [
    ("deliver_outbox", "%PILOTAGE_OUTBOX_SCHEDULE%"), ("start_sweep", "%PILOTAGE_SWEEP_SCHEDULE%")])
def test_the_schedules_are_settings(name: str, setting: str) -> None:
    assert FUNCTIONS[name].get_trigger().get_dict_repr()["schedule"] == setting


def test_the_outbox_starts_what_a_delivery_could_not(desk: Desk, client: DurableClient) -> None:
    client.failure = grpc.StatusCode.UNAVAILABLE
    with pytest.raises(Unavailable):
        deliver("model_events", client, registered())
    tick("deliver_outbox", client)
    client.failure = None
    tick("deliver_outbox", client)
    assert desk.orchestrator.starts == 1


def test_one_sweep_a_minute(desk: Desk, client: DurableClient) -> None:
    tick("start_sweep", client)
    tick("start_sweep", client)
    desk.clock.advance(timedelta(minutes=1))
    tick("start_sweep", client)
    assert [sweep.id for sweep in sweeps(desk)] == ["sweep-20260105-0900", "sweep-20260105-0901"]


@pytest.mark.parametrize(("state", "abandoned"), [
    (None, True), ("FAILED", True), ("TERMINATED", True), ("RUNNING", False), ("PENDING", False), ("SUSPENDED", False),
    ("COMPLETED", False),
])
@pytest.mark.parametrize("phase", [phase for phase in PromotionPhase if not phase.terminal])
def test_a_sweep_is_told_of_promotions_whose_instance_ended_without_telling(
    desk: Desk, client: DurableClient, phase: PromotionPhase, state: Any, abandoned: bool
) -> None:
    row = desk.promotion(phase)
    if state:
        desk.orchestrator.states[row.id] = state
    tick("start_sweep", client)
    (sweep,) = sweeps(desk)
    assert sweep.terminated == ([row.id] if abandoned else [])


def test_what_is_over_or_not_yet_started_is_left_alone(desk: Desk, client: DurableClient) -> None:
    for number, phase in enumerate(phase for phase in PromotionPhase if phase.terminal):
        desk.promotion(phase, id=f"p-{number}")
    desk.promotion(PromotionPhase.ACCEPTED, id="claimed", sequence=-1)
    tick("start_sweep", client)
    assert sweeps(desk)[0].terminated == []
