"""Delivery: at least once, unordered, in virtual time. Nothing runs while nothing is due."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from emulator.context import Clock
from emulator.event_grid import retry
from emulator.event_grid.batches import batches
from emulator.event_grid.dead_letters import DeadLetters
from emulator.event_grid.faults import DeliveryFaults
from emulator.event_grid.store import Delivery, DeliveryStore, State
from emulator.event_grid.subscriptions import Subscription, Subscriptions
from emulator.event_grid.webhook import Webhooks

logger = logging.getLogger(__name__)

CONCURRENCY = 8
"""Attempts at a time for one subscription: a slow endpoint must not keep others waiting."""
_CONTAINER_AGAIN = timedelta(minutes=1)
_CONTAINER_GIVEN_UP = timedelta(hours=4)
"""An event is dropped when its dead-letter container could not be reached for so long."""
_LOST = retry.Outcome(None, "TimedOut")
"""What Event Grid knows when an answer does not reach it."""


@dataclass
class _Lane:
    """What is under way to one subscription."""

    tasks: dict[asyncio.Task[None], frozenset[int]] = field(default_factory=dict)
    health: retry.Health = field(default_factory=retry.Health)

    @property
    def busy(self) -> set[int]:
        return {number for numbers in self.tasks.values() for number in numbers}


class Deliverer:
    """Attempts what is due and sleeps until the next is."""

    def __init__(self, store: DeliveryStore, clock: Clock, subscriptions: Subscriptions, webhooks: Webhooks, dead_letters: DeadLetters,
                 dead_letter_delay: timedelta, faults: DeliveryFaults) -> None:
        self._store, self._clock, self._subscriptions, self._faults = store, clock, subscriptions, faults
        self._webhooks, self._dead_letters, self._dead_letter_delay = webhooks, dead_letters, dead_letter_delay
        self._wake = asyncio.Event()
        self._lanes: dict[str, _Lane] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="event-grid")

    async def stop(self) -> None:
        attempts = [task for lane in self._lanes.values() for task in lane.tasks]
        tasks = attempts + ([self._task] if self._task else [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """Something was published, an endpoint has appeared, or a fault is gone."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            due = self._begin()
            waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(self._wake.wait())]
            if due is not None:
                waits.append(asyncio.ensure_future(self._clock.sleep_until(due)))
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    # --- what is due ----------------------------------------------------------------------------------

    def _begin(self) -> datetime | None:
        """Begin what is due; returns when something else will be."""
        times = [self._begin_for(item) for item in list(self._subscriptions)]
        return min((time for time in times if time is not None), default=None)

    def _begin_for(self, item: Subscription) -> datetime | None:
        now = self._clock.now()
        if self._subscriptions.is_over(item):
            if self._store.next_due(item.key, set()) is not None:
                self._store.drop_all(item.key, "SubscriptionExpired")
            return None
        url = self._subscriptions.endpoint(item)
        if url is None:
            return None  # its app is not up: that is no failure of an attempt
        lane = self._lanes.setdefault(item.key, _Lane())
        if lane.health.until is not None and now < lane.health.until:
            return lane.health.until
        room = (1 if lane.health.is_doubtful and item.config.delayed_delivery else CONCURRENCY) - len(lane.tasks)
        if room <= 0:
            return None  # an attempt that ends wakes us
        if self._faults.held_for_order(item.key):
            return self._begin_in_order(item, url, lane, now)
        found = self._store.due(item.key, now, lane.busy, room * item.config.max_events_per_batch)
        found = [delivery for delivery in found if not self._delayed(delivery, now)]
        for batch in batches(found, item.config)[:room]:
            self._start(lane, batch, self._take(batch, item, url, lane))
        return self._store.next_due(item.key, lane.busy) if len(lane.tasks) < CONCURRENCY else None

    def _delayed(self, delivery: Delivery, now: datetime) -> bool:
        wait = self._faults.delays(delivery) if delivery.state is State.PENDING else None
        if wait is None:
            return False
        self._store.move(delivery, State.PENDING, now + wait, delivery.reason)
        return wait > timedelta()

    def _begin_in_order(self, item: Subscription, url: str, lane: _Lane, now: datetime) -> datetime | None:
        """Another order than that of publishing: nothing else goes to the endpoint meanwhile, so that it sees that order."""
        if lane.tasks:
            return None
        waiting = self._store.due(item.key, now, (), self._faults.held_for_order(item.key))
        if not waiting:
            return self._store.next_due(item.key, ())
        chosen = self._faults.reordered(item.key, waiting, now)
        if isinstance(chosen, datetime):
            later = self._store.next_due(item.key, {delivery.number for delivery in waiting})
            return min(chosen, later) if later is not None else chosen

        async def one_by_one() -> None:
            for delivery in chosen:
                await self._take([delivery], item, url, lane)

        self._start(lane, chosen, one_by_one())
        return None

    def _start(self, lane: _Lane, deliveries: Sequence[Delivery], work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        lane.tasks[task] = frozenset(delivery.number for delivery in deliveries)
        task.add_done_callback(partial(self._over, lane))

    def _over(self, lane: _Lane, task: asyncio.Task[None]) -> None:
        del lane.tasks[task]
        self._wake.set()

    # --- one attempt ----------------------------------------------------------------------------------

    async def _take(self, deliveries: Sequence[Delivery], item: Subscription, url: str, lane: _Lane) -> None:
        try:
            if deliveries[0].state is State.DEAD_LETTERING:
                await self._dead_letter(deliveries[0], item)
                return
            now, ttl = self._clock.now(), item.config.ttl_minutes
            late = [delivery for delivery in deliveries if retry.expired(delivery.published, now, ttl)]
            for delivery in late:
                state, due = self._given_up(item)
                self._store.move(delivery, state, due, "TimeToLiveExceeded")
            if in_time := [delivery for delivery in deliveries if delivery not in late]:
                await self._attempt(in_time, item, url, lane)
        except Exception:
            # A fault of ours must not lose the event, nor be tried again without a pause.
            logger.exception("delivery %s to %s", deliveries[0].number, item.key)
            for delivery in deliveries:
                self._store.move(delivery, delivery.state, self._clock.now() + _CONTAINER_AGAIN, delivery.reason)

    async def _attempt(self, deliveries: Sequence[Delivery], item: Subscription, url: str, lane: _Lane) -> None:
        outcome = await self._webhooks.deliver(url, item.config, deliveries)
        if self._faults.takes(item.key, "duplicate"):
            again = await self._webhooks.deliver(url, item.config, deliveries)
            self._store.repeated(deliveries, again, self._clock.now())
        if outcome.status is not None and self._faults.takes(item.key, "drop_ack"):
            outcome = _LOST
        now = self._clock.now()
        if item.config.delayed_delivery:
            lane.health.saw(outcome, now)
        self._store.attempted(deliveries, outcome, now, lambda delivery: self._then(delivery, outcome, item, now))

    def _then(self, delivery: Delivery, outcome: retry.Outcome, item: Subscription, now: datetime) -> tuple[State, datetime, str]:
        """The state that an attempt leads to, when something is due again, and why it was given up."""
        if outcome.delivered:
            return State.DELIVERED, now, ""
        config, attempts = item.config, delivery.attempts + 1
        match retry.after(outcome, attempts, config.max_attempts, now,
                          retry.spread(config.retry_jitter, config.seed, delivery.number, attempts)):
            case retry.Again(at):
                return State.PENDING, at, ""
            case retry.GiveUp(reason):
                return *self._given_up(item), reason

    def _given_up(self, item: Subscription) -> tuple[State, datetime]:
        if not item.config.dead_letter:
            return State.DROPPED, self._clock.now()
        return State.DEAD_LETTERING, self._clock.now() + self._dead_letter_delay

    async def _dead_letter(self, delivery: Delivery, item: Subscription) -> None:
        try:
            await asyncio.to_thread(self._dead_letters.write, delivery, item.config)
        except Exception as error:
            now = self._clock.now()
            lost = now - (delivery.attempted or delivery.published) > _CONTAINER_GIVEN_UP + self._dead_letter_delay
            logger.warning("the dead letter of delivery %s could not be written: %s", delivery.number, error)
            self._store.move(delivery, State.DROPPED if lost else State.DEAD_LETTERING, now + _CONTAINER_AGAIN, delivery.reason)
        else:
            self._store.move(delivery, State.DEAD_LETTERED, delivery.due, delivery.reason)
