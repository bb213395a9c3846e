"""kill -9 between the acknowledgement of an event and its delivery, with publishers at work."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import AzureError
from azure.eventgrid import EventGridEvent, EventGridPublisherClient

from tests.support.platform import LivePlatform, wait_for
from tests.unit.emulator.event_grid.endpoint import endpoint

SEED = 20260103
THREADS, EVENTS = 4, 200


@pytest.fixture
def mortal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LivePlatform]:
    platform = LivePlatform(tmp_path / "state", functions=False).start()
    for name, value in platform.variables("ada").items():
        monkeypatch.setenv(name, value)
    yield platform
    platform.stop()


class Publishers:
    """Threads that publish until the platform is gone; `acknowledged` are the ids that were answered with success."""

    def __init__(self, platform: LivePlatform, line: str) -> None:
        self.acknowledged: list[str] = []
        self.sent: set[str] = set()
        self._key = AzureKeyCredential(platform.env["EVENTGRID_TOPIC_KEY"])
        self._endpoint = platform.env["EVENTGRID_TOPIC_ENDPOINT"]
        self._threads = [threading.Thread(target=self._publish, args=(f"{line}-{number}",)) for number in range(THREADS)]
        for thread in self._threads:
            thread.start()

    def _publish(self, line: str) -> None:
        client = EventGridPublisherClient(self._endpoint, self._key, retry_total=0)
        for number in range(EVENTS):
            event = EventGridEvent(subject="s", event_type="Kill.Test", data={}, data_version="1", id=f"{line}-{number}")
            self.sent.add(str(event.id))
            try:
                client.send(event)
            except AzureError:
                return
            self.acknowledged.append(str(event.id))

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


async def rounds(platform: LivePlatform, kills: int) -> None:
    random_ = random.Random(SEED)
    acknowledged: set[str] = set()
    sent: set[str] = set()
    async with endpoint() as webhook:
        body = {"topics": ["drift-alerts"], "endpoint": webhook.url, "event_types": ["Kill.Test"]}
        await asyncio.to_thread(lambda: platform.control("PUT", "/eventgrid/subscriptions/killed", json=body))
        for number in range(kills):
            # Until the platform is gone nothing is answered: what is acknowledged is under way, at best.
            webhook.pause = asyncio.Event()
            publishers = Publishers(platform, f"round-{number}")
            enough = random_.randint(5, 60)
            await asyncio.to_thread(wait_for, "enough acknowledged events", lambda: len(publishers.acknowledged) >= enough or None)  # noqa: B023
            platform.kill()
            webhook.pause.set()
            await asyncio.to_thread(publishers.join)
            acknowledged |= set(publishers.acknowledged)
            sent |= publishers.sent
            await asyncio.to_thread(platform.restart)

        def delivered() -> list[str] | None:
            items = platform.control("GET", "/eventgrid/deliveries", params={"subscription": "killed"})["items"]
            return [item["eventId"] for item in items] if all(item["state"] == "delivered" for item in items) else None

        stored = await asyncio.to_thread(wait_for, "every delivery", delivered)
        assert len(stored) == len(set(stored)), "doubled"
        assert acknowledged <= set(stored) <= sent, "lost, or never sent"
        assert acknowledged <= set(webhook.ids)


async def test_nothing_that_was_acknowledged_is_lost(mortal: LivePlatform) -> None:
    await rounds(mortal, kills=1)


@pytest.mark.exhaustive
async def test_nothing_is_lost_over_many_kills(mortal: LivePlatform) -> None:
    await rounds(mortal, kills=10)
