"""Requests that make no sense: each is refused, none breaks anything. Seeded: a failure can be repeated."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from tests.support.event_grid import WORKSPACE, LocalEventGrid, event
from tests.unit.emulator.event_grid.endpoint import Endpoint

SEED = 20260101
GROUP = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.EventGrid"
ODD: list[Any] = [None, True, -1, 0, 1e308, 10**30, "", "x" * 600, "\x00", "😀", "é\r\nx: y", [], [[]], [None], {}, {"": 0},
                  {"a": {"b": [1]}}]
GOOD: dict[str, dict[str, Any]] = {
    "grid": event("a"), "inject": {"topic": "alerts", "events": [event("a")]},
    "cloud": {"specversion": "1.0", "id": "c", "source": "/s", "type": "T", "data_base64": "AA==", "time": "2026-01-01T00:00:00Z"},
    "fault": {"subscription": "all", "kind": "delay", "count": 1, "delay_seconds": 1},
    "control": {"topics": ["alerts"], "endpoint": "http://127.0.0.1:9/x", "event_types": ["a"], "labels": ["b"], "max_attempts": 3,
                "headers": [{"name": "x", "value": "y"}], "advanced_filters": [{"operator": "StringIn", "key": "k", "values": ["v"]}]},
    "arm": {"location": "l", "tags": {"a": "b"}, "keyName": "key1", "properties": {
        "inputSchema": "EventGridSchema", "source": WORKSPACE, "topicType": "Microsoft.MachineLearningServices.Workspaces",
        "destination": {"endpointType": "WebHook", "properties": {
            "endpointUrl": "http://127.0.0.1:9/x", "maxEventsPerBatch": 5,
            "deliveryAttributeMappings": [{"name": "x", "type": "Static", "properties": {"value": "y"}}]}},
        "filter": {"includedEventTypes": ["a"], "advancedFilters": [{"operatorType": "NumberInRange", "key": "k", "values": [[1, 2]]}]},
        "labels": ["a"], "expirationTimeUtc": "2099-01-01T00:00:00Z", "retryPolicy": {"maxDeliveryAttempts": 3},
        "deadLetterDestination": {"endpointType": "StorageBlob", "properties": {
            "resourceId": "/providers/Microsoft.Storage/storageAccounts/stdev", "blobContainerName": "abc"}}}}}
SENT = [
    ("POST", "/topics/alerts/api/events", "grid"), ("POST", "/topics/alerts/api/events", "cloud"),
    ("POST", "/topics/grid/api/events", "grid"),
    ("POST", "/_emulator/eventgrid/publish", "inject"), ("POST", "/_emulator/eventgrid/faults", "fault"),
    ("PUT", "/_emulator/eventgrid/subscriptions/s", "control"),
    ("PUT", f"{GROUP}/topics/alerts/eventSubscriptions/sss", "arm"), ("PATCH", f"{GROUP}/topics/alerts/eventSubscriptions/all", "arm"),
    ("PUT", f"{WORKSPACE}/providers/Microsoft.EventGrid/eventSubscriptions/sss", "arm"), ("PUT", f"{GROUP}/topics/made", "arm"),
    ("PUT", f"{GROUP}/systemTopics/made", "arm"), ("PATCH", f"{GROUP}/topics/made", "arm"),
    ("POST", f"{GROUP}/topics/made/regenerateKey", "arm")]
RAW = [b"", b"{", b"\xff\xfe", b"NaN", b'{"a": Infinity}', b"[" * 100_000, b'{"a":' * 50_000, b"1" * 5000, b'"\\ud800"', b"null", b"[[]]",
       b"\x00"]


def mutated(random_: random.Random, body: Any) -> Any:
    """The body with one value somewhere in it made odd, or left out."""
    if isinstance(body, dict | list) and body and random_.random() < 0.8:
        copy: Any = body.copy()
        place = random_.choice(list(copy)) if isinstance(copy, dict) else random_.randrange(len(copy))
        if isinstance(copy, dict) and random_.random() < 0.15:
            del copy[place]
        else:
            copy[place] = mutated(random_, copy[place])
        return copy
    return random_.choice([*ODD, "\ud800"])


@pytest.mark.parametrize("number", range(3))
async def test_no_request_breaks_the_service(grid: LocalEventGrid, webhook: Endpoint, number: int) -> None:
    grid.app_is_up = False
    grid.subscribe(advanced_filters=({"operator": "NumberGreaterThan", "key": "data", "value": 1},))
    await grid.start()
    headers = {"authorization": "Bearer ada"}
    random_ = random.Random(SEED + number)
    statuses = []
    for _ in range(50):
        method, path, kind = random_.choice(SENT)
        good = GOOD[kind]
        body = random_.choice(RAW) if random_.random() < 0.15 else json.dumps(mutated(random_, good)).encode()
        answer = await grid.http.request(method, path, content=body, headers=headers)
        assert answer.status_code < 500, (method, path, body[:300], answer.text)
        if answer.status_code >= 400:
            assert answer.json()["error"]["code"], (method, path, body[:300])
            assert answer.json()["error"]["message"], (method, path, body[:300])
        statuses.append(answer.status_code)
    assert statuses.count(400) > 15
    assert (await grid.http.get("/_emulator/eventgrid/deliveries")).status_code == 200
    assert (await grid.http.get("/_emulator/eventgrid/metrics")).status_code == 200


async def test_what_was_accepted_is_delivered_whatever_is_in_it(grid: LocalEventGrid, webhook: Endpoint) -> None:
    grid.subscribe(headers=({"name": "x-field", "source_field": "data"},))
    await grid.start()
    for number, odd in enumerate(ODD):
        body = json.dumps([event(f"e{number}", data=odd, extra=odd, dataVersion=odd if isinstance(odd, str) else "1")])
        answer = await grid.http.post("/topics/alerts/api/events", content=body, headers={"authorization": "Bearer ada"})
        assert answer.status_code == 200, odd
        item = await grid.ended("delivered")
        assert (item["eventId"], item["attempts"]) == (f"e{number}", 1)
    assert [received["data"] for received in webhook.notifications] == ODD


async def test_odd_paths(grid: LocalEventGrid) -> None:
    await grid.start()
    for path in ("topics/%ff/api/events", "topics/a%2Fb/api/events", "_emulator/eventgrid/validate/%00", "_emulator/eventgrid/faults/1e5"):
        for method in ("GET", "POST", "PUT", "DELETE"):
            assert (await grid.http.request(method, f"/{path}", content=b"{}")).status_code in (400, 401, 404, 405), (method, path)
