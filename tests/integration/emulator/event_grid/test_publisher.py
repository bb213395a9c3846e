"""The unmodified azure-eventgrid client against the custom topic, and workspaces' own events.

The SDKs block, and the subscriber that gets the events lives on the test's event loop: hence the threads.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from azure.core.credentials import AzureKeyCredential, AzureSasCredential
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.core.messaging import CloudEvent
from azure.eventgrid import EventGridEvent, EventGridPublisherClient, generate_sas
from azure.identity import DefaultAzureCredential
from azure.storage.blob import ContainerClient

from tests.support.platform import LivePlatform, wait_for
from tests.support.subscriber import until
from tests.unit.emulator.event_grid.endpoint import Endpoint, endpoint

pytestmark = pytest.mark.xdist_group("sdk")
REGISTERED = "Microsoft.MachineLearningServices.ModelRegistered"


class Subscription:
    """One that is made for a test, and the subscriber behind it."""

    def __init__(self, platform: LivePlatform, subscriber: Endpoint) -> None:
        self.platform, self.subscriber, self.name = platform, subscriber, f"s{uuid4().hex[:12]}"

    def make(self, topic: str = "drift-alerts", **rest: Any) -> None:
        body = {"topics": [topic], "endpoint": self.subscriber.url, **rest}
        self.platform.control("PUT", f"/eventgrid/subscriptions/{self.name}", json=body)

    def remove(self) -> None:
        self.platform.control("DELETE", f"/eventgrid/subscriptions/{self.name}")

    def deliveries(self) -> list[dict[str, Any]]:
        return list(self.platform.control("GET", "/eventgrid/deliveries", params={"subscription": self.name})["items"])


@pytest.fixture
async def subscription(as_ada: LivePlatform) -> AsyncIterator[Subscription]:
    async with endpoint() as found:
        made = Subscription(as_ada, found)
        yield made
        made.remove()


def client(platform: LivePlatform, credential: Any) -> EventGridPublisherClient:
    return EventGridPublisherClient(platform.env["EVENTGRID_TOPIC_ENDPOINT"], credential, retry_total=0)


def credentials(platform: LivePlatform) -> dict[str, Any]:
    endpoint, key = platform.env["EVENTGRID_TOPIC_ENDPOINT"], platform.env["EVENTGRID_TOPIC_KEY"]
    return {"key": AzureKeyCredential(key), "token": DefaultAzureCredential(),
            "signature": AzureSasCredential(generate_sas(endpoint, key, datetime.now(UTC) + timedelta(hours=1)))}


def arm_group(platform: LivePlatform) -> str:
    return f"/subscriptions/{platform.env['AZURE_SUBSCRIPTION_ID']}/resourceGroups/{platform.env['AZURE_RESOURCE_GROUP']}/providers"


def event(**data: Any) -> EventGridEvent:
    return EventGridEvent(subject="endpoints/air-time", event_type="Pilotage.Drift", data=data, data_version="1.0")


@pytest.mark.parametrize("kind", ["key", "signature", "token"])
async def test_an_event_is_published_with_each_credential(subscription: Subscription, kind: str) -> None:
    await asyncio.to_thread(subscription.make)
    sent = event(score=0.4)
    publisher = client(subscription.platform, credentials(subscription.platform)[kind])
    await asyncio.to_thread(lambda: publisher.send(sent))
    await until(lambda: subscription.subscriber.notifications)
    (received,) = subscription.subscriber.notifications
    assert (received["id"], received["data"], received["topic"]) == (
        str(sent.id), {"score": 0.4}, f"{arm_group(subscription.platform)}/Microsoft.EventGrid/topics/drift-alerts")


async def test_cloud_events_and_batches(subscription: Subscription) -> None:
    await asyncio.to_thread(lambda: subscription.make(delivery_schema="CloudEventSchemaV1_0"))
    sent = [CloudEvent("/monitors/m", "Pilotage.Drift", data={"n": n}, extensions={"region": "west"}) for n in range(20)]
    publisher = client(subscription.platform, credentials(subscription.platform)["key"])
    await asyncio.to_thread(lambda: publisher.send(sent))
    await until(lambda: len(subscription.subscriber.notifications) == 20)
    received = {item["id"]: item for item in subscription.subscriber.notifications}
    assert {item.id for item in sent} == set(received)
    assert received[sent[7].id]["data"] == {"n": 7}
    assert received[sent[7].id]["region"] == "west"


async def test_an_event_grid_subscription_gets_cloud_events_in_its_own_schema(subscription: Subscription) -> None:
    await asyncio.to_thread(lambda: subscription.make(event_types=["Pilotage.Drift"]))
    publisher = client(subscription.platform, credentials(subscription.platform)["key"])
    await asyncio.to_thread(lambda: publisher.send([CloudEvent("/m", "Other"), CloudEvent("/m", "Pilotage.Drift", subject="s", data=[1])]))
    await until(lambda: subscription.subscriber.notifications)
    (received,) = subscription.subscriber.notifications
    assert (received["eventType"], received["subject"], received["data"]) == ("Pilotage.Drift", "s", [1])


async def test_a_wrong_key_is_refused(as_ada: LivePlatform) -> None:
    with pytest.raises(ClientAuthenticationError):
        client(as_ada, AzureKeyCredential("bm8=")).send(event())


async def test_an_event_that_is_too_large_is_refused(as_ada: LivePlatform) -> None:
    with pytest.raises(HttpResponseError) as refused:
        client(as_ada, credentials(as_ada)["key"]).send(event(text="x" * 1024 * 1024))
    assert refused.value.status_code == 413


async def test_what_a_subscriber_does_not_want_ends_as_a_blob(subscription: Subscription) -> None:
    await asyncio.to_thread(subscription.make)
    subscription.subscriber.answers = [500, 403]
    sent = event(score=1)
    publisher = client(subscription.platform, credentials(subscription.platform)["key"])
    await asyncio.to_thread(lambda: publisher.send(sent))

    def state(wanted: str, attempts: int) -> Any:
        return lambda: next((item for item in subscription.deliveries() if item["state"] == wanted and item["attempts"] == attempts), None)

    await asyncio.to_thread(lambda: wait_for("the first attempt", state("pending", 1)))
    await asyncio.to_thread(lambda: subscription.platform.advance("PT10S"))
    await asyncio.to_thread(lambda: wait_for("the dead letter", state("dead_lettered", 2)))

    container = ContainerClient(subscription.platform.env["PILOTAGE_LEDGER_BLOB_URL"], "event-grid-dead-letters", DefaultAzureCredential())
    prefix = f"drift-alerts/{subscription.name.upper()}/"
    (name,) = await asyncio.to_thread(lambda: list(container.list_blob_names(name_starts_with=prefix)))
    (letter,) = json.loads(await asyncio.to_thread(lambda: container.download_blob(name).readall()))
    assert (letter["id"], letter["data"], letter["deadLetterReason"]) == (str(sent.id), {"score": 1}, "UndeliverableDueToHttpForbidden")
    assert (letter["deliveryAttempts"], letter["lastDeliveryOutcome"], letter["lastHttpStatusCode"]) == (2, "Forbidden", 403)


async def test_registering_a_model_through_the_sdk_is_an_event_of_its_workspace(subscription: Subscription) -> None:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import Model

    env = subscription.platform.env
    await asyncio.to_thread(lambda: subscription.make("mlw-dev", event_types=[REGISTERED]))
    name = f"m-{uuid4().hex[:8]}"

    def register() -> None:
        ml = MLClient(DefaultAzureCredential(), env["AZURE_SUBSCRIPTION_ID"], env["AZURE_RESOURCE_GROUP"], "mlw-dev")
        ml.models.create_or_update(Model(name=name, version="3", path="azureml://datastores/workspaceblobstore/paths/x", tags={"a": "b"}))

    await asyncio.to_thread(register)
    await until(lambda: any(item["subject"] == f"models/{name}:3" for item in subscription.subscriber.notifications))
    received = next(item for item in subscription.subscriber.notifications if name in item["subject"])
    assert received["eventType"] == REGISTERED
    assert received["topic"].endswith("/workspaces/mlw-dev")
    assert received["data"]["ModelName"] == name
