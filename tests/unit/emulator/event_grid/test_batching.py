"""Events that go together: how many, how large, and all or none."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from emulator.config import SubscriptionConfig
from emulator.event_grid.batches import batches
from emulator.event_grid.store import Delivery, State
from tests.support.event_grid import LocalEventGrid
from tests.support.subscriber import until
from tests.unit.emulator.event_grid.endpoint import Endpoint

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def subscription(most: int, kilobytes: int = 1024) -> SubscriptionConfig:
    return SubscriptionConfig(name="s", topics=("t",), function="f", max_events_per_batch=most, preferred_batch_size_in_kilobytes=kilobytes)


def delivery(number: int, size: int, attempts: int, state: State) -> Delivery:
    return Delivery(number, "t", "s", {}, NOW, NOW, state, attempts, None, "", "", None, size)


@given(st.lists(st.tuples(st.integers(1, 4000), st.integers(0, 2), st.sampled_from([State.PENDING, State.DEAD_LETTERING])), max_size=40),
       st.integers(1, 6), st.integers(1, 4))
def test_every_event_is_in_one_batch_that_keeps_to_the_limits(given_: list[tuple[int, int, State]], most: int, kilobytes: int) -> None:
    deliveries = [delivery(number, *rest) for number, rest in enumerate(given_)]
    found = batches(deliveries, subscription(most, kilobytes))
    assert sorted(item.number for batch in found for item in batch) == [item.number for item in deliveries]
    for batch in found:
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or sum(item.size for item in batch) <= kilobytes * 1024
        assert len({item.attempts for item in batch}) == 1
        assert batch[0].state is State.PENDING or len(batch) == 1
        assert [item.number for item in batch] == sorted(item.number for item in batch)


async def test_events_that_wait_go_together(grid: LocalEventGrid, webhook: Endpoint) -> None:
    grid.app_is_up = False
    grid.subscribe(max_events_per_batch=4, preferred_batch_size_in_kilobytes=1024)
    await grid.start()
    grid.publish(*(f"e{n}" for n in range(10)))
    grid.app_is_up = True
    grid.service.wake()
    await until(lambda: len(webhook.notifications) == 10)
    assert sorted(len(ids) for ids in webhook.requests) == [2, 4, 4]
    assert sorted(webhook.ids) == sorted(f"e{n}" for n in range(10))


async def test_an_event_that_is_larger_than_a_batch_goes_alone(grid: LocalEventGrid, webhook: Endpoint) -> None:
    grid.app_is_up = False
    grid.subscribe(max_events_per_batch=5000, preferred_batch_size_in_kilobytes=2)
    await grid.start()
    grid.publish("large", data="x" * 5000)
    grid.publish("a", "b")
    grid.app_is_up = True
    grid.service.wake()
    await until(lambda: len(webhook.notifications) == 3)
    assert sorted(map(sorted, webhook.requests)) == [["a", "b"], ["large"]]


async def test_nothing_waits_for_a_batch_to_fill(grid: LocalEventGrid, webhook: Endpoint) -> None:
    grid.subscribe(max_events_per_batch=100)
    await grid.start()
    grid.publish("a")
    await until(lambda: webhook.requests == [["a"]])


async def test_all_or_none_of_a_batch_is_acknowledged(grid: LocalEventGrid, webhook: Endpoint) -> None:
    webhook.answers = [500]
    grid.subscribe(max_events_per_batch=10)
    await grid.start()
    grid.publish("a", "b", "c")
    await grid.attempted(1)
    assert [item["attempts"] for item in await grid.deliveries()] == [1, 1, 1]
    grid.clock.advance(10)
    await grid.ended("delivered")
    assert webhook.requests == [["a", "b", "c"], ["a", "b", "c"]]
    assert [headers["aeg-delivery-count"] for headers in webhook.headers] == ["0", "1"]


async def test_each_event_of_a_batch_that_is_given_up_is_a_dead_letter(grid: LocalEventGrid, webhook: Endpoint) -> None:
    webhook.answers = [413]
    grid.subscribe(max_events_per_batch=10)
    await grid.start()
    grid.publish("a", "b")
    await until(lambda: len(grid.dead_letters()) == 2)
    assert {letter["id"] for letter in grid.dead_letters().values()} == {"a", "b"}


async def test_the_time_to_live_is_each_events_own(grid: LocalEventGrid, webhook: Endpoint) -> None:
    grid.app_is_up = False
    grid.subscribe(max_events_per_batch=10, ttl_minutes=5)
    await grid.start()
    grid.publish("old")
    grid.clock.advance(301)
    grid.publish("new")
    grid.app_is_up = True
    grid.service.wake()
    await until(lambda: webhook.requests == [["new"]])
    await until(lambda: [letter["id"] for letter in grid.dead_letters().values()] == ["old"])


async def test_cloud_events_are_a_list_in_a_batch_and_an_object_alone(grid: LocalEventGrid, webhook: Endpoint) -> None:
    grid.subscribe("together", delivery_schema="CloudEventSchemaV1_0", max_events_per_batch=10)
    grid.subscribe("alone", delivery_schema="CloudEventSchemaV1_0")
    await grid.start()
    grid.publish("a")
    await until(lambda: len(webhook.bodies) == 2)
    kinds = {headers["aeg-subscription-name"]: (headers["content-type"], type(body))
             for headers, body in zip(webhook.headers, webhook.bodies, strict=True)}
    assert kinds == {"TOGETHER": ("application/cloudevents-batch+json; charset=utf-8", list),
                     "ALONE": ("application/cloudevents+json; charset=utf-8", dict)}


async def test_a_slow_endpoint_gets_eight_batches_at_a_time(grid: LocalEventGrid, webhook: Endpoint) -> None:
    webhook.pause = asyncio.Event()
    grid.subscribe(max_events_per_batch=5)
    await grid.start()
    grid.publish(*(f"e{n}" for n in range(100)))
    await until(lambda: webhook.waiting == 8)
    webhook.pause.set()
    await until(lambda: len(webhook.notifications) == 100)
    assert len(webhook.requests) == 20
