from __future__ import annotations

from typing import Any

import pytest

from pilotage.domain.drift import DriftAlert
from pilotage.domain.names import endpoint_key
from pilotage.domain.passport import Entry
from pilotage.errors import InvalidEvent
from pilotage.intake import Outcome
from pilotage.messages import ALERT_EVENT, DriftRequest, LiveModel
from tests.support.desk import Desk, policy
from tests.support.memory import Countdown, Crash, Crashing

KEY = endpoint_key("mlw-prod", "air-time")


def alert(key: str = "a-1", **about: Any) -> DriftAlert:
    return DriftAlert(**{"source": "custom", "key": key, "endpoint": "air-time", "signal": "data_drift", **about})


def monitor(key: str = "run-1", **about: Any) -> DriftAlert:
    """A monitor's event names its workspace and no endpoint."""
    return DriftAlert(**{"source": "model_monitor", "key": key, "workspace": "mlw-prod", "signal": "data_drift", **about})


def live(desk: Desk, endpoint: str, live: bool = True) -> None:
    endpoints = desk.ledger.endpoints
    got = endpoints.acquire("mlw-prod", endpoint, f"p-{endpoint}", endpoint, "1", lambda _: False)
    serving = LiveModel(promotion=f"p-{endpoint}", model=endpoint, version="1", deployment="v1") if live else None
    endpoints.release("mlw-prod", endpoint, f"p-{endpoint}", got.epoch, serving, [])


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_an_alert_opens_an_incident_and_further_ones_join_it(desk: Desk) -> None:
    first = desk.intake().alert(alert("a-1"))
    again = desk.intake().alert(alert("a-1"))
    second = desk.intake().alert(alert("a-2"))
    assert [result.outcome for result in (first, again, second)] == [Outcome.STARTED, Outcome.ALREADY_STARTED, Outcome.JOINED]
    assert len({result.items[0].id for result in (first, again, second)}) == 1
    ((orchestration, message),) = desk.orchestrator.instances.values()
    request = DriftRequest.read(message)
    assert (orchestration, request.alert.key, request.endpoint_key) == ("drift", "a-1", KEY)
    assert desk.orchestrator.raised == [(request.id, ALERT_EVENT, {"id": alert("a-2").hash})]


def test_two_hundred_duplicates_are_one_incident(desk: Desk) -> None:
    for number in range(200):
        desk.intake().alert(alert(f"a-{number % 5}"))
    assert desk.orchestrator.starts == 1


def test_after_an_incident_is_closed_a_new_alert_opens_the_next_and_an_old_one_does_not(desk: Desk) -> None:
    (first,) = desk.intake().alert(alert("a-1")).items
    desk.ledger.incidents.close("air-time", KEY, first.id)
    desk.orchestrator.states[first.id] = "COMPLETED"
    assert desk.intake().alert(alert("a-1")).outcome is Outcome.ALREADY_STARTED
    (second,) = desk.intake().alert(alert("a-2")).items
    assert second.id != first.id
    assert second.outcome is Outcome.STARTED


def test_a_late_duplicate_of_a_purged_incident_starts_nothing(desk: Desk) -> None:
    (first,) = desk.intake().alert(alert("a-1")).items
    desk.ledger.passports.append(Entry(passport=first.id, sequence=0, at="2026-01-05T09:00:00+00:00", kind="fact", step="incident.opened",
                                       phase="accepted"))
    desk.ledger.incidents.close("air-time", KEY, first.id)
    desk.orchestrator.states.clear()
    assert desk.intake().alert(alert("a-1")).outcome is Outcome.ALREADY_STARTED
    assert desk.orchestrator.starts == 1


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("change", range(1, 8))
def test_a_crash_at_any_write_leaves_one_incident_that_runs(desk: Desk, change: int, before: bool) -> None:
    """The delivery that opened the incident dies, and only another alert comes after it."""
    countdown = Countdown(change, before)
    crashed = False
    try:
        desk.intake(Crashing(desk.records, countdown), Crashing(desk.rows, countdown)).alert(alert("a-1"))
    except Crash:
        crashed = True
    assert crashed == (change <= 6), "an alert takes six writes"
    desk.intake().alert(alert("a-2"))
    desk.intake().deliver_outbox()
    assert desk.orchestrator.starts == 1
    assert set(desk.orchestrator.states.values()) == {"RUNNING"}


@pytest.mark.parametrize(("about", "reason"), [
    ({"workspace": "mlw-staging", "endpoint": None}, "no policy has workspace mlw-staging in production: alerts from staging"),
    ({"workspace": "mlw-staging"}, "no policy has workspace mlw-staging, endpoint air-time in production"),
    ({"endpoint": "air-time-stg"}, "no policy has endpoint air-time-stg in production"),
    ({"endpoint": "unknown"}, "no policy has endpoint unknown in production"),
    ({"endpoint": None, "model": "unknown"}, "no policy has model unknown in production"),
    ({"model": "other"}, "no policy has endpoint air-time, model other in production"),
    ({"endpoint": None}, "no policy has nothing in production"),
])
def test_an_alert_about_staging_or_nothing_of_ours_starts_nothing(desk: Desk, about: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason):
        desk.intake().alert(alert(**about))
    assert desk.orchestrator.starts == 0


@pytest.mark.parametrize("about", [
    {"endpoint": "AIR-TIME"}, {"endpoint": None, "model": "air-time"}, {"workspace": "MLW-prod"},
    {"workspace": "mlw-prod", "endpoint": None},
])
def test_an_alert_is_matched_on_what_it_tells_whatever_the_casing(desk: Desk, about: dict[str, Any]) -> None:
    assert desk.intake().alert(alert(**about)).outcome is Outcome.STARTED


def test_a_policy_that_says_nothing_of_drift_is_left_alone(desk: Desk) -> None:
    desk.policies.known = [policy(on_drift=None)]
    with pytest.raises(InvalidEvent, match="air-time says nothing of on_drift"):
        desk.intake().alert(alert())


def test_an_idle_endpoint_does_not_drift(desk: Desk) -> None:
    live(desk, "air-time", live=False)
    with pytest.raises(InvalidEvent, match="an idle endpoint does not drift"):
        desk.intake().alert(alert())


def test_a_monitor_of_a_workspace_means_the_endpoint_that_is_live(desk: Desk) -> None:
    desk.policies.known = [policy(), policy("trains"), policy("boats")]
    live(desk, "trains")
    assert [item.policy for item in desk.intake().alert(monitor()).items] == ["trains"]


@pytest.mark.parametrize(("told", "meant"), [
    ({"signal": "air-time-monitor_data_drift"}, "air-time"), ({"signal": "Air_Time_data_drift"}, "air-time"),
    ({"metrics": {"experiment": "monitor of trains"}}, "trains"),
])
def test_a_monitor_of_a_workspace_with_several_is_known_by_its_name(desk: Desk, told: dict[str, Any], meant: str) -> None:
    desk.policies.known = [policy(), policy("trains")]
    live(desk, "air-time")
    live(desk, "trains")
    assert [item.policy for item in desk.intake().alert(monitor(**told)).items] == [meant]


@pytest.mark.parametrize("signal", ["data_drift", "air-timetable_data_drift", "air-time trains"])
def test_a_monitor_that_may_mean_several_is_refused_with_the_fix(desk: Desk, signal: str) -> None:
    desk.policies.known = [policy(), policy("trains")]
    with pytest.raises(InvalidEvent, match=r"may mean air-time, trains: tag the monitor with pilotage.endpoint"):
        desk.intake().alert(monitor(signal=signal))
