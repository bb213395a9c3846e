"""Event Grid in this process, on a clock that can be moved and a storage that is a dictionary."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import certifi
import httpx
from starlette.applications import Starlette

from emulator.clock import VirtualClock
from emulator.config import PlatformConfig, SubscriptionConfig, TopicConfig, WorkspaceConfig
from emulator.event_grid import EventGrid
from tests.support.azure_ml import People
from tests.support.subscriber import DEADLINE, Subscriber
from tests.support.workbench import MemoryStorage

WORKSPACE = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.MachineLearningServices/workspaces/dev"
FUNCTION = "on_event"
BASE_URL = "https://localhost:1"


class LocalEventGrid:
    """The service and what surrounds it. `app_is_up` says whether the app's function can be reached."""

    def __init__(self, state: Path, webhook: Subscriber, *, delay: int = 0) -> None:
        self._state, self.webhook, self._delay = state, webhook, delay
        self.subscriptions: list[SubscriptionConfig] = []
        self.clock = VirtualClock(state / "clock.json")
        self.storage = MemoryStorage()
        self.app_is_up = True

    def subscribe(self, name: str = "all", topics: tuple[str, ...] = ("alerts",), **rest: Any) -> None:
        """What platform.yaml would say; before `start`."""
        rest.setdefault("function", FUNCTION)
        self.subscriptions.append(SubscriptionConfig(name=name, topics=topics, **rest))

    async def start(self) -> None:
        config = PlatformConfig(
            tenant="t", subscription="s", resource_group="rg", location="l", workspaces=(WorkspaceConfig(name="dev", account="stdev"),),
            registries=(), ledger_account="stledger", identities=(), app_identity="", job_identity="",
            topics=(TopicConfig(name="alerts"), TopicConfig(name="grid", schema="EventGridSchema"),
                    TopicConfig(name="cloud", schema="CloudEventSchemaV1_0")),
            subscriptions=tuple(self.subscriptions), dead_letter_delay_seconds=self._delay)
        self.service = EventGrid(config, self._state, BASE_URL, self.clock, People(), self.storage, Path(certifi.where()),
                                 lambda function: f"{self.webhook.url}?f={function}" if self.app_is_up else None)
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=self.service.routes())), base_url=BASE_URL)
        await self.service.start()

    async def stop(self) -> None:
        await self.http.aclose()
        await self.service.stop()

    def publish(self, *ids: str, topic: str = "alerts", **rest: Any) -> None:
        self.service.publish(topic, [event(name, **rest) for name in ids])

    async def deliveries(self, **query: str) -> list[dict[str, Any]]:
        return list((await self.http.get("/_emulator/eventgrid/deliveries", params=query)).json()["items"])

    async def attempted(self, attempts: int, subscription: str = "all") -> dict[str, Any]:
        """The newest delivery, once it has had so many attempts."""
        return await self._newest(subscription, lambda item: item["attempts"] >= attempts)

    async def ended(self, state: str, subscription: str = "all") -> dict[str, Any]:
        """The newest delivery, once it is in a state."""
        return await self._newest(subscription, lambda item: item["state"] == state)

    async def _newest(self, subscription: str, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        async with asyncio.timeout(DEADLINE):
            while True:
                newest = (await self.deliveries(subscription=subscription))[-1]
                if is_so(newest):
                    return newest
                await asyncio.sleep(0.005)

    def dead_letters(self) -> dict[str, dict[str, Any]]:
        """Blob name -> the dead letter in it."""
        found = {}
        for (account, container, name), data in self.storage.blobs.items():
            assert (account, container) == ("stledger", "event-grid-dead-letters")
            (found[name],) = json.loads(data)
        return found


def event(name: str, **rest: Any) -> dict[str, Any]:
    return {"id": name, "subject": "models/m:1", "eventType": "Drift", "eventTime": "2026-01-01T00:00:00Z", "data": {}, "dataVersion": "1",
            **rest}
