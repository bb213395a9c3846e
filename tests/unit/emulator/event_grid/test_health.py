"""Randomised waits, and endpoints that are left alone for a while."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from emulator.event_grid.retry import SCHEDULE, Again, Health, Outcome, after, spread
from tests.support.event_grid import LocalEventGrid
from tests.support.subscriber import until
from tests.unit.emulator.event_grid.endpoint import Endpoint

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@given(st.floats(0, 1), st.integers(), st.integers(1, 10**9), st.integers(1, 30))
def test_a_wait_grows_by_no_more_than_the_jitter_and_always_by_the_same(jitter: float, seed: int, number: int, attempt: int) -> None:
    share = spread(jitter, seed, number, attempt)
    assert 0 <= share <= jitter
    assert share == spread(jitter, seed, number, attempt)
    decision = after(Outcome.of(500), min(attempt, 29), 30, NOW, share)
    wait = SCHEDULE[min(min(attempt, 29), len(SCHEDULE)) - 1]
    assert isinstance(decision, Again)
    assert wait <= decision.at - NOW <= wait * (1 + jitter) + timedelta(microseconds=1)


def test_deliveries_spread() -> None:
    assert len({round(spread(0.1, 7, number, 1), 4) for number in range(100)}) > 50
    assert spread(0.1, 7, 1, 1) != spread(0.1, 8, 1, 1)


async def test_a_subscription_asks_for_it(grid: LocalEventGrid, webhook: Endpoint) -> None:
    webhook.answers = [500]
    grid.subscribe(retry_jitter=0.5, seed=3)
    await grid.start()
    grid.publish("a")
    item = await grid.attempted(1)
    waited = datetime.fromisoformat(item["due"]) - datetime.fromisoformat(item["history"][0]["at"])
    assert abs(waited.total_seconds() - 10 * (1 + spread(0.5, 3, item["number"], 1))) < 0.001


def test_ten_failures_in_a_row_make_an_endpoint_doubtful() -> None:
    health = Health()
    for _ in range(9):
        health.saw(Outcome.of(500), NOW)
    health.saw(Outcome.of(200), NOW)
    for _ in range(9):
        health.saw(Outcome.of(500), NOW)
    assert not health.is_doubtful
    health.saw(Outcome.of(404), NOW)
    assert (health.is_doubtful, health.until) == (True, NOW + timedelta(minutes=5))
    health.saw(Outcome.of(503), NOW)
    assert health.until == NOW + timedelta(seconds=10)
    health.saw(Outcome.of(204), NOW)
    assert (health.is_doubtful, health.until) == (False, None)


async def test_an_endpoint_that_keeps_failing_is_left_alone_and_then_tried_once(grid: LocalEventGrid, webhook: Endpoint) -> None:
    webhook.answer = lambda ids: 500
    grid.subscribe(delayed_delivery=True)
    await grid.start()
    grid.publish(*(f"e{n}" for n in range(10)))
    await until(lambda: len(webhook.requests) == 10)
    await grid.attempted(1)
    grid.publish("new")
    assert (await grid.deliveries())[-1]["attempts"] == 0
    grid.clock.advance(10)
    await until(lambda: len(webhook.requests) == 11)
    webhook.answer = None
    grid.clock.advance(10)
    await until(lambda: len({*webhook.ids[11:]}) == 11)
    assert {item["state"] for item in await grid.deliveries()} <= {"delivered", "pending"}
    await grid.ended("delivered")
