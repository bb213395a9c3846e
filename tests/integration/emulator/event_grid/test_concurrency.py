"""Sixteen threads publish at once through the real client: nothing is lost, nothing is doubled."""

from __future__ import annotations

import asyncio
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.eventgrid import EventGridEvent, EventGridPublisherClient

from tests.support.platform import LivePlatform, wait_for
from tests.unit.emulator.event_grid.endpoint import endpoint

pytestmark = pytest.mark.xdist_group("sdk")
THREADS, REQUESTS, BATCH = 16, 10, 3


async def test_what_each_thread_publishes_is_stored_and_delivered_once(as_ada: LivePlatform) -> None:
    name = f"crowd{uuid4().hex[:8]}"
    credential, address = AzureKeyCredential(as_ada.env["EVENTGRID_TOPIC_KEY"]), as_ada.env["EVENTGRID_TOPIC_ENDPOINT"]

    def publish(thread: int) -> list[str]:
        client = EventGridPublisherClient(address, credential, retry_total=0)
        ids = []
        for request in range(REQUESTS):
            events = [EventGridEvent(subject="s", event_type=name, data={}, data_version="1", id=f"{name}-{thread}-{request}-{number}")
                      for number in range(BATCH)]
            client.send(events)
            ids += [str(event.id) for event in events]
        return ids

    async with endpoint() as webhook:
        body = {"topics": ["drift-alerts"], "endpoint": webhook.url, "event_types": [name], "max_events_per_batch": 20}
        await asyncio.to_thread(lambda: as_ada.control("PUT", f"/eventgrid/subscriptions/{name}", json=body))
        with ThreadPoolExecutor(THREADS) as pool:
            sent = [event for ids in await asyncio.gather(*(
                asyncio.get_running_loop().run_in_executor(pool, publish, thread) for thread in range(THREADS))) for event in ids]

        def all_delivered() -> list[dict[str, Any]] | None:
            items = as_ada.control("GET", "/eventgrid/deliveries", params={"subscription": name})["items"]
            return items if all(item["state"] == "delivered" for item in items) else None

        items = await asyncio.to_thread(wait_for, "every delivery", all_delivered)
        assert Counter(item["eventId"] for item in items) == Counter(sent)
        assert Counter(webhook.ids) == Counter(sent)
        metrics = (await asyncio.to_thread(lambda: as_ada.control("GET", "/eventgrid/metrics")))["subscriptions"][name]
        assert (metrics["MatchedEventCount"], metrics["DeliverySuccessCount"]) == (len(sent), len(sent))
        await asyncio.to_thread(lambda: as_ada.control("DELETE", f"/eventgrid/subscriptions/{name}"))
