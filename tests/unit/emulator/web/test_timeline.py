"""An orchestration's history as rows and places."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.web.timeline import WIDTH, span, timeline

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> str:
    return f"{BEGIN + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S.%f}0Z"


def event(kind: str, seconds: float, **fields: Any) -> dict[str, Any]:
    return {"EventType": kind, "Timestamp": at(seconds), **fields}


def test_what_ran_and_how_it_ended() -> None:
    steps = timeline([
        event("ExecutionStarted", 0, FunctionName="release"),
        event("TaskCompleted", 2, FunctionName="build", ScheduledTime=at(1), Result={"ok": True}),
        event("TaskFailed", 3, FunctionName="check", ScheduledTime=at(1), Reason="no"),
        event("TimerCreated", 3, FireAt=at(10)), event("TimerFired", 10, FireAt=at(10)),
        event("EventRaised", 11, Name="word", Input="yes"),
        event("SubOrchestrationInstanceCreated", 11, Name="child"),
        event("TaskScheduled", 12, Name="last")], BEGIN + timedelta(seconds=20))
    assert [(step.kind, step.label, step.state, step.duration) for step in steps] == [
        ("orchestration", "release started", "moment", ""), ("activity", "build", "done", "1.0 s"),
        ("activity", "check", "failed", "2.0 s"),
        ("timer", "until 2026-01-01 00:00:10", "done", "7.0 s"), ("event raised", "word", "moment", ""),
        ("sub-orchestration", "child", "open", ""), ("activity", "last", "open", "")]
    assert [steps[number].detail for number in (1, 2, 4)] == ['{"ok": true}', "no", "yes"]


def test_what_an_orchestration_did_not_wait_for() -> None:
    steps = timeline([event("ExecutionStarted", 0, FunctionName="o"), event("TimerCreated", 1, FireAt=at(99)),
                      event("ExecutionCompleted", 5, OrchestrationStatus="Completed")], BEGIN + timedelta(days=9))
    assert [(step.state, step.duration) for step in steps] == [("moment", ""), ("left", "4.0 s"), ("moment", "")]


def test_nothing_has_happened() -> None:
    assert timeline([], BEGIN) == []


@given(st.lists(st.tuples(st.floats(0, 1e8), st.floats(0, 1e8)), min_size=1, max_size=20))
def test_places_keep_the_order_and_fit(spans: list[tuple[float, float]]) -> None:
    """What begins earlier is never drawn to the right of what begins later, and all of it is on the drawing."""
    steps = timeline([event("TaskCompleted", begun + lasted, FunctionName="a", ScheduledTime=at(begun)) for begun, lasted in spans],
                     BEGIN + timedelta(days=4000))
    assert [step.start for step in steps] == sorted(step.start for step in steps)
    assert all(step.start >= 0 and step.start + step.width <= WIDTH + 0.01 and step.width > 0 for step in steps)


@pytest.mark.parametrize(("seconds", "text"), [
    (0.34, "340 ms"), (2.5, "2.5 s"), (200, "3 min 20 s"), (14700, "4 h 5 min"), (2592000, "30 d"), (90061, "1 d 1 h")])
def test_durations_for_people(seconds: float, text: str) -> None:
    assert span(seconds) == text
