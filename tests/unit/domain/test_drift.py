"""Cooldown and budget, from the starts of earlier retrainings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.drift import DriftAlert, PastRun, decide
from pilotage.domain.policy import Budget, OnDrift

NOW = datetime(2026, 1, 20, 9, 0, tzinfo=UTC)
HOURS = st.integers(0, 24 * 20)


def rule(cooldown: int = 24, runs: int = 2, per: int = 24 * 7, action: Any = "retrain") -> OnDrift:
    return OnDrift(action=action, job="azureml:train@latest", cooldown=timedelta(hours=cooldown),
                   budget=Budget(runs=runs, per=timedelta(hours=per)))


def past(*hours_ago: int) -> list[PastRun]:
    return [PastRun(incident=f"i-{n}", started_at=(NOW - timedelta(hours=hours)).isoformat()) for n, hours in enumerate(hours_ago)]


@pytest.mark.parametrize(("runs", "action", "says"), [
    ((), "retrain", "retraining 1 of 2"),
    ((23,), "suppress", "cooling down until 2026-01-20T10:00:00+00:00"),
    ((24,), "retrain", "retraining 2 of 2"),
    ((30, 60), "suppress", "used up until 2026-01-24T21:00:00+00:00"),
    ((30, 24 * 7), "retrain", "retraining 2 of 2"),
    ((30, 60, 90), "suppress", "used up until"),
])
def test_deciding(runs: tuple[int, ...], action: str, says: str) -> None:
    decision = decide(rule(), past(*runs), NOW)
    assert decision.action == action
    assert says in decision.reason


def test_where_people_are_asked_nothing_is_counted() -> None:
    assert decide(rule(action="notify"), past(0, 1, 2), NOW).action == "notify"


@given(st.lists(HOURS, max_size=6), HOURS, st.integers(1, 4), HOURS)
def test_the_decision_follows_from_the_two_rules_alone(runs: list[int], cooldown: int, budget: int, per: int) -> None:
    decision = decide(rule(cooldown, budget, per), past(*runs), NOW)
    cooling, spent = bool(runs) and min(runs) < cooldown, sum(hours < per for hours in runs) >= budget
    assert decision.action == ("suppress" if cooling or spent else "retrain")


@given(st.lists(HOURS, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_memory_does_not_matter(runs: list[int], random: Any) -> None:
    shuffled = list(past(*runs))
    random.shuffle(shuffled)
    assert decide(rule(), shuffled, NOW) == decide(rule(), past(*runs), NOW)


@given(st.lists(HOURS, max_size=6), HOURS)
def test_waiting_only_helps_and_past_runs_only_hinder(runs: list[int], more: int) -> None:
    if decide(rule(), past(*runs), NOW).action == "retrain":
        assert decide(rule(), past(*runs), NOW + timedelta(hours=more)).action == "retrain"
    else:
        assert decide(rule(), past(*runs, more), NOW).action == "suppress"


@given(st.lists(HOURS, max_size=6))
def test_patience_ends_every_suppression(runs: list[int]) -> None:
    assert decide(rule(), past(*runs), NOW + timedelta(days=8)).action == "retrain"


def test_an_alert_is_the_same_by_its_source_and_key_alone() -> None:
    one = DriftAlert(source="custom", key="k", summary="first delivery", raised_at="2026-01-01")
    assert one.hash == DriftAlert(source="custom", key="k", summary="second").hash
    assert one.hash != DriftAlert(source="azure_monitor", key="k").hash
    assert DriftAlert(source="a", key="bc").hash != DriftAlert(source="ab", key="c").hash
