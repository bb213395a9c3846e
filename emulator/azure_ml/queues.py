"""The places that a deployment has for requests: on its instances, and in the queue before them.

Managed: `2 * instances * maxConcurrentRequestsPerInstance` requests are given to the containers, which queue them
themselves, and who comes then gets 429 at once; `maxQueueWait` is deprecated there and has no effect
(learn.microsoft.com/azure/machine-learning/how-to-troubleshoot-online-endpoints, reference-yaml-deployment-managed-online).

Kubernetes: `instances * maxConcurrentRequestsPerInstance`; who waits longer than `maxQueueWait` gets 503. With target
utilization the number of instances follows the share of places that is taken: more at the next decision, one less for
each interval with less to do.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from emulator.azure_ml.deployment_settings import Autoscale, autoscale_of
from emulator.azure_ml.durations import seconds

Json = dict[str, Any]


class Crowded(Exception):
    """A managed deployment has all the requests that it takes."""


class Waited(Exception):
    """No instance was free in time."""


@dataclass(slots=True)
class _Queue:
    instances: int
    working: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    decided: float = -math.inf
    """When the number of instances was last thought about (`time.monotonic`)."""


class Queues:
    """Keyed by deployment. What a restart forgets: the queue, and how far autoscaling has come."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._queues: dict[str, _Queue] = {}

    def instances(self, key: str) -> int | None:
        """How many a deployment runs on just now; None before its first request."""
        queue = self._queues.get(key.lower())
        return queue.instances if queue is not None else None

    def forget(self, key: str) -> None:
        """A deployment is deleted; requests that are on their way still leave its queue as they should."""
        self._queues.pop(key.lower(), None)

    @asynccontextmanager
    async def place(self, key: str, live: Json, kubernetes: bool) -> AsyncIterator[None]:
        """Hold a place on an instance while inside; `live` has `capacity`, `requestSettings` and `scaleSettings`.

        Raises `Crowded` or `Waited`.
        """
        settings = live["requestSettings"]
        scale = autoscale_of(live.get("scaleSettings") or {})
        queue = self._queues.setdefault(key.lower(), _Queue(scale.least if scale else live["capacity"]))
        each = settings["maxConcurrentRequestsPerInstance"]
        self._decide(queue, scale, live["capacity"], each, coming=1)
        _admit(queue, queue.instances * each)  # who waits comes before who comes
        if queue.working < queue.instances * each * (1 if kubernetes else 2):
            queue.working += 1
        elif kubernetes:
            await _wait(queue, seconds(settings.get("maxQueueWait"), 0.5))
        else:
            raise Crowded
        try:
            yield
        finally:
            queue.working -= 1
            self._decide(queue, scale, live["capacity"], each, coming=0)
            _admit(queue, queue.instances * each)

    def _decide(self, queue: _Queue, scale: Autoscale | None, capacity: int, each: int, coming: int) -> None:
        if scale is None:
            queue.instances = capacity
            return
        now = self._now()
        queue.instances = min(max(queue.instances, scale.least), scale.most)
        if now - queue.decided < scale.interval:
            return
        # An idle deployment is not looked at; the decisions that were not made are made up for now.
        missed = 1 if math.isinf(queue.decided) else int((now - queue.decided) / scale.interval)
        queue.decided = now
        load = queue.working + len(queue.waiting) + coming
        wanted = min(max(math.ceil(load / (each * scale.target)), scale.least), scale.most)
        queue.instances = wanted if wanted >= queue.instances else max(wanted, queue.instances - missed)


async def _wait(queue: _Queue, longest: float) -> None:
    """Until a place is handed over; raises `Waited` after `longest` seconds."""
    turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    queue.waiting.append(turn)
    try:
        await asyncio.wait_for(asyncio.shield(turn), longest)
    except BaseException as problem:
        if turn.done():  # the place came together with the end of the wait: hand it on
            queue.working -= 1
            _admit(queue, queue.working + 1)
        else:
            queue.waiting.remove(turn)
        if isinstance(problem, TimeoutError):
            raise Waited from None
        raise


def _admit(queue: _Queue, places: int) -> None:
    while queue.waiting and queue.working < places:
        queue.working += 1
        queue.waiting.popleft().set_result(None)
