"""From publishing to the subscriber's door, in virtual time, over real HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from emulator.event_grid.topics import UnknownTopic
from tests.support.event_grid import WORKSPACE, LocalEventGrid, event
from tests.support.subscriber import Subscriber, subscriber, until

TOPIC = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.EventGrid/topics/alerts"
CLOUD = {"specversion": "1.0", "id": "c1", "source": "/monitor", "type": "Drift", "data": {"n": 1}, "region": "west"}


async def test_an_event_arrives_alone_with_azures_headers(grid: LocalEventGrid, webhook: Subscriber) -> None:
    grid.subscribe()
    await grid.start()
    grid.publish("a")
    delivered = await grid.ended("delivered")
    assert webhook.notifications == [{**event("a"), "topic": TOPIC, "metadataVersion": "1"}]
    headers = webhook.headers[0]
    assert headers["aeg-event-type"] == "Notification"
    assert headers["aeg-subscription-name"] == "ALL"
    assert headers["aeg-delivery-count"] == "0"
    assert headers["aeg-data-version"] == "1"
    assert headers["content-type"] == "application/json; charset=utf-8"
    assert delivered["history"][0]["status"] == 200


async def test_each_event_of_a_batch_is_a_delivery_of_its_own(grid: LocalEventGrid, webhook: Subscriber) -> None:
    grid.subscribe()
    await grid.start()
    grid.publish(*(f"e{n}" for n in range(50)))
    await until(lambda: len(webhook.notifications) == 50)
    assert sorted(webhook.ids) == sorted(f"e{n}" for n in range(50))


async def test_filters_and_topics_choose_the_subscriptions(grid: LocalEventGrid, webhook: Subscriber) -> None:
    grid.subscribe("drift", event_types=("drift",))
    grid.subscribe("models", topics=("workspaces",), event_types=("ModelRegistered",))
    grid.subscribe("of-dev", topics=("dev",))
    await grid.start()
    grid.publish("to-custom")
    grid.publish("to-workspace", topic=WORKSPACE.upper())
    with pytest.raises(UnknownTopic):
        grid.publish("elsewhere", topic=WORKSPACE.replace("/dev", "/other"))
    await until(lambda: len(webhook.notifications) == 2)
    assert {(d["subscription"], d["eventId"]) for d in await grid.deliveries()} == {("drift", "to-custom"), ("of-dev", "to-workspace")}


async def test_a_failed_attempt_is_repeated_when_its_time_has_come(grid: LocalEventGrid, webhook: Subscriber) -> None:
    webhook.answers = [500, 503]
    grid.subscribe()
    await grid.start()
    grid.publish("a")
    await grid.attempted(1)
    grid.clock.advance(10)
    again = await grid.attempted(2)
    assert [item["status"] for item in again["history"]] == [500, 503]
    grid.clock.advance(29)
    assert (await grid.deliveries())[-1]["attempts"] == 2
    grid.clock.advance(2)
    delivered = await grid.ended("delivered")
    assert delivered["attempts"] == 3
    assert webhook.ids == ["a", "a", "a"]
    assert [headers["aeg-delivery-count"] for headers in webhook.headers] == ["0", "1", "2"]


async def test_a_subscriber_that_is_away_is_tried_again(grid: LocalEventGrid) -> None:
    async with subscriber() as gone:
        grid.webhook = gone
    grid.subscribe()
    await grid.start()
    grid.publish("a")
    assert (await grid.attempted(1))["outcome"] == "SocketError"
    async with subscriber() as back:
        grid.webhook = back
        grid.clock.advance(10)
        await grid.ended("delivered")
        assert back.ids == ["a"]


async def test_an_app_that_is_not_up_costs_no_attempt(grid: LocalEventGrid, webhook: Subscriber) -> None:
    grid.app_is_up = False
    grid.subscribe()
    grid.subscribe("other", function=None, endpoint=webhook.url)
    await grid.start()
    grid.publish("a")
    await grid.ended("delivered", "other")
    assert (await grid.deliveries(subscription="all"))[-1]["attempts"] == 0
    grid.app_is_up = True
    grid.service.wake()
    assert (await grid.ended("delivered"))["attempts"] == 1


async def test_a_slow_subscriber_keeps_no_other_waiting(grid: LocalEventGrid, webhook: Subscriber) -> None:
    async with subscriber() as slow:
        slow.pause = asyncio.Event()
        grid.subscribe("slow", function=None, endpoint=slow.url)
        grid.subscribe()
        await grid.start()
        grid.publish(*(f"e{n}" for n in range(30)))
        await until(lambda: len(webhook.notifications) == 30 and slow.waiting == 8)
        assert slow.notifications == []
        slow.pause.set()
        await until(lambda: len(slow.notifications) == 30)


class TestHandshake:
    async def test_events_wait_for_it(self, grid: LocalEventGrid, webhook: Subscriber) -> None:
        webhook.shakes_hands = False
        grid.subscribe()
        await grid.start()
        grid.publish("a")
        assert (await grid.attempted(1))["outcome"] == "AwaitingManualAction"
        assert webhook.notifications == []
        webhook.shakes_hands = True
        grid.clock.advance(10)
        await grid.ended("delivered")

    async def test_it_is_done_once(self, grid: LocalEventGrid, webhook: Subscriber) -> None:
        grid.subscribe()
        await grid.start()
        grid.publish("a")
        await grid.ended("delivered")
        grid.publish("b")
        await until(lambda: webhook.ids == ["a", "b"])
        assert len(webhook.handshakes) == 1

    async def test_a_person_can_do_it(self, grid: LocalEventGrid, webhook: Subscriber) -> None:
        webhook.shakes_hands = False
        grid.subscribe()
        await grid.start()
        grid.publish("a")
        await grid.attempted(1)
        assert (await grid.http.get(webhook.handshakes[0]["validationUrl"])).status_code == 200
        grid.clock.advance(10)
        await grid.ended("delivered")
        assert len(webhook.handshakes) == 1
        assert (await grid.http.get("/_emulator/eventgrid/validate/nonsense")).status_code == 404

    async def test_that_of_cloud_events_echoes_the_origin(self, grid: LocalEventGrid, webhook: Subscriber) -> None:
        grid.subscribe(delivery_schema="CloudEventSchemaV1_0")
        await grid.start()
        grid.service.publish("alerts", [CLOUD])
        await grid.ended("delivered")
        assert webhook.handshakes[0]["webhook-request-origin"] == "eventgrid.azure.net"
        assert webhook.notifications == [CLOUD]
        assert webhook.headers[0]["content-type"] == "application/cloudevents+json; charset=utf-8"


class TestGivingUp:
    @pytest.mark.parametrize(("status", "word"), [(400, "BadRequest"), (401, "Unauthorized"), (403, "Forbidden")])
    async def test_some_answers_lead_straight_to_the_dead_letters(self, grid: LocalEventGrid, webhook: Subscriber, status: int,
                                                                  word: str) -> None:
        webhook.answers = [status]
        grid.subscribe()
        await grid.start()
        grid.publish("a")
        item = await grid.ended("dead_lettered")
        ((name, letter),) = grid.dead_letters().items()
        published, attempted = letter.pop("publishTime"), letter.pop("lastDeliveryAttemptTime")
        assert published == item["published"]
        assert attempted == item["history"][0]["at"]
        assert letter == {**event("a"), "topic": TOPIC, "metadataVersion": "1", "deadLetterReason": f"UndeliverableDueToHttp{word}",
                          "deliveryAttempts": 1, "lastDeliveryOutcome": word, "lastHttpStatusCode": status}
        topic, subscription, *when, file = name.split("/")
        assert (topic, subscription) == ("alerts", "ALL")
        assert "-".join(when[:3]) + "T" + when[3] == attempted[:13]
        assert file.endswith(".json")

    async def test_the_last_attempt_is_the_last(self, grid: LocalEventGrid, webhook: Subscriber) -> None:
        webhook.answers = [500, 500]
        grid.subscribe(max_attempts=2)
        await grid.start()
        grid.publish("a")
        await grid.attempted(1)
        grid.clock.advance(10)
        await grid.ended("dead_lettered")
        (letter,) = grid.dead_letters().values()
        assert (letter["deadLetterReason"], letter["deliveryAttempts"]) == ("MaxDeliveryAttemptsExceeded", 2)
        assert len(webhook.notifications) == 2

    async def test_the_time_to_live_is_looked_at_when_an_attempt_is_due(self, grid: LocalEventGrid, webhook: Subscriber) -> None:
        webhook.answers = [404]
        grid.subscribe(ttl_minutes=1)
        await grid.start()
        grid.publish("a")
        await grid.attempted(1)
        grid.clock.advance(240)
        assert (await grid.deliveries())[-1]["state"] == "pending"
        grid.clock.advance(60)
        await grid.ended("dead_lettered")
        (letter,) = grid.dead_letters().values()
        assert letter["deadLetterReason"] == "TimeToLiveExceeded"
        assert letter["lastDeliveryOutcome"] == "NotFound"
        assert len(webhook.notifications) == 1

    async def test_a_dead_letter_takes_azures_five_minutes(self, tmp_path: Path, webhook: Subscriber) -> None:
        grid = LocalEventGrid(tmp_path, webhook, delay=300)
        webhook.answers = [400]
        grid.subscribe()
        await grid.start()
        grid.publish("a")
        await grid.ended("dead_lettering")
        assert grid.dead_letters() == {}
        grid.clock.advance(300)
        await grid.ended("dead_lettered")
        assert len(grid.dead_letters()) == 1
        await grid.stop()

    async def test_without_dead_letters_it_is_dropped(self, grid: LocalEventGrid, webhook: Subscriber) -> None:
        webhook.answers = [400]
        grid.subscribe(dead_letter=False)
        await grid.start()
        grid.publish("a")
        assert (await grid.ended("dropped"))["reason"] == "UndeliverableDueToHttpBadRequest"
        assert grid.dead_letters() == {}

    async def test_a_cloud_events_dead_letter_is_a_cloud_event(self, grid: LocalEventGrid, webhook: Subscriber) -> None:
        webhook.answers = [400]
        grid.subscribe(delivery_schema="CloudEventSchemaV1_0")
        await grid.start()
        grid.service.publish("alerts", [CLOUD])
        await grid.ended("dead_lettered")
        (letter,) = grid.dead_letters().values()
        assert CLOUD.items() <= letter.items()
        assert letter["deadletterreason"] == "UndeliverableDueToHttpBadRequest"

    async def test_a_container_that_is_away_is_tried_for_four_hours(self, grid: LocalEventGrid, webhook: Subscriber,
                                                                    caplog: pytest.LogCaptureFixture) -> None:
        webhook.answers = [400, 400]
        grid.storage = Unreachable()  # type: ignore[assignment]
        grid.subscribe()
        await grid.start()
        grid.publish("a")
        await until(lambda: "could not be written" in caplog.text)
        assert (await grid.deliveries())[-1]["state"] == "dead_lettering"
        grid.clock.advance(4 * 3600 + 61)
        await grid.ended("dropped")


class Unreachable:
    def ensure_container(self, account: str, container: str) -> None:
        raise ConnectionError("storage is away")


class TestRestart:
    async def test_what_was_accepted_is_delivered_by_the_next_process(self, tmp_path: Path, webhook: Subscriber) -> None:
        first = LocalEventGrid(tmp_path, webhook)
        first.app_is_up = False
        first.subscribe()
        await first.start()
        first.publish("a", "b")
        await first.stop()
        second = LocalEventGrid(tmp_path, webhook)
        second.subscribe()
        await second.start()
        await until(lambda: sorted(webhook.ids) == ["a", "b"])
        await second.stop()

    async def test_attempts_go_on_being_counted_and_hands_stay_shaken(self, tmp_path: Path, webhook: Subscriber) -> None:
        webhook.answers = [500]
        first = LocalEventGrid(tmp_path, webhook)
        first.subscribe()
        await first.start()
        first.publish("a")
        await first.attempted(1)
        await first.stop()
        second = LocalEventGrid(tmp_path, webhook)
        second.subscribe()
        await second.start()
        second.clock.advance(10)
        assert (await second.ended("delivered"))["attempts"] == 2
        assert len(webhook.handshakes) == 1
        await second.stop()

    async def test_an_attempt_that_was_cut_off_is_made_again(self, tmp_path: Path, webhook: Subscriber) -> None:
        first = LocalEventGrid(tmp_path, webhook)
        first.subscribe()
        await first.start()
        webhook.pause = asyncio.Event()
        first.publish("a")
        await until(lambda: webhook.waiting == 1)
        await first.stop()
        webhook.pause.set()
        second = LocalEventGrid(tmp_path, webhook)
        second.subscribe()
        await second.start()
        await second.ended("delivered")
        assert set(webhook.ids) == {"a"}
        await second.stop()

    async def test_subscriptions_that_are_no_more_drop_what_they_had(self, tmp_path: Path, webhook: Subscriber) -> None:
        first = LocalEventGrid(tmp_path, webhook)
        first.app_is_up = False
        first.subscribe()
        await first.start()
        first.publish("a")
        await first.stop()
        second = LocalEventGrid(tmp_path, webhook)
        await second.start()
        (item,) = await second.deliveries()
        assert (item["state"], item["reason"]) == ("dropped", "SubscriptionDeleted")
        await second.stop()


async def test_the_history_can_be_narrowed(grid: LocalEventGrid, webhook: Subscriber) -> None:
    webhook.answers = [400]
    grid.subscribe()
    await grid.start()
    grid.publish("a")
    await grid.ended("dead_lettered")
    grid.publish("b")
    await grid.ended("delivered")

    async def ids(**query: Any) -> list[str]:
        return [item["eventId"] for item in await grid.deliveries(**query)]

    assert await ids() == ["a", "b"]
    assert await ids(state="delivered") == ["b"]
    assert await ids(event="a") == ["a"]
    assert await ids(subscription="none") == []
