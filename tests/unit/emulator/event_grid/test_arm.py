"""Event Grid's management API: what Azure Resource Manager's clients send, and what they are told."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.event_grid import WORKSPACE, LocalEventGrid, event
from tests.support.subscriber import until
from tests.unit.emulator.event_grid.endpoint import Endpoint, endpoint

GROUP = "/subscriptions/s/resourceGroups/rg/providers"
TOPIC = f"{GROUP}/Microsoft.EventGrid/topics/alerts"
SCOPED = f"{TOPIC}/providers/Microsoft.EventGrid/eventSubscriptions"
ADA = {"authorization": "Bearer ada"}
STORAGE = f"{GROUP}/Microsoft.Storage/storageAccounts"


@pytest.fixture
async def started(grid: LocalEventGrid) -> LocalEventGrid:
    grid.subscribe("declared", topics=("alerts",))
    grid.app_is_up = False
    await grid.start()
    return grid


async def ask(grid: LocalEventGrid, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
    return await grid.http.request(method, path, json=body, headers=headers or ADA, params={"api-version": "2022-06-15"})


def webhook_to(url: str, **rest: Any) -> dict[str, Any]:
    return {"properties": {"destination": {"endpointType": "WebHook", "properties": {"endpointUrl": url}}, **rest}}


async def put(grid: LocalEventGrid, body: Any, name: str = "mine", scope: str = SCOPED) -> httpx.Response:
    return await ask(grid, "PUT", f"{scope}/{name}", body)


class TestSubscription:
    async def test_it_is_made_found_listed_changed_and_removed(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        rule = {"operatorType": "NumberInRange", "key": "data.n", "values": [[1, 2], [5, 9]]}
        dead = {"endpointType": "StorageBlob", "properties": {"resourceId": f"{STORAGE}/stdev", "blobContainerName": "letters"}}
        body = webhook_to(f"{webhook.url}?code=secret", labels=["a", "b"], filter={
            "includedEventTypes": ["Drift"], "subjectBeginsWith": "models/", "isSubjectCaseSensitive": True,
            "enableAdvancedFilteringOnArrays": True, "advancedFilters": [rule]},
            retryPolicy={"maxDeliveryAttempts": 5, "eventTimeToLiveInMinutes": 60}, deadLetterDestination=dead)
        body["properties"]["destination"]["properties"] |= {"maxEventsPerBatch": 7, "preferredBatchSizeInKilobytes": 128}
        made = await put(started, body)
        assert made.status_code == 201
        found = (await ask(started, "GET", f"{SCOPED}/MINE")).json()
        assert found == made.json()
        assert (found["id"], found["name"], found["type"]) == (f"{SCOPED}/mine", "mine", "Microsoft.EventGrid/eventSubscriptions")
        properties = found["properties"]
        assert (properties["provisioningState"], properties["topic"], properties["labels"]) == ("Succeeded", TOPIC, ["a", "b"])
        assert properties["destination"] == {"endpointType": "WebHook", "properties": {
            "endpointBaseUrl": webhook.url, "maxEventsPerBatch": 7, "preferredBatchSizeInKilobytes": 128}}
        assert properties["filter"]["advancedFilters"] == [rule]
        assert properties["deadLetterDestination"] == dead
        assert properties["retryPolicy"] == {"maxDeliveryAttempts": 5, "eventTimeToLiveInMinutes": 60}
        assert (await ask(started, "POST", f"{SCOPED}/mine/getFullUrl")).json() == {"endpointUrl": f"{webhook.url}?code=secret"}
        assert [item["name"] for item in (await ask(started, "GET", SCOPED)).json()["value"]] == ["declared", "mine"]

        changed = await ask(started, "PATCH", f"{SCOPED}/mine", {
            "labels": ["c"], "destination": {"endpointType": "WebHook", "properties": {"maxEventsPerBatch": 3}}})
        assert changed.status_code == 201
        destination = {**properties["destination"]["properties"], "maxEventsPerBatch": 3}
        assert changed.json()["properties"] == {**properties, "labels": ["c"], "destination": {
            "endpointType": "WebHook", "properties": destination}}
        assert (await ask(started, "POST", f"{SCOPED}/mine/getFullUrl")).json()["endpointUrl"].endswith("?code=secret")

        assert (await ask(started, "DELETE", f"{SCOPED}/mine")).status_code == 200
        assert (await ask(started, "DELETE", f"{SCOPED}/mine")).status_code == 204
        gone = await ask(started, "GET", f"{SCOPED}/mine")
        assert (gone.status_code, gone.json()["error"]["code"]) == (404, "ResourceNotFound")

    async def test_it_gets_what_its_filters_let_through_and_outlives_a_restart(self, tmp_path: Path, webhook: Endpoint) -> None:
        first = LocalEventGrid(tmp_path, webhook)
        await first.start()
        body = webhook_to(webhook.url, filter={"advancedFilters": [{"operatorType": "StringIn", "key": "data.x", "values": ["Y"]}]})
        assert (await put(first, body)).status_code == 201
        await first.stop()
        second = LocalEventGrid(tmp_path, webhook)
        await second.start()
        second.publish("no")
        second.publish("yes", data={"x": "y"})
        await until(lambda: webhook.ids == ["yes"])
        await second.stop()

    async def test_one_name_at_several_topics_is_several_subscriptions(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        grid_topic = SCOPED.replace("alerts", "grid")
        workspace = f"{WORKSPACE}/providers/Microsoft.EventGrid/eventSubscriptions"
        for scope in (SCOPED, grid_topic, workspace):
            assert (await put(started, webhook_to(webhook.url), scope=scope)).status_code == 201
        started.publish("a")
        started.publish("g", topic="grid")
        started.publish("w", topic=WORKSPACE)
        await until(lambda: sorted(webhook.ids) == ["a", "g", "w"])
        assert {headers["aeg-subscription-name"] for headers in webhook.headers} == {"MINE"}
        assert (await ask(started, "DELETE", f"{grid_topic}/mine")).status_code == 200
        assert (await ask(started, "GET", f"{SCOPED}/mine")).status_code == 200
        every = (await ask(started, "GET", f"{GROUP}/Microsoft.EventGrid/eventSubscriptions")).json()["value"]
        assert [item["id"] for item in every] == [f"{SCOPED}/declared", f"{SCOPED}/mine", f"{workspace}/mine"]
        of_type = "Microsoft.EventGrid/topicTypes/Microsoft.MachineLearningServices.Workspaces/eventSubscriptions"
        assert [item["id"] for item in (await ask(started, "GET", f"{GROUP}/{of_type}")).json()["value"]] == [f"{workspace}/mine"]

    async def test_the_nested_path_and_a_system_topics(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        assert (await put(started, webhook_to(webhook.url), scope=f"{TOPIC}/eventSubscriptions")).status_code == 201
        assert (await ask(started, "GET", f"{SCOPED}/mine")).status_code == 200
        root = f"{GROUP}/Microsoft.EventGrid/systemTopics"
        body = {"location": "l", "properties": {"source": WORKSPACE, "topicType": "Microsoft.MachineLearningServices.Workspaces"}}
        assert (await ask(started, "PUT", f"{root}/st-dev", body)).status_code == 201
        made = await put(started, webhook_to(webhook.url), "sys", f"{root}/st-dev/eventSubscriptions")
        assert made.json()["properties"]["topic"] == WORKSPACE
        started.publish("w", topic=WORKSPACE)
        await until(lambda: webhook.ids == ["w"])
        assert [item["name"] for item in (await ask(started, "GET", root)).json()["value"]] == ["dev", "st-dev"]

    async def test_a_function_is_a_destination(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        body = {"properties": {"destination": {"endpointType": "AzureFunction", "properties": {
            "resourceId": f"{GROUP}/Microsoft.Web/sites/app/functions/on_event"}}, "deadLetterWithResourceIdentity": {
            "identity": {"type": "SystemAssigned"}, "deadLetterDestination": {
                "endpointType": "StorageBlob", "properties": {"resourceId": f"{STORAGE}/stledger", "blobContainerName": "letters"}}}}}
        made = await put(started, body)
        assert made.json()["properties"]["destination"]["properties"]["resourceId"].endswith("/functions/on_event")
        assert (await ask(started, "POST", f"{SCOPED}/mine/getFullUrl")).status_code == 400
        webhook.answer = lambda ids: 400
        started.app_is_up = True
        started.publish("a")
        await started.ended("dead_lettered", "mine")
        assert ("stledger", "letters") in {blob[:2] for blob in started.storage.blobs}

    async def test_delivery_attributes_are_headers(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        body = webhook_to(webhook.url)
        body["properties"]["destination"]["properties"]["deliveryAttributeMappings"] = [
            {"name": "x-fixed", "type": "Static", "properties": {"value": "s3cret", "isSecret": True}},
            {"name": "x-field", "type": "Dynamic", "properties": {"sourceField": "data.who"}},
            {"name": "x-absent", "type": "Dynamic", "properties": {"sourceField": "data.nobody"}}]
        made = (await put(started, body)).json()
        shown = made["properties"]["destination"]["properties"]["deliveryAttributeMappings"]
        assert shown[0]["properties"] == {"value": "Hidden", "isSecret": True}
        assert (await ask(started, "POST", f"{SCOPED}/mine/getDeliveryAttributes")).json() == {"value": shown}
        started.publish("a", data={"who": "Zoë\n"}, dataVersion="é")
        await until(lambda: webhook.ids == ["a"])
        headers = webhook.headers[0]
        assert (headers["x-fixed"], headers["x-field"], headers["aeg-data-version"]) == ("s3cret", "Zo??", "?")
        assert "x-absent" not in headers

    async def test_what_platform_yaml_declares_is_shown_and_not_changed(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        path = f"{SCOPED}/declared"
        assert (await ask(started, "GET", path)).json()["properties"]["destination"]["endpointType"] == "AzureFunction"
        for method, body in (("PUT", webhook_to(webhook.url)), ("PATCH", {"labels": []}), ("DELETE", None)):
            answer = await ask(started, method, path, body)
            assert (answer.status_code, answer.json()["error"]["code"]) == (409, "Conflict")

    async def test_lists_are_filtered_and_paged(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        for number in range(5):
            await put(started, webhook_to(webhook.url), f"page-{number}")

        async def names(**query: str) -> tuple[list[str], str | None]:
            answer = (await started.http.get(SCOPED, params=query, headers=ADA)).json()
            return [item["name"] for item in answer["value"]], answer.get("nextLink")

        assert await names(**{"$filter": "contains(name, 'PAGE-3')"}) == (["page-3"], None)
        assert await names(**{"$filter": "name eq 'declared'"}) == (["declared"], None)
        assert (await names(**{"$filter": "not contains(name, 'page')"}))[0] == ["declared"]
        assert (await names(**{"$top": "2", "$filter": "contains(name, 'page')"}))[1] is not None
        found, link = await names(**{"$top": "4"})
        while link is not None:
            answer = (await started.http.get(link, headers=ADA)).json()
            found, link = found + [item["name"] for item in answer["value"]], answer.get("nextLink")
        assert found == ["declared", *(f"page-{number}" for number in range(5))]
        for query in ({"$top": "0"}, {"$top": "x"}, {"$top": "101"}, {"$filter": "topic eq 'x'"}):
            assert (await started.http.get(SCOPED, params=query, headers=ADA)).status_code == 400


class TestHandshake:
    async def test_a_refusal_leaves_what_was_there(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        await put(started, webhook_to(webhook.url, labels=["old"]))
        async with endpoint() as gone:
            url = gone.url
        answer = await put(started, webhook_to(url))
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "Url validation")
        assert "Webhook validation handshake failed" in answer.json()["error"]["message"]
        assert (await ask(started, "GET", f"{SCOPED}/mine")).json()["properties"]["labels"] == ["old"]

    @pytest.mark.parametrize("schema", ["EventGridSchema", "CloudEventSchemaV1_0"])
    async def test_later_by_its_address(self, started: LocalEventGrid, webhook: Endpoint, schema: str) -> None:
        webhook.shakes_hands = False
        made = await put(started, webhook_to(webhook.url, eventDeliverySchema=schema))
        assert (made.status_code, made.json()["properties"]["provisioningState"]) == (201, "AwaitingManualAction")
        started.publish("too early")
        asked = webhook.handshakes[0]
        # A CloudEvents endpoint is given the address in a header of the OPTIONS request.
        address = asked["webhook-request-callback"] if "webhook-request-callback" in asked else asked["validationUrl"]
        assert (await started.http.request("GET" if schema == "EventGridSchema" else "POST", address)).status_code == 200
        assert (await ask(started, "GET", f"{SCOPED}/mine")).json()["properties"]["provisioningState"] == "Succeeded"
        started.publish("a")
        await until(lambda: webhook.ids == ["a"])

    async def test_ten_minutes_are_given(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        webhook.shakes_hands = False
        await put(started, webhook_to(webhook.url))
        started.clock.advance(601)
        assert (await ask(started, "GET", f"{SCOPED}/mine")).json()["properties"]["provisioningState"] == "Failed"
        assert (await started.http.get(webhook.handshakes[0]["validationUrl"])).status_code == 400
        started.publish("a")
        assert await started.deliveries(subscription="mine") == []


class TestExpiry:
    async def test_an_expired_subscription_receives_nothing(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        until_then = (started.clock.now() + timedelta(days=30)).isoformat()
        assert (await put(started, webhook_to(webhook.url, expirationTimeUtc=until_then))).status_code == 201
        webhook.answers = [500]
        started.publish("a")
        await started.attempted(1, "mine")
        started.clock.advance(31 * 86400)
        await started.ended("dropped", "mine")
        assert (await started.deliveries(subscription="mine"))[-1]["reason"] == "SubscriptionExpired"
        started.publish("b")
        assert webhook.ids == ["a"]
        assert len(await started.deliveries(subscription="mine")) == 1
        assert (await ask(started, "GET", f"{SCOPED}/mine")).status_code == 404
        assert (await put(started, webhook_to(webhook.url))).status_code == 201
        started.publish("c")
        await until(lambda: webhook.ids == ["a", "c"])
        assert len(await started.deliveries(subscription="mine")) == 2

    async def test_it_lies_ahead(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        answer = await put(started, webhook_to(webhook.url, expirationTimeUtc="2020-01-01T00:00:00Z"))
        assert answer.json()["error"]["code"] == "InvalidRequest"
        assert "expirationTimeUtc" in answer.json()["error"]["message"]


def rules(*given: dict[str, Any]) -> dict[str, Any]:
    return {"filter": {"advancedFilters": list(given)}}


STRING_IN = {"operatorType": "StringIn", "key": "k", "values": ["v"]}


class TestRefusals:
    CASES = [
        (rules(*[STRING_IN] * 26), "maximum number of advanced filters"),
        (rules({**STRING_IN, "values": ["v"] * 26}), "advancedFilters[0]"),
        (rules({**STRING_IN, "values": ["v"] * 13}, {**STRING_IN, "values": ["v"] * 13}), "maximum number of values"),
        (rules({**STRING_IN, "values": ["x" * 513]}), "512"),
        (rules(STRING_IN, {"operatorType": "StringLike", "key": "k", "values": ["v"]}), "advancedFilters[1].operatorType"),
        (rules({"operatorType": "NumberIn", "key": "k", "values": ["3"]}), "numbers"),
        (rules({"operatorType": "BoolEquals", "key": "k", "value": "true"}), "BoolEquals"),
        (rules({"operatorType": "StringIn", "values": ["v"]}), "key"),
        ({"filter": {"advancedFilters": "x"}}, "filter.advancedFilters"),
        ({"filter": {"includedEventTypes": [3]}}, "filter.includedEventTypes"),
        ({"retryPolicy": {"maxDeliveryAttempts": 31}}, "retryPolicy.maxDeliveryAttempts"),
        ({"retryPolicy": {"eventTimeToLiveInMinutes": 1441}}, "retryPolicy.eventTimeToLiveInMinutes"),
        ({"labels": "one"}, "labels"), ({"expirationTimeUtc": "soon"}, "expirationTimeUtc"),
        ({"eventDeliverySchema": "CustomInputSchema"}, "eventDeliverySchema"), ({"destination": None}, "destination"),
        ({"destination": {"endpointType": "EventHub", "properties": {"resourceId": "x"}}}, "EventHub"),
        ({"destination": {"endpointType": "WebHook", "properties": {"endpointUrl": "http://example.com/x"}}}, "https"),
        ({"destination": {"endpointType": "WebHook", "properties": {"endpointUrl": "https://[x"}}}, "endpointUrl"),
        ({"destination": {"endpointType": "WebHook"}}, "endpointUrl"),
        ({"destination": {"endpointType": "AzureFunction", "properties": {"resourceId": "x"}}}, "resourceId"),
        ({"destination": {"endpointType": "WebHook", "properties": {"maxEventsPerBatch": 5001}}}, "maxEventsPerBatch"),
        ({"destination": {"endpointType": "WebHook", "properties": {"preferredBatchSizeInKilobytes": 0}}}, "preferredBatchSizeInKilobytes"),
        ({"deadLetterDestination": {"endpointType": "StorageBlob", "properties": {
            "resourceId": f"{STORAGE}/other", "blobContainerName": "abc"}}}, "storage account"),
        ({"deadLetterDestination": {"endpointType": "StorageBlob", "properties": {
            "resourceId": f"{STORAGE}/stdev", "blobContainerName": "A"}}}, "blobContainerName"),
    ]

    async def test_what_azure_would_not_take(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        for more, said in self.CASES:
            answer = await put(started, webhook_to(webhook.url, **more))
            assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidRequest"), more
            assert said in answer.json()["error"]["message"], more
        assert (await ask(started, "GET", f"{SCOPED}/mine")).status_code == 404

    async def test_cloud_events_are_not_delivered_in_event_grids_schema(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        scope = SCOPED.replace("alerts", "cloud")
        refused = await put(started, webhook_to(webhook.url, eventDeliverySchema="EventGridSchema"), scope=scope)
        assert refused.json()["error"]["code"] == "InvalidRequest"
        made = await put(started, webhook_to(webhook.url), scope=scope)
        assert made.json()["properties"]["eventDeliverySchema"] == "CloudEventSchemaV1_0"

    async def test_names(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        for name in ("ab", "x" * 65, "under_score", "dotted.name"):
            assert (await put(started, webhook_to(webhook.url), name)).status_code == 400, name

    async def test_places_that_are_none(self, started: LocalEventGrid) -> None:
        for path, status, code in (
                (SCOPED.replace("/s/", "/other/"), 404, "SubscriptionNotFound"),
                (SCOPED.replace("/rg/", "/other/"), 404, "ResourceGroupNotFound"),
                (SCOPED.replace("alerts", "none"), 404, "ResourceNotFound"),
                (f"{GROUP}/Microsoft.EventGrid/domains", 404, "InvalidResourceType"),
                (f"{WORKSPACE}x/providers/Microsoft.EventGrid/eventSubscriptions", 404, "ResourceNotFound"),
                (f"{TOPIC}/listKeys", 405, "MethodNotAllowed")):
            answer = await ask(started, "GET", path)
            assert (answer.status_code, answer.json()["error"]["code"]) == (status, code), path

    async def test_who_is_nobody(self, started: LocalEventGrid) -> None:
        answer = await ask(started, "GET", SCOPED, authorization="Bearer mallory")
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "AuthenticationFailed")

    async def test_other_providers_paths_are_left_alone(self, started: LocalEventGrid) -> None:
        answer = await ask(started, "GET", WORKSPACE)
        assert (answer.status_code, answer.text) == (404, "Not Found")


class TestTopics:
    async def publish(self, grid: LocalEventGrid, topic: str, key: str) -> int:
        return (await grid.http.post(f"/topics/{topic}/api/events", json=[event("a")], headers={"aeg-sas-key": key})).status_code

    async def keys(self, grid: LocalEventGrid, topic: str) -> dict[str, str]:
        return dict((await ask(grid, "POST", f"{TOPIC.replace('alerts', topic)}/listKeys")).json())

    async def test_either_key_publishes_until_it_is_made_anew(self, tmp_path: Path, started: LocalEventGrid, webhook: Endpoint) -> None:
        old = await self.keys(started, "alerts")
        assert old["key1"] == started.service.topic_key("alerts") != old["key2"]
        assert [await self.publish(started, "alerts", key) for key in old.values()] == [200, 200]
        answer = await ask(started, "POST", f"{TOPIC}/regenerateKey", {"keyName": "key1"})
        assert answer.json() == await self.keys(started, "alerts")
        assert answer.json()["key2"] == old["key2"]
        assert started.service.topic_key("alerts") == answer.json()["key1"]
        assert [await self.publish(started, "alerts", key) for key in (old["key1"], old["key2"], answer.json()["key1"])] == [401, 200, 200]
        assert (await ask(started, "POST", f"{TOPIC}/regenerateKey", {"keyName": "key3"})).status_code == 400
        again = LocalEventGrid(tmp_path, webhook)
        await again.start()
        assert again.service.topic_key("alerts") == answer.json()["key1"]
        await again.stop()

    async def test_one_is_made_used_and_removed(self, started: LocalEventGrid, webhook: Endpoint) -> None:
        path = TOPIC.replace("alerts", "made")
        body = {"location": "l", "tags": {"a": "b"}, "properties": {"inputSchema": "EventGridSchema"}}
        made = (await ask(started, "PUT", path, body)).json()
        assert (made["tags"], made["properties"]["inputSchema"], made["properties"]["provisioningState"]) == (
            {"a": "b"}, "EventGridSchema", "Succeeded")
        assert made["properties"]["endpoint"].endswith("/topics/made/api/events")
        assert (await put(started, webhook_to(webhook.url), scope=f"{path}/eventSubscriptions")).status_code == 201
        keys = await self.keys(started, "made")
        assert await self.publish(started, "made", keys["key2"]) == 200
        await until(lambda: webhook.ids == ["a"])
        assert (await ask(started, "PATCH", path, {"properties": {"disableLocalAuth": True}})).json()["properties"]["disableLocalAuth"]
        assert await self.publish(started, "made", keys["key2"]) == 401
        assert (await started.http.post("/topics/made/api/events", json=[event("b")], headers=ADA)).status_code == 200
        assert (await ask(started, "PUT", path, {**body, "properties": {"inputSchema": "CloudEventSchemaV1_0"}})).status_code == 400
        assert (await ask(started, "DELETE", path)).status_code == 202
        assert (await ask(started, "DELETE", path)).status_code == 204
        assert await self.publish(started, "made", keys["key1"]) == 404
        await ask(started, "PUT", path, body)
        assert (await self.keys(started, "made"))["key1"] not in keys.values()
        assert (await ask(started, "GET", f"{path}/eventSubscriptions")).json()["value"] == []

    async def test_what_platform_yaml_declares_stays(self, started: LocalEventGrid) -> None:
        for method, body in (("PUT", {"location": "l"}), ("DELETE", None), ("PATCH", {"tags": {}})):
            assert (await ask(started, method, TOPIC, body)).status_code == 409
        names = [item["name"] for item in (await ask(started, "GET", f"{GROUP}/Microsoft.EventGrid/topics")).json()["value"]]
        assert names == ["alerts", "grid", "cloud"]

    async def test_what_is_none(self, started: LocalEventGrid) -> None:
        for body in ({}, {"location": 3}, {"location": "l", "properties": []}, {"location": "l", "tags": {"a": 1}},
                     {"location": "l", "properties": {"inputSchema": "CustomEventSchema"}},
                     {"location": "l", "properties": {"disableLocalAuth": "x"}}):
            assert (await ask(started, "PUT", TOPIC.replace("alerts", "bad"), body)).status_code == 400, body
            assert (await ask(started, "PUT", f"{GROUP}/Microsoft.EventGrid/systemTopics/bad", body)).status_code == 400, body

    async def test_a_workspaces_event_types(self, started: LocalEventGrid) -> None:
        answer = await ask(started, "GET", f"{WORKSPACE}/providers/Microsoft.EventGrid/eventTypes")
        assert "Microsoft.MachineLearningServices.RunStatusChanged" in [item["name"] for item in answer.json()["value"]]
