"""Delivery: at least once, unordered, with Azure's retry table in virtual time, then the dead-letter container.

Source: "Event Grid message delivery and retry" of the Azure documentation. 200 to 204 is success; 400, 413, 401 and 403
are not retried; everything else, silence included, is tried again until the attempts or the time to live are used up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import httpx

from emulator.config import SubscriptionConfig
from emulator.context import Clock, Storage
from emulator.event_grid.schema import to_cloud, to_grid
from emulator.event_grid.store import Delivery, DeliveryStore

RETRY_AFTER = tuple(timedelta(seconds=s) for s in (10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200))
ANSWER_WITHIN = 30.0
"""Seconds that an endpoint has to answer; real time."""
NOT_RETRIED = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 413: "PayloadTooLarge"}
CONCURRENCY = 16


class Deliverer:
    """Sends what is due and sleeps until the next is: nothing runs while nothing is due."""

    def __init__(self, store: DeliveryStore, clock: Clock, storage: Storage, account: str, container: str,
                 find: Callable[[str], SubscriptionConfig | None], endpoint: Callable[[SubscriptionConfig], str | None]) -> None:
        self._store, self._clock, self._storage = store, clock, storage
        self._account, self._container = account, container
        self._find, self._endpoint = find, endpoint
        self._wake = asyncio.Event()
        self._validated: set[str] = set()
        self._busy: dict[int, asyncio.Task[None]] = {}
        self._http = httpx.AsyncClient(timeout=ANSWER_WITHIN, trust_env=False)
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="event-grid")

    async def stop(self) -> None:
        tasks = [task for task in (self._task, *self._busy.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._http.aclose()

    def wake(self) -> None:
        """Something was published, or an endpoint has appeared."""
        self._wake.set()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            for delivery in self._store.due(self._clock.now(), set(self._busy), CONCURRENCY - len(self._busy)):
                task = loop.create_task(self._attempt(delivery))
                self._busy[delivery.number] = task
                task.add_done_callback(partial(self._over, delivery.number))
            if len(self._busy) >= CONCURRENCY:
                await self._wake.wait()
                continue
            due = self._store.next_due(set(self._busy))
            if due is None:
                await self._wake.wait()
                continue
            waits = [loop.create_task(self._wake.wait()), loop.create_task(self._clock.sleep_until(due))]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for wait in waits:
                    wait.cancel()

    def _over(self, number: int, _: asyncio.Task[None]) -> None:
        self._busy.pop(number, None)
        self._wake.set()

    async def _attempt(self, delivery: Delivery) -> None:
        subscription = self._find(delivery.subscription)
        now = self._clock.now()
        if subscription is None:
            self._store.settle(delivery.number, state="dropped", outcome="SubscriptionDeleted", status=None, attempted=now)
            return
        status, outcome = await self._send(subscription, delivery)
        attempts = delivery.attempts + 1
        if status is not None and 200 <= status <= 204:
            self._store.settle(delivery.number, state="delivered", outcome="Success", status=status, attempted=now)
            return
        reason = NOT_RETRIED.get(status or 0)
        if reason is None and attempts >= subscription.max_attempts:
            reason = "MaxDeliveryAttemptsExceeded"
        due = now + RETRY_AFTER[min(attempts - 1, len(RETRY_AFTER) - 1)]
        if reason is None and due - delivery.published > timedelta(minutes=subscription.ttl_minutes):
            reason = "TimeToLiveExceeded"
        if reason is None:
            self._store.settle(delivery.number, state="pending", outcome=outcome, status=status, attempted=now, due=due)
            return
        await asyncio.to_thread(self._dead_letter, delivery, subscription, reason, outcome, attempts, now)
        self._store.settle(delivery.number, state="dead_lettered", outcome=reason, status=status, attempted=now)

    async def _send(self, subscription: SubscriptionConfig, delivery: Delivery) -> tuple[int | None, str]:
        url = self._endpoint(subscription)
        if url is None:
            return None, "EndpointUnavailable"
        try:
            if url not in self._validated and not await self._validate(url, subscription):
                return None, "ValidationFailed"
            self._validated.add(url)
            if subscription.delivery_schema == "CloudEventSchemaV1_0":
                headers = {"content-type": "application/cloudevents-batch+json; charset=utf-8"}
                body: Any = [to_cloud(delivery.event)]
            else:
                headers = {"content-type": "application/json; charset=utf-8"}
                body = [to_grid(delivery.event)]
            headers |= {"aeg-event-type": "Notification", "aeg-subscription-name": subscription.name.upper(),
                        "aeg-delivery-count": str(delivery.attempts)}
            answer = await self._http.post(url, content=json.dumps(body), headers=headers)
        except httpx.TimeoutException:
            return None, "TimedOut"
        except httpx.HTTPError:
            return None, "EndpointUnavailable"
        return answer.status_code, f"Http{answer.status_code}"

    async def _validate(self, url: str, subscription: SubscriptionConfig) -> bool:
        """The handshake: an endpoint gets events only once it has shown that it wants them."""
        if subscription.delivery_schema == "CloudEventSchemaV1_0":
            answer = await self._http.options(url, headers={"WebHook-Request-Origin": "eventgrid.azure.net"})
            return answer.headers.get("WebHook-Allowed-Origin") in ("*", "eventgrid.azure.net")
        code = str(uuid.uuid4()).upper()
        event = {"id": str(uuid.uuid4()), "topic": "", "subject": "", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
                 "eventTime": self._clock.now().isoformat(), "data": {"validationCode": code}, "dataVersion": "2", "metadataVersion": "1"}
        answer = await self._http.post(url, json=[event], headers={"aeg-event-type": "SubscriptionValidation"})
        if answer.status_code != 200:
            return False
        with contextlib.suppress(ValueError, AttributeError):
            return answer.json().get("validationResponse") == code
        return False

    def _dead_letter(self, delivery: Delivery, subscription: SubscriptionConfig, reason: str, outcome: str, attempts: int,
                     now: datetime) -> None:
        """Azure's layout: {topic}/{SUBSCRIPTION}/{yyyy}/{MM}/{dd}/{HH}/{guid}.json, an array of events with what became of them."""
        topic = delivery.topic.rsplit("/", 1)[-1]
        name = f"{topic}/{subscription.name.upper()}/{now:%Y/%m/%d/%H}/{uuid.uuid5(uuid.NAMESPACE_OID, str(delivery.number))}.json"
        entry = {**to_grid(delivery.event), "deadLetterReason": reason, "deliveryAttempts": attempts, "lastDeliveryOutcome": outcome,
                 "publishTime": delivery.published.isoformat(), "lastDeliveryAttemptTime": now.isoformat()}
        self._storage.ensure_container(self._account, self._container)
        self._storage.write(self._account, self._container, name, json.dumps([entry]).encode())
