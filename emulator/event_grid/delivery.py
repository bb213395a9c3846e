"""Delivery: at least once, unordered, in virtual time. Nothing runs while nothing is due."""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from emulator.config import SubscriptionConfig
from emulator.context import Clock
from emulator.event_grid import retry
from emulator.event_grid.dead_letters import DeadLetters
from emulator.event_grid.store import Delivery, DeliveryStore, State
from emulator.event_grid.subscriptions import Subscriptions
from emulator.event_grid.webhook import Webhooks

logger = logging.getLogger(__name__)

CONCURRENCY = 8
"""Attempts at a time for one subscription: a slow endpoint must not keep others waiting."""
_CONTAINER_AGAIN = timedelta(minutes=1)
_CONTAINER_GIVEN_UP = timedelta(hours=4)
"""An event is dropped when its dead-letter container could not be reached for so long."""


class Deliverer:
    """Attempts what is due and sleeps until the next is."""

    def __init__(self, store: DeliveryStore, clock: Clock, subscriptions: Subscriptions, webhooks: Webhooks, dead_letters: DeadLetters,
                 dead_letter_delay: timedelta) -> None:
        self._store, self._clock, self._subscriptions = store, clock, subscriptions
        self._webhooks, self._dead_letters, self._dead_letter_delay = webhooks, dead_letters, dead_letter_delay
        self._wake = asyncio.Event()
        self._busy: dict[str, dict[int, asyncio.Task[None]]] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="event-grid")

    async def stop(self) -> None:
        attempts = [task for tasks in self._busy.values() for task in tasks.values()]
        tasks = attempts + ([self._task] if self._task else [])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """Something was published, or an endpoint has appeared."""
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

    def _begin(self) -> datetime | None:
        """Begin what is due; returns when something else will be."""
        times = []
        for subscription in self._subscriptions:
            url = self._subscriptions.endpoint(subscription)
            if url is None:
                continue  # its app is not up: that is no failure of an attempt
            busy = self._busy.setdefault(subscription.name, {})
            for delivery in self._store.due(subscription.name, self._clock.now(), set(busy), CONCURRENCY - len(busy)):
                task = asyncio.get_running_loop().create_task(self._take(delivery, subscription, url))
                busy[delivery.number] = task
                task.add_done_callback(partial(self._over, subscription.name, delivery.number))
            if len(busy) < CONCURRENCY and (next_due := self._store.next_due(subscription.name, set(busy))) is not None:
                times.append(next_due)
        return min(times, default=None)

    def _over(self, subscription: str, number: int, _: asyncio.Task[None]) -> None:
        del self._busy[subscription][number]
        self._wake.set()

    async def _take(self, delivery: Delivery, subscription: SubscriptionConfig, url: str) -> None:
        try:
            if delivery.state is State.DEAD_LETTERING:
                await self._dead_letter(delivery, subscription)
            elif retry.expired(delivery.published, self._clock.now(), subscription.ttl_minutes):
                state, due = self._given_up(subscription)
                self._store.move(delivery.number, state, due, "TimeToLiveExceeded")
            else:
                await self._attempt(delivery, subscription, url)
        except Exception:
            # A fault of ours must not lose the event, nor be tried again without a pause.
            logger.exception("delivery %s to %s", delivery.number, subscription.name)
            self._store.move(delivery.number, delivery.state, self._clock.now() + _CONTAINER_AGAIN, delivery.reason)

    async def _attempt(self, delivery: Delivery, subscription: SubscriptionConfig, url: str) -> None:
        outcome = await self._webhooks.deliver(url, subscription, delivery)
        now = self._clock.now()
        if outcome.delivered:
            self._store.attempted(delivery.number, outcome, now, State.DELIVERED, now)
            return
        match retry.after(outcome, delivery.attempts + 1, subscription.max_attempts, now):
            case retry.Again(at):
                self._store.attempted(delivery.number, outcome, now, State.PENDING, at)
            case retry.GiveUp(reason):
                state, due = self._given_up(subscription)
                self._store.attempted(delivery.number, outcome, now, state, due, reason)

    def _given_up(self, subscription: SubscriptionConfig) -> tuple[State, datetime]:
        if not subscription.dead_letter:
            return State.DROPPED, self._clock.now()
        return State.DEAD_LETTERING, self._clock.now() + self._dead_letter_delay

    async def _dead_letter(self, delivery: Delivery, subscription: SubscriptionConfig) -> None:
        try:
            await asyncio.to_thread(self._dead_letters.write, delivery, subscription)
        except Exception as error:
            now = self._clock.now()
            lost = now - (delivery.attempted or delivery.published) > _CONTAINER_GIVEN_UP + self._dead_letter_delay
            logger.warning("the dead letter of delivery %s could not be written: %s", delivery.number, error)
            self._store.move(delivery.number, State.DROPPED if lost else State.DEAD_LETTERING, now + _CONTAINER_AGAIN, delivery.reason)
        else:
            self._store.move(delivery.number, State.DEAD_LETTERED, delivery.due, delivery.reason)
