"""Counts as Azure Monitor names them: of what was published, and of what became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.event_grid import LocalEventGrid, event
from tests.unit.emulator.event_grid.endpoint import Endpoint


async def metrics(grid: LocalEventGrid) -> dict[str, Any]:
    return dict((await grid.http.get("/_emulator/eventgrid/metrics")).json())


async def test_a_topics(grid: LocalEventGrid, webhook: Endpoint) -> None:
    grid.subscribe(event_types=("Drift",))
    await grid.start()
    key = {"aeg-sas-key": grid.service.topic_key("alerts")}
    path = "/topics/ALERTS/api/events"
    assert (await grid.http.post(path, json=[event("a"), event("b", eventType="Other")], headers=key)).status_code == 200
    assert (await grid.http.post(path, json=[{}], headers=key)).status_code == 400
    assert (await grid.http.post(path, json=[], headers=key)).status_code == 400
    assert (await grid.http.post(path, json=[event("c")], headers={})).status_code == 401
    await grid.ended("delivered")
    assert (await metrics(grid))["topics"] == {"alerts": {
        "PublishSuccessCount": 2, "PublishFailCount": 3, "UnmatchedEventCount": 1,
        "by": {"PublishFailCount": {"BadRequest": 2, "Unauthorized": 1}}}}


async def test_a_subscriptions_and_they_outlive_a_restart(tmp_path: Path, webhook: Endpoint) -> None:
    grid = LocalEventGrid(tmp_path, webhook)
    webhook.answer = lambda ids: {"ok": 200, "bad": 400, "drop": 413}[ids[0]] if len(webhook.requests) > 1 else 500
    grid.subscribe()
    grid.subscribe("drops", dead_letter=False, subject_ends_with="drop")
    await grid.start()
    grid.publish("ok")
    await grid.attempted(1)
    grid.clock.advance(10)
    await grid.ended("delivered")
    grid.publish("bad")
    await grid.ended("dead_lettered")
    grid.publish("drop", subject="to drop")
    await grid.ended("dropped", "drops")
    await grid.ended("dead_lettered")
    expected = {
        "all": {"MatchedEventCount": 3, "DeliverySuccessCount": 1, "DeliveryAttemptFailCount": 3, "DroppedEventCount": 0,
                "DeadLetteredCount": 2, "by": {
                    "DeliveryAttemptFailCount": {"GenericError": 1, "BadRequest": 1, "PayloadTooLarge": 1},
                    "DeadLetteredCount": {"UndeliverableDueToHttpBadRequest": 1, "UndeliverableDueToHttpRequestEntityTooLarge": 1}}},
        "drops": {"MatchedEventCount": 1, "DeliverySuccessCount": 0, "DeliveryAttemptFailCount": 1, "DroppedEventCount": 1,
                  "DeadLetteredCount": 0, "by": {"DeliveryAttemptFailCount": {"PayloadTooLarge": 1},
                                                 "DroppedEventCount": {"UndeliverableDueToHttpRequestEntityTooLarge": 1}}}}
    assert (await metrics(grid))["subscriptions"] == expected
    await grid.stop()
    again = LocalEventGrid(tmp_path, webhook)
    again.subscribe()
    await again.start()
    assert (await metrics(again))["subscriptions"] == expected
    await again.stop()


async def test_what_a_removed_subscription_had_to_get_is_dropped(grid: LocalEventGrid, webhook: Endpoint) -> None:
    await grid.start()
    path = "/_emulator/eventgrid/subscriptions/mine"
    await grid.http.put(path, json={"topics": ["alerts"], "endpoint": webhook.url})
    webhook.answers = [500]
    grid.publish("a")
    await grid.attempted(1, "mine")
    await grid.http.delete(path)
    found = (await metrics(grid))["subscriptions"]["mine"]
    assert (found["DroppedEventCount"], found["by"]["DroppedEventCount"]) == (1, {"SubscriptionDeleted": 1})
