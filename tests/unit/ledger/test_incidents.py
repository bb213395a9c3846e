"""Drift incidents: every alert in exactly one, at most one open."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.domain.drift import DriftAlert, PastRun
from pilotage.domain.names import endpoint_key, incident_id
from pilotage.ledger import Ledger
from pilotage.ledger.incidents import REMEMBERED_ALERTS, REMEMBERED_RUNS
from tests.support.crashes import Stores, crash_points
from tests.support.interleaving import Turns, every_order
from tests.support.memory import SIGNER

POLICY, KEY = "air-time", endpoint_key("mlw-prod", "air-time")
FIRST, SECOND = incident_id(POLICY, KEY, 1), incident_id(POLICY, KEY, 2)
SCHEDULES = st.lists(st.integers(min_value=0, max_value=11), min_size=20, max_size=60)


def _alert(key: str) -> DriftAlert:
    return DriftAlert(source="custom", key=key, workspace="mlw-prod", endpoint="air-time", signal="data_drift", summary=f"drift {key}")


def _raise(ledger: Ledger, key: str, policy: str = POLICY) -> tuple[str, bool]:
    return ledger.incidents.alert(policy, KEY, _alert(key))


def test_alerts_join_the_open_incident() -> None:
    ledger = Stores().ledger
    assert _raise(ledger, "a") == (FIRST, True)
    assert _raise(ledger, "b") == (FIRST, False)
    assert sorted(alert.key for alert in ledger.incidents.alerts(FIRST)) == ["a", "b"]


def test_the_same_alert_always_gets_the_same_answer() -> None:
    ledger = Stores().ledger
    for _ in range(3):
        assert _raise(ledger, "a") == (FIRST, True)
        assert _raise(ledger, "b") == (FIRST, False)
    ledger.incidents.close(POLICY, KEY, FIRST)
    assert _raise(ledger, "a") == (FIRST, True), "a late redelivery opens nothing"
    assert _raise(ledger, "c") == (SECOND, True)
    assert _raise(ledger, "b") == (FIRST, False)
    assert len(ledger.incidents.alerts(FIRST)) == 2


def test_policies_have_incidents_of_their_own() -> None:
    ledger = Stores().ledger
    _raise(ledger, "a")
    assert _raise(ledger, "a", "cargo") == (incident_id("cargo", KEY, 1), True)


def test_only_the_open_incident_is_closed() -> None:
    ledger = Stores().ledger
    _raise(ledger, "a")
    ledger.incidents.close(POLICY, KEY, SECOND)
    assert _raise(ledger, "b") == (FIRST, False)
    ledger.incidents.close(POLICY, KEY, FIRST)
    ledger.incidents.close(POLICY, KEY, FIRST)
    assert _raise(ledger, "c") == (SECOND, True)


def test_a_storm_of_alerts_does_not_outgrow_the_row() -> None:
    ledger = Stores().ledger
    for number in range(REMEMBERED_ALERTS + 5):
        assert _raise(ledger, str(number)) == (FIRST, number == 0)
    assert _raise(ledger, str(REMEMBERED_ALERTS + 2)) == (FIRST, False)
    assert len(ledger.incidents.alerts(FIRST)) == REMEMBERED_ALERTS + 5


def test_an_alert_survives_a_crash_at_every_write() -> None:
    points = list(crash_points(lambda ledger: None, lambda ledger: _raise(ledger, "a")))
    assert len(points) == 6
    for where, stores in points:
        assert _raise(stores.ledger, "b")[0] == FIRST
        opened = {key: _raise(stores.ledger, key)[1] for key in ("a", "b")}
        assert sorted(opened.values()) == [False, True], f"{where}: exactly one alert opens the incident"
        assert len(stores.ledger.incidents.alerts(FIRST)) == 2, where


@given(SCHEDULES, st.lists(st.sampled_from("aabc"), min_size=2, max_size=4))
@settings(deadline=None)
def test_alerts_at_once_make_one_incident(schedule: list[int], keys: list[str]) -> None:
    stores, turns = Stores(), Turns()
    ledger = Ledger(turns.watch(stores.records), turns.watch(stores.rows), stores.clock, signer=SIGNER)
    ended = turns.run([lambda k=k: _raise(ledger, k) for k in keys], schedule)
    assert [end.error for end in ended] == [None] * len(keys)
    assert {end.result[0] for end in ended} == {FIRST}
    openers = {key for key, end in zip(keys, ended, strict=True) if end.result[1]}
    assert len(openers) == 1, "every delivery of one alert, and of no other, says that it opened the incident"
    assert all(end.result[1] == (key in openers) for key, end in zip(keys, ended, strict=True))
    assert {alert.key for alert in stores.ledger.incidents.alerts(FIRST)} == set(keys)


def test_two_alerts_at_once_make_one_incident_in_any_order() -> None:
    def attempt(turns: Turns, schedule: Sequence[int]) -> None:
        stores = Stores()
        ledger = Ledger(turns.watch(stores.records), turns.watch(stores.rows), stores.clock, signer=SIGNER)
        ended = turns.run([lambda: _raise(ledger, "a"), lambda: _raise(ledger, "b")], schedule)
        assert sorted(end.result for end in ended) == [(FIRST, False), (FIRST, True)]
        assert len(stores.ledger.incidents.alerts(FIRST)) == 2

    assert every_order(attempt) > 200


def test_a_retraining_counts_once() -> None:
    ledger = Stores().ledger
    assert ledger.incidents.runs(POLICY, KEY) == []
    _raise(ledger, "a")
    ledger.incidents.record_run(POLICY, KEY, PastRun(incident=FIRST, started_at="2026-01-05T09:00:00.000+00:00"))
    ledger.incidents.record_run(POLICY, KEY, PastRun(incident=FIRST, started_at="2026-01-05T09:30:00.000+00:00"))
    assert ledger.incidents.runs(POLICY, KEY) == [PastRun(incident=FIRST, started_at="2026-01-05T09:00:00.000+00:00")]
    assert _raise(ledger, "b") == (FIRST, False), "counting leaves the incident open"


@pytest.mark.parametrize("count", [REMEMBERED_RUNS + 7])
def test_the_newest_retrainings_are_remembered(count: int) -> None:
    ledger = Stores().ledger
    runs = [PastRun(incident=f"drift-{n}", started_at=f"2026-01-05T{n // 60:02d}:{n % 60:02d}:00.000+00:00") for n in range(count)]
    for run in runs:
        ledger.incidents.record_run(POLICY, KEY, run)
    assert ledger.incidents.runs(POLICY, KEY) == runs[-REMEMBERED_RUNS:]
