"""The publishing endpoint and Event Grid's control API."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from starlette.applications import Starlette

from tests.support.event_grid import BASE_URL, LocalEventGrid, event
from tests.support.subscriber import Subscriber, subscriber, until
from tests.unit.emulator.event_grid.endpoint import Endpoint

CLOUD = {"specversion": "1.0", "id": "c1", "source": "/monitor", "type": "Drift"}


@pytest.fixture
async def started(grid: LocalEventGrid) -> LocalEventGrid:
    grid.subscribe(topics=("alerts", "grid", "cloud"))
    await grid.start()
    return grid


async def post(grid: LocalEventGrid, body: Any, topic: str = "alerts", **headers: str) -> httpx.Response:
    headers = {name.replace("_", "-"): value for name, value in headers.items()} or {"aeg-sas-key": grid.service.topic_key(topic)}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return await grid.http.post(f"/topics/{topic}/api/events", content=content, headers=headers)


def sas(key: str, resource: str, expiry: str) -> str:
    unsigned = f"r={quote(resource, safe='')}&e={quote(expiry, safe='')}"
    signature = base64.b64encode(hmac.new(base64.b64decode(key), unsigned.encode(), hashlib.sha256).digest()).decode()
    return f"{unsigned}&s={quote(signature, safe='')}"


class TestAccess:
    URL = f"{BASE_URL}/topics/alerts/api/events"

    async def test_key(self, started: LocalEventGrid) -> None:
        assert (await post(started, [event("a")])).status_code == 200
        assert (await post(started, [event("a")], aeg_sas_key="no")).status_code == 401
        assert (await post(started, [event("a")], aeg_sas_key=started.service.topic_key("grid"))).status_code == 401

    async def test_bearer(self, started: LocalEventGrid) -> None:
        assert (await post(started, [event("a")], authorization="Bearer ada")).status_code == 200
        assert (await post(started, [event("a")], authorization="Bearer mallory")).status_code == 401
        assert (await post(started, [event("a")], accept="*/*")).status_code == 401

    @pytest.mark.parametrize("pattern", ["%m/%d/%Y %I:%M:%S %p", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S.%f+00:00", "%Y-%m-%d %H:%M:%S"])
    @pytest.mark.parametrize("resource", [URL, f"{URL}?apiVersion=2018-01-01", f"{URL}/"])
    async def test_signature(self, started: LocalEventGrid, pattern: str, resource: str) -> None:
        token = sas(started.service.topic_key("alerts"), resource, (datetime.now(UTC) + timedelta(hours=1)).strftime(pattern))
        assert (await post(started, [event("a")], aeg_sas_token=token)).status_code == 200
        assert (await post(started, [event("a")], authorization=f"SharedAccessSignature {token}")).status_code == 200

    async def test_a_signature_that_does_not_open_this_topic_now(self, started: LocalEventGrid) -> None:
        key, later = started.service.topic_key("alerts"), (datetime.now(UTC) + timedelta(hours=1)).isoformat()
        wrong = [
            sas(key, self.URL, (datetime.now(UTC) - timedelta(seconds=1)).isoformat()), sas(key, self.URL, "soon"), sas(key, "", later),
            sas(key, self.URL.replace("alerts", "grid"), later), sas(started.service.topic_key("grid"), self.URL, later),
            sas(key, self.URL, later).replace("&e=", "&e=2"), "", "nonsense"]
        for token in wrong:
            assert (await post(started, [event("a")], aeg_sas_token=token)).status_code == 401, token


class TestPublishing:
    async def test_one_event_needs_no_list(self, started: LocalEventGrid, webhook: Subscriber) -> None:
        assert (await post(started, event("a"))).status_code == 200
        await until(lambda: webhook.ids == ["a"])

    async def test_all_or_none(self, started: LocalEventGrid) -> None:
        answer = await post(started, [event("a"), {"id": "b"}])
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "BadRequest"
        assert await started.deliveries() == []

    @pytest.mark.parametrize(("body", "status"), [
        (b"{", 400), (b"\xff", 400), ([3], 400), ([], 400),
        (b'[{"id": NaN}]', 400), ([event("a")] * 5001, 413), ([event("a", data="x" * 1024 * 1024)], 413)])
    async def test_refusals(self, started: LocalEventGrid, body: Any, status: int) -> None:
        assert (await post(started, body)).status_code == status
        assert await started.deliveries() == []

    async def test_what_event_grid_sets_is_not_the_publishers_to_choose(self, started: LocalEventGrid, webhook: Subscriber) -> None:
        own = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.EventGrid/topics/alerts"
        for wrong in ({"topic": own.replace("alerts", "grid")}, {"topic": 3}, {"metadataVersion": "2"}, {"dataVersion": 3}):
            answer = await post(started, [event("a", **wrong)])
            assert (answer.status_code, answer.json()["error"]["details"][0]["code"]) == (400, "BadRequest"), wrong
        for right in ({"topic": own.upper()}, {"topic": None}, {"metadataVersion": "1"}, {"metadataVersion": None, "dataVersion": None}):
            assert (await post(started, [event("b", **right)])).status_code == 200, right
        await until(lambda: len(webhook.notifications) == 4)
        assert {(item["topic"], item["metadataVersion"], item["dataVersion"]) for item in webhook.notifications} == {
            (own, "1", "1"), (own, "1", "")}

    async def test_cloud_events_that_are_none(self, started: LocalEventGrid) -> None:
        for wrong in ({"specversion": "0.3"}, {"id": ""}, {"source": 3}, {"type": None}, {"time": "soon"}, {"subject": {}},
                      {"data_base64": "é"}, {"data_base64": 3}):
            assert (await post(started, [{**CLOUD, **wrong}], topic="cloud")).status_code == 400, wrong

    async def test_there_is_such_a_topic(self, started: LocalEventGrid) -> None:
        assert (await post(started, [event("a")], topic="none")).status_code == 404

    async def test_a_topics_schema(self, started: LocalEventGrid, webhook: Subscriber) -> None:
        assert (await post(started, [CLOUD], topic="grid")).status_code == 400
        assert (await post(started, [event("a")], topic="cloud")).status_code == 400
        assert (await post(started, [CLOUD], topic="cloud")).status_code == 200
        assert (await post(started, [CLOUD, event("a")])).status_code == 200
        await until(lambda: sorted(webhook.ids) == ["a", "c1", "c1"])


async def test_raw_events_can_be_published_to_any_topic(started: LocalEventGrid, webhook: Subscriber) -> None:
    answer = await started.http.post("/_emulator/eventgrid/publish", json={"topic": "alerts", "events": [event("a"), event("a")]})
    assert answer.json() == {"accepted": 2}
    await until(lambda: webhook.ids == ["a", "a"])
    for body in ({}, {"topic": "none", "events": [event("a")]}, {"topic": "alerts", "events": [{}]}, [], {"topic": "alerts", "events": 3}):
        assert (await started.http.post("/_emulator/eventgrid/publish", json=body)).status_code == 400


class TestSubscriptions:
    PATH = "/_emulator/eventgrid/subscriptions/mine"

    async def test_made_at_run_time_it_outlives_a_restart(self, tmp_path: Path, webhook: Subscriber) -> None:
        first = LocalEventGrid(tmp_path, webhook)
        await first.start()
        answer = await first.http.put(self.PATH, json={"topics": ["alerts"], "endpoint": webhook.url, "event_types": ["Drift"]})
        assert answer.status_code == 201
        assert answer.json()["validated"] is True
        await first.stop()
        second = LocalEventGrid(tmp_path, webhook)
        await second.start()
        (item,) = (await second.http.get("/_emulator/eventgrid/subscriptions")).json()["items"]
        assert (item["name"], item["event_types"]) == ("mine", ["Drift"])
        second.publish("a")
        await until(lambda: webhook.ids == ["a"])
        await second.stop()

    async def test_it_can_be_removed(self, grid: LocalEventGrid, webhook: Subscriber) -> None:
        await grid.start()
        await grid.http.put(self.PATH, json={"topics": ["alerts"], "endpoint": webhook.url})
        webhook.answers = [500]
        grid.publish("a")
        await grid.attempted(1, "mine")
        assert (await grid.http.delete(self.PATH)).status_code == 200
        assert (await grid.http.delete(self.PATH)).status_code == 204
        grid.publish("b")
        (item,) = await grid.deliveries()
        assert item["state"] == "dropped"

    async def test_an_endpoint_that_does_not_shake_hands_is_refused(self, grid: LocalEventGrid, webhook: Subscriber) -> None:
        await grid.start()
        async with subscriber() as gone:
            url = gone.url
        for body in ({"endpoint": url}, {"endpoint": "nonsense"}, {"endpoint": url, "delivery_schema": "CloudEventSchemaV1_0"}):
            answer = await grid.http.put(self.PATH, json={"topics": ["alerts"], **body})
            assert answer.status_code == 400
            assert "handshake failed" in answer.json()["error"]["message"]
        assert (await grid.http.get("/_emulator/eventgrid/subscriptions")).json()["items"] == []

    async def test_a_person_may_do_it_later(self, grid: LocalEventGrid, webhook: Subscriber) -> None:
        await grid.start()
        webhook.shakes_hands = False
        answer = await grid.http.put(self.PATH, json={"topics": ["alerts"], "endpoint": webhook.url})
        assert answer.status_code == 202
        assert answer.json()["validated"] is False
        await grid.http.get(webhook.handshakes[0]["validationUrl"])
        grid.publish("a")
        await grid.ended("delivered", "mine")

    @pytest.mark.parametrize("body", [
        {}, [], {"topics": []}, {"topics": ["alerts"]}, {"topics": ["none"], "function": "f"},
        *({"topics": ["alerts"], "function": "f", **more} for more in (
            {"endpoint": "http://x"}, {"colour": "red"}, {"max_attempts": 31}, {"ttl_minutes": 0},
            {"advanced_filters": [{"operator": "x", "key": "y"}]}))])
    async def test_what_is_none(self, grid: LocalEventGrid, body: Any) -> None:
        await grid.start()
        assert (await grid.http.put(self.PATH, json=body)).status_code == 400


async def test_a_reset_leaves_what_is_declared_and_the_keys(grid: LocalEventGrid, webhook: Endpoint) -> None:
    grid.subscribe("declared")
    await grid.start()
    await grid.http.put("/_emulator/eventgrid/subscriptions/mine", json={"topics": ["alerts"], "endpoint": webhook.url})
    arm = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.EventGrid/topics"
    ada = {"authorization": "Bearer ada"}
    await grid.http.put(f"{arm}/made", json={"location": "l"}, headers=ada)
    await grid.http.post(f"{arm}/alerts/regenerateKey", json={"keyName": "key1"}, headers=ada)
    key = grid.service.topic_key("alerts")
    webhook.answer = lambda ids: 500
    grid.publish("a")
    await grid.attempted(1, "mine")
    await grid.service.reset()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=grid.service.routes())), base_url=BASE_URL) as http:
        assert [item["name"] for item in (await http.get("/_emulator/eventgrid/subscriptions")).json()["items"]] == ["declared"]
        assert (await http.get("/_emulator/eventgrid/deliveries")).json() == {"items": []}
        assert (await http.get(f"{arm}/made", headers=ada)).status_code == 404
    assert grid.service.topic_key("alerts") == key
    webhook.answer = None
    grid.publish("b")
    await until(lambda: webhook.ids.count("b") == 1)
