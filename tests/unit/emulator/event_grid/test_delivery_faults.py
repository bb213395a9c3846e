"""Faults of delivery on demand: what the endpoint sees, and what Event Grid remembers."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.support.event_grid import LocalEventGrid
from tests.support.subscriber import DEADLINE, until
from tests.unit.emulator.event_grid.endpoint import Endpoint

PATH = "/_emulator/eventgrid/faults"


async def fault(grid: LocalEventGrid, kind: str, **rest: Any) -> int:
    answer = await grid.http.post(PATH, json={"subscription": "all", "kind": kind, **rest})
    assert answer.status_code == 201
    return int(answer.json()["id"])


async def hits(grid: LocalEventGrid) -> list[int]:
    return [item["hits"] for item in (await grid.http.get(PATH)).json()["items"]]


async def states(grid: LocalEventGrid, *wanted: str) -> None:
    """Wait until the deliveries stand so: the endpoint sees an event before Event Grid has recorded its answer."""
    async with asyncio.timeout(DEADLINE):
        while [item["state"] for item in await grid.deliveries()] != list(wanted):  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)


async def test_a_duplicate_is_sent_twice_and_delivered_once(grid: LocalEventGrid, webhook: Endpoint) -> None:
    grid.subscribe()
    await grid.start()
    await fault(grid, "duplicate", count=2)
    grid.publish("a", "b", "c")
    await states(grid, "delivered", "delivered", "delivered")
    items = await grid.deliveries()
    assert [item["attempts"] for item in items] == [1, 1, 1]
    assert sorted(len(item["history"]) for item in items) == [1, 2, 2]
    assert sorted(webhook.ids.count(name) for name in "abc") == [1, 2, 2]
    assert await hits(grid) == [2]


async def test_an_answer_that_is_lost_is_a_failed_attempt(grid: LocalEventGrid, webhook: Endpoint) -> None:
    grid.subscribe()
    await grid.start()
    await fault(grid, "drop_ack")
    grid.publish("a")
    item = await grid.attempted(1)
    assert (item["state"], item["outcome"], item["status"]) == ("pending", "TimedOut", None)
    assert webhook.ids == ["a"]
    grid.clock.advance(10)
    assert (await grid.ended("delivered"))["attempts"] == 2
    assert webhook.ids == ["a", "a"]
    assert [headers["aeg-delivery-count"] for headers in webhook.headers] == ["0", "1"]


async def test_lost_answers_can_use_up_every_attempt(grid: LocalEventGrid, webhook: Endpoint) -> None:
    grid.subscribe(max_attempts=2)
    await grid.start()
    await fault(grid, "drop_ack", count=2)
    grid.publish("a")
    await grid.attempted(1)
    grid.clock.advance(10)
    await grid.ended("dead_lettered")
    (letter,) = grid.dead_letters().values()
    assert (letter["deadLetterReason"], letter["lastDeliveryOutcome"]) == ("MaxDeliveryAttemptsExceeded", "TimedOut")
    assert webhook.ids == ["a", "a"]


async def test_a_delay_is_one_of_virtual_time(grid: LocalEventGrid, webhook: Endpoint) -> None:
    grid.subscribe()
    await grid.start()
    await fault(grid, "delay", delay_seconds=3600)
    grid.publish("late")
    grid.publish("next")
    await until(lambda: webhook.ids == ["next"])
    grid.clock.advance(1800)  # far from the hour: real time passes too, and a busy machine may need seconds of it for a delivery
    await states(grid, "pending", "delivered")
    assert webhook.ids == ["next"]
    grid.clock.advance(1800)
    await until(lambda: webhook.ids == ["next", "late"])
    await states(grid, "delivered", "delivered")
    assert (await grid.deliveries())[0]["attempts"] == 1


class TestReorder:
    async def test_the_newest_comes_first(self, grid: LocalEventGrid, webhook: Endpoint) -> None:
        grid.subscribe()
        await grid.start()
        await fault(grid, "reorder", count=4, delay_seconds=60)
        for name in "abcd":
            grid.publish(name)
        await until(lambda: webhook.ids == ["d", "c", "b", "a"])
        grid.publish("e")
        await until(lambda: webhook.ids[4:] == ["e"])

    async def test_fewer_are_awaited_for_a_while(self, grid: LocalEventGrid, webhook: Endpoint) -> None:
        grid.subscribe()
        await grid.start()
        await fault(grid, "reorder", count=5, delay_seconds=60)
        grid.publish("a", "b")
        await grid.deliveries()
        assert webhook.ids == []
        grid.clock.advance(61)
        await until(lambda: webhook.ids == ["b", "a"])

    async def test_nothing_waits_once_the_fault_is_gone(self, grid: LocalEventGrid, webhook: Endpoint) -> None:
        grid.subscribe()
        grid.subscribe("other")
        await grid.start()
        number = await fault(grid, "reorder", count=5, delay_seconds=60)
        grid.publish("a")
        await grid.ended("delivered", "other")
        assert [item["state"] for item in await grid.deliveries(subscription="all")] == ["pending"]
        assert (await grid.http.delete(f"{PATH}/{number}")).status_code == 204
        await grid.ended("delivered", "all")


async def test_they_are_listed_and_removed(grid: LocalEventGrid, webhook: Endpoint) -> None:
    grid.subscribe()
    await grid.start()
    first = await fault(grid, "duplicate")
    await fault(grid, "delay", count=3, delay_seconds=5)
    items = (await grid.http.get(PATH)).json()["items"]
    assert [(item["kind"], item["count"], item["hits"]) for item in items] == [("duplicate", 1, 0), ("delay", 3, 0)]
    assert (await grid.http.delete(f"{PATH}/{first}")).status_code == 204
    assert (await grid.http.delete(f"{PATH}/{first}")).status_code == 404
    assert (await grid.http.delete(PATH)).status_code == 204
    assert (await grid.http.get(PATH)).json() == {"items": []}
    for body in ({}, [], {"subscription": "all", "kind": "lose"}, {"subscription": "none", "kind": "delay"},
                 {"subscription": "all", "kind": "delay", "count": 0}, {"subscription": "all", "kind": "delay", "delay_seconds": -1}):
        assert (await grid.http.post(PATH, json=body)).status_code == 400, body
