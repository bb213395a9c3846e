"""Places for requests: limits of managed deployments, queues of Kubernetes ones, instances that follow the load."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from emulator.azure_ml.queues import Crowded, Queues, Waited


def live(instances: int = 1, each: int = 1, wait: str = "PT0.02S", **scale: Any) -> dict[str, Any]:
    settings = {"maxConcurrentRequestsPerInstance": each, "maxQueueWait": wait}
    return {"capacity": instances, "requestSettings": settings, "scaleSettings": {"scaleType": "Default", **scale}}


def scaled(most: int = 4, target: int = 50) -> dict[str, Any]:
    return live(scaleType="TargetUtilization", minInstances=1, maxInstances=most, pollingInterval="PT1S",
                targetUtilizationPercentage=target)  # fmt: skip


async def test_a_managed_deployment_takes_twice_its_concurrency() -> None:
    queues, settings = Queues(), live(instances=2, each=3)
    async with AsyncExitStack() as held:
        for _ in range(12):
            await held.enter_async_context(queues.place("d", settings, kubernetes=False))
        with pytest.raises(Crowded):
            async with queues.place("D", settings, kubernetes=False):
                raise AssertionError
        async with queues.place("other", settings, kubernetes=False):
            pass
    async with queues.place("d", settings, kubernetes=False):
        pass


async def test_who_waits_too_long_goes_away_and_who_came_first_comes_first() -> None:
    queues, patient, order = Queues(), live(wait="PT60S"), []

    async def ask(name: str, settings: dict[str, Any]) -> None:
        async with queues.place("d", settings, kubernetes=True):
            order.append(name)
            await asyncio.sleep(0)

    async with queues.place("d", patient, kubernetes=True):
        first = asyncio.create_task(ask("first", patient))
        await asyncio.sleep(0)
        second = asyncio.create_task(ask("second", patient))
        await asyncio.sleep(0)
        with pytest.raises(Waited):
            await ask("third", live())
        gone = asyncio.create_task(ask("gone", patient))
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        assert order == []
    await asyncio.gather(first, second)
    assert order == ["first", "second"]
    await asyncio.wait_for(ask("fourth", patient), 5)  # every place was given back


async def test_a_place_that_comes_to_one_who_has_just_gone_is_handed_on() -> None:
    queues, patient = Queues(), live(wait="PT60S")
    done: list[str] = []

    async def ask(name: str) -> None:
        async with queues.place("d", patient, kubernetes=True):
            done.append(name)

    async with queues.place("d", patient, kubernetes=True):
        gone, next_one = asyncio.create_task(ask("gone")), asyncio.create_task(ask("next"))
        await asyncio.sleep(0)
    gone.cancel()  # its turn has been given to it, but it has not run yet
    await asyncio.gather(gone, return_exceptions=True)
    await asyncio.wait_for(next_one, 5)
    assert done == ["next"]
    await asyncio.wait_for(ask("last"), 5)


async def test_instances_follow_the_load() -> None:
    now = 100.0
    queues, settings = Queues(lambda: now), scaled()
    async with AsyncExitStack() as held:
        await held.enter_async_context(queues.place("d", settings, kubernetes=True))
        assert queues.instances("d") == 2  # one request is half of two instances
        await held.enter_async_context(queues.place("d", settings, kubernetes=True))
        assert queues.instances("d") == 2  # too soon to decide again
        now += 1
        for _ in range(2):
            await held.enter_async_context(queues.place("d", settings, kubernetes=True))
        with pytest.raises(Waited):
            await held.enter_async_context(queues.place("d", settings, kubernetes=True))
        assert queues.instances("d") == 4  # at most
    now += 1
    async with queues.place("d", settings, kubernetes=True):
        assert queues.instances("d") == 3  # one less for each interval
    now += 60
    async with queues.place("d", settings, kubernetes=True):
        assert queues.instances("d") == 2
    assert queues.instances("never") is None


async def test_who_waits_gets_the_instances_that_are_added() -> None:
    """The first in the queue, not whoever comes when the decision is made."""
    time, order = 0.0, []
    queues, settings = Queues(lambda: time), scaled(most=2, target=100)
    settings["requestSettings"]["maxQueueWait"] = "PT60S"
    gate = asyncio.Event()

    async def ask(name: str) -> None:
        async with queues.place("d", settings, kubernetes=True):
            order.append(name)
            await gate.wait()

    tasks = [asyncio.create_task(ask("working"))]
    await asyncio.sleep(0)
    for name in ("first", "second"):
        tasks.append(asyncio.create_task(ask(name)))
        await asyncio.sleep(0)
        time += 5 if name == "first" else 0
    for _ in range(3):
        await asyncio.sleep(0)
    assert order == ["working", "first"]
    gate.set()
    await asyncio.gather(*tasks)
