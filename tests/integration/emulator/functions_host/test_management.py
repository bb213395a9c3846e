"""The durable management API from outside, on a real host."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.support.functions_host import LiveHost
from tests.support.platform import wait_for

URLS = {"id", "statusQueryGetUri", "sendEventPostUri", "terminatePostUri", "rewindPostUri", "purgeHistoryDeleteUri", "restartPostUri",
        "suspendPostUri", "resumePostUri"}


def test_a_start_answers_with_every_url_and_they_work(shop: LiveHost) -> None:
    answer = shop.durable("POST", "/orchestrators/APPROVAL/urls-1", content=b"null")
    assert answer.status_code == 202
    urls = answer.json()
    assert set(urls) == URLS
    assert urls["id"] == "urls-1"
    assert answer.headers["location"] == urls["statusQueryGetUri"]
    assert answer.headers["retry-after"] == "10"
    shop.becomes("urls-1", "Running")
    running = shop.http.get(urls["statusQueryGetUri"])
    assert running.status_code == 202
    assert running.headers["location"] == urls["statusQueryGetUri"]
    assert running.headers["retry-after"] == "5"
    assert shop.http.post(urls["suspendPostUri"].replace("{text}", "lunch")).status_code == 202
    shop.becomes("urls-1", "Suspended")
    assert shop.http.post(urls["resumePostUri"].replace("{text}", "back")).status_code == 202
    shop.becomes("urls-1", "Running")
    event = shop.http.post(urls["sendEventPostUri"].replace("{eventName}", "approved"), json={"by": "ada"})
    assert event.status_code == 202
    assert event.content == b""
    assert shop.ended("urls-1")["output"] == {"approved": {"by": "ada"}}
    history = shop.ended("urls-1", showHistory="true")["historyEvents"]
    assert [event["EventType"] for event in history] == ["ExecutionStarted", "ExecutionSuspended", "ExecutionResumed", "EventRaised",
                                                         "ExecutionCompleted"]
    assert (history[1]["Reason"], history[2]["Reason"]) == ("lunch", "back")
    assert (history[3]["Name"], json.loads(history[3]["Input"])) == ("approved", {"by": "ada"})
    restarted = shop.http.post(urls["restartPostUri"] + "&restartWithNewInstanceId=false")
    assert restarted.status_code == 202
    assert restarted.json()["id"] == "urls-1"
    shop.becomes("urls-1", "Running")
    assert shop.http.post(urls["terminatePostUri"].replace("{text}", "enough")).status_code == 202
    assert shop.ended("urls-1")["output"] == "enough"
    assert shop.becomes("urls-1", "Terminated")["runtimeStatus"] == "Terminated"
    purged = shop.http.delete(urls["purgeHistoryDeleteUri"])
    assert (purged.status_code, purged.json()) == (200, {"instancesDeleted": 1})
    assert shop.http.get(urls["statusQueryGetUri"]).status_code == 404


@pytest.mark.parametrize("instance", ["Zürich-1", "two words", "50%", "odd-\ufffd", "x@y", "fish-🐟"])
def test_any_id_the_extension_allows_can_be_followed_by_its_urls(shop: LiveHost, instance: str) -> None:
    answer = shop.durable("POST", f"/orchestrators/approval/{quote(instance, safe='')}")
    assert answer.status_code == 202
    assert answer.json()["id"] == instance
    running = shop.http.get(answer.headers["location"])
    assert (running.status_code, running.json()["instanceId"]) == (202, instance)
    assert running.headers["location"] == answer.headers["location"]
    assert shop.http.post(answer.json()["terminatePostUri"]).status_code == 202
    shop.ended(quote(instance, safe=""))


def test_a_history_is_the_extensions_json(shop: LiveHost) -> None:
    shop.begin("order", "history-1", {"items": ["fig", "pear"]})
    found = shop.ended("history-1", showHistory="true", showHistoryOutput="true")
    assert set(found) == {"name", "instanceId", "runtimeStatus", "input", "customStatus", "output", "createdTime", "lastUpdatedTime",
                          "historyEvents"}
    assert (found["name"], found["runtimeStatus"], found["customStatus"]) == ("order", "Completed", {"priced": 2})
    assert found["output"] == {"total": 7, "paid": {"amount": 7, "parent": "history-1", "version": "1.4.0"}, "version": "1.4.0"}
    started, *priced, paid, completed = found["historyEvents"]
    assert (started["EventType"], started["FunctionName"]) == ("ExecutionStarted", "order")
    assert json.loads(started["Input"]) == {"items": ["fig", "pear"]}
    assert sorted((event["EventType"], event["FunctionName"], event["Result"]) for event in priced) == [
        ("TaskCompleted", "price", 3), ("TaskCompleted", "price", 4)]
    assert (paid["EventType"], paid["FunctionName"]) == ("SubOrchestrationInstanceCompleted", "payment")
    assert paid["Result"] == found["output"]["paid"]
    assert (completed["EventType"], completed["OrchestrationStatus"]) == ("ExecutionCompleted", "Completed")
    for event in [*priced, paid]:
        assert event["ScheduledTime"] <= event["Timestamp"]
        assert datetime.fromisoformat(event["Timestamp"]).year > 2000
    plain = shop.ended("history-1", showHistory="true", showInput="false")
    assert plain["input"] is None
    assert not any("Result" in event or "Input" in event for event in plain["historyEvents"])
    assert "historyEvents" not in shop.ended("history-1")
    timer = shop.ended("history-1-payment", showHistory="true")["historyEvents"][1:3]
    assert [event["EventType"] for event in timer] == ["TimerCreated", "TimerFired"]
    assert timer[0]["FireAt"] == timer[1]["FireAt"]


def test_a_failure_is_500_only_when_asked_for_and_can_be_rewound(shop: LiveHost) -> None:
    shop.begin("fragile", "rewind-1")
    failed = shop.ended("rewind-1", showHistory="true")
    assert failed["runtimeStatus"] == "Failed"
    assert "the vase is broken" in failed["output"]
    event = next(event for event in failed["historyEvents"] if event["EventType"] == "TaskFailed")
    assert event["FunctionName"] == "mend"
    assert "the vase is broken" in event["Reason"]
    assert event["FailureDetails"]["ErrorType"] == "ValueError"
    assert shop.durable("GET", "/instances/rewind-1").status_code == 200
    assert shop.durable("GET", "/instances/rewind-1", params={"returnInternalServerErrorOnFailure": "true"}).status_code == 500
    assert shop.durable("POST", "/instances/rewind-1/raiseEvent/approved", json=1).status_code == 410
    assert shop.http.post("/shop/v1/mended").status_code == 204
    assert shop.durable("POST", "/instances/rewind-1/rewind", params={"reason": "fixed"}).status_code == 202
    assert shop.becomes("rewind-1", "Completed")["output"] == [4, "vase mended"]
    assert shop.durable("POST", "/instances/rewind-1/rewind").status_code == 410


@pytest.mark.parametrize(("method", "path", "options", "status"), [
    ("GET", "/instances/nobody", {}, 404),
    ("DELETE", "/instances/nobody", {}, 404),
    ("POST", "/instances/nobody/terminate", {}, 404),
    ("POST", "/instances/nobody/raiseEvent/x", {"json": 1}, 404),
    ("POST", "/instances/nobody/rewind", {}, 404),
    ("POST", "/instances/nobody/restart", {}, 400),
    ("POST", "/instances/nobody/dance", {}, 404),
    ("POST", "/instances/errors-1/terminate", {}, 410),
    ("POST", "/instances/errors-1/suspend", {}, 410),
    ("POST", "/instances/errors-1/resume", {}, 410),
    ("POST", "/instances/errors-1/raiseEvent/x", {"json": 1}, 410),
    ("POST", "/instances/errors-1/rewind", {}, 410),
    ("POST", "/orchestrators/nothing", {}, 400),
    ("POST", "/orchestrators/order", {"content": b"{"}, 400),
    ("POST", "/orchestrators/order", {"content": b"NaN"}, 400),
    ("POST", "/orchestrators/order", {"content": b"\xff\xfe"}, 400),
    ("POST", "/orchestrators/order/@x", {}, 400),
    ("POST", "/orchestrators/order/a%2Fb", {}, 400),
    ("POST", "/orchestrators/order/" + "x" * 101, {}, 400),
    ("GET", "/orchestrators/order", {}, 404),
    ("GET", "/instances", {"params": {"createdTimeFrom": "yesterday"}}, 400),
    ("GET", "/instances", {"params": {"runtimeStatus": "Running,Asleep"}}, 400),
    ("GET", "/instances", {"params": {"top": "0"}}, 400),
    ("GET", "/instances", {"headers": {"x-ms-continuation-token": "tomorrow"}}, 400),
    ("GET", "/instances/errors-1", {"params": {"showHistory": "perhaps"}}, 400),
    ("DELETE", "/instances", {}, 400),
    ("DELETE", "/instances", {"params": {"createdTimeFrom": "2999-01-01T00:00:00Z"}}, 404),
    ("GET", "/instances", {"params": {"taskHub": "AnotherHub"}}, 400),
    ("GET", "/entities/counter/nobody", {}, 404),
    ("POST", "/entities/nothing/x", {}, 400),
    ("GET", "/entities", {"params": {"lastOperationTimeFrom": "soon"}}, 400),
    ("PATCH", "/instances/errors-1", {}, 404),
    ("GET", "/elsewhere", {}, 404),
])
def test_errors_have_the_documented_status(shop: LiveHost, method: str, path: str, options: dict[str, object], status: int) -> None:
    if shop.durable("GET", "/instances/errors-1").status_code == 404:
        shop.begin("rounds", "errors-1", 0)
        shop.ended("errors-1")
    answer = shop.durable(method, path, **options)
    assert answer.status_code == status, answer.text
    if status == 400:
        assert answer.json()["Message"]


def test_a_bad_filter_is_named(shop: LiveHost) -> None:
    assert "'createdTimeTo'" in shop.durable("GET", "/instances", params={"createdTimeTo": "x"}).json()["Message"]


def test_an_id_in_use_is_a_conflict_and_one_that_has_ended_is_started_again(shop: LiveHost) -> None:
    shop.begin("approval", "again-1")
    assert shop.durable("POST", "/orchestrators/approval/again-1").status_code == 409
    assert shop.durable("POST", "/instances/again-1/restart", params={"restartWithNewInstanceId": "false"}).status_code == 409
    beside = shop.durable("POST", "/instances/again-1/restart")
    assert beside.status_code == 202
    assert beside.json()["id"] != "again-1"
    assert shop.durable("POST", "/instances/again-1/terminate").status_code == 202
    shop.ended("again-1")
    assert shop.begin("rounds", "again-1", 1) == "again-1"
    assert shop.ended("again-1")["output"] == {"left": 0, "price": 3}


def test_a_start_can_wait_for_the_result(shop: LiveHost) -> None:
    done = shop.durable("POST", "/orchestrators/receipt", content='{"item":"plum"}', params={"timeout": "60", "pollingInterval": "1"})
    assert done.status_code == 200
    assert (done.json()["price"], done.json()["version"]) == (4, "1.4.0")
    waiting = shop.durable("POST", "/orchestrators/approval", params={"timeout": "0.01", "pollingInterval": "0.01"})
    assert waiting.status_code == 202
    assert "statusQueryGetUri" in waiting.json()
    assert shop.durable("POST", "/orchestrators/approval", params={"timeout": "1", "pollingInterval": "2"}).status_code == 400


def test_lists_filter_and_go_on_page_by_page(shop: LiveHost) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    for number in range(5):
        shop.begin("rounds", f"page-{number}", 0)
    shop.begin("approval", "page-open")
    for number in range(5):
        shop.ended(f"page-{number}")
    shop.becomes("page-open", "Running")
    seen: list[str] = []
    token = ""
    while True:
        answer = shop.durable("GET", "/instances", params={"instanceIdPrefix": "page-", "top": "2", "createdTimeFrom": before.isoformat()},
                              headers={"x-ms-continuation-token": token} if token else {})
        assert answer.status_code == 200
        assert len(answer.json()) <= 2
        seen += [state["instanceId"] for state in answer.json()]
        token = answer.headers.get("x-ms-continuation-token", "")
        if not token:
            break
    assert sorted(seen) == [*(f"page-{number}" for number in range(5)), "page-open"]

    def count(parameters: list[tuple[str, str]]) -> int:
        return len(shop.durable("GET", "/instances", params=[("instanceIdPrefix", "page-"), *parameters]).json())

    assert count([("runtimeStatus", "Completed")]) == 5
    assert count([("runtimeStatus", "Completed,Running")]) == 6
    assert count([("runtimeStatus", "Completed"), ("runtimeStatus", "running")]) == 6
    assert count([("runtimeStatus", "Failed")]) == 0
    assert count([("createdTimeTo", before.isoformat())]) == 0
    created = shop.durable("GET", "/instances/page-0").json()["createdTime"]
    assert count([("createdTimeFrom", created)]) == 6


def test_a_purge_by_filter_takes_what_has_ended_and_matches(shop: LiveHost) -> None:
    created = datetime(2031, 1, 1, tzinfo=UTC)
    assert shop.durable("DELETE", "/instances", params={"createdTimeFrom": created.isoformat()}).status_code == 404
    shop.begin("rounds", "purge-1", 0)
    shop.begin("approval", "purge-open")
    shop.ended("purge-1")
    since = shop.durable("GET", "/instances/purge-1").json()["createdTime"]
    purged = shop.durable("DELETE", "/instances", params={"createdTimeFrom": since, "runtimeStatus": "Completed"})
    assert purged.status_code == 200
    assert purged.json()["instancesDeleted"] >= 1
    assert shop.durable("GET", "/instances/purge-1").status_code == 404
    assert shop.durable("GET", "/instances/purge-open").status_code == 202


def test_entities_are_signalled_read_listed_and_deleted(shop: LiveHost) -> None:
    assert shop.durable("POST", "/entities/Counter/e-1", params={"op": "add"}, json=3).status_code == 202
    assert shop.durable("POST", "/entities/counter/e-2", params={"op": "add"}, json=4).status_code == 202

    def state(key: str) -> int | None:
        answer = shop.durable("GET", f"/entities/counter/{key}")
        return int(answer.json()) if answer.status_code == 200 else None

    assert wait_for("e-1", lambda: state("e-1")) == 3
    assert wait_for("e-2", lambda: state("e-2")) == 4
    listed = {entry["entityId"]["key"]: entry for entry in shop.durable("GET", "/entities/counter", params={"fetchState": "true"}).json()}
    assert (listed["e-1"]["state"], listed["e-2"]["state"]) == (3, 4)
    assert listed["e-1"]["entityId"]["name"] == "counter"
    assert datetime.fromisoformat(listed["e-1"]["lastOperationTime"]).year > 2000
    first = shop.durable("GET", "/entities", params={"top": "1"})
    assert len(first.json()) == 1
    assert first.json()[0]["state"] is None
    rest = shop.durable("GET", "/entities", headers={"x-ms-continuation-token": first.headers["x-ms-continuation-token"]})
    assert first.json()[0] not in rest.json()
    shop.begin("counting", "counting-1", "e-1")
    counted = shop.ended("counting-1", showHistory="true")
    assert counted["output"] == 8
    sent, raised = counted["historyEvents"][1:3]
    assert (sent["EventType"], sent["InstanceId"], sent["Name"]) == ("EventSent", "@counter@e-1", "op")
    assert json.loads(sent["Input"])["op"] == "add"
    assert (raised["EventType"], json.loads(raised["Input"])) == ("EventRaised", {"result": "8"})
    assert shop.durable("DELETE", "/entities/counter/e-1").status_code == 202
    wait_for("that e-1 is gone", lambda: True if shop.durable("GET", "/entities/counter/e-1").status_code == 404 else None)


def test_without_the_key_nothing_is_told(shop: LiveHost) -> None:
    path = "/runtime/webhooks/durabletask/instances"
    assert shop.http.get(path).status_code == 401
    assert shop.http.get(path, params={"code": shop.keys["default"]}).status_code == 401
    assert shop.http.get(path, params={"code": shop.keys["eventgrid_extension"]}).status_code == 401
    assert shop.http.get(path, headers={"x-functions-key": shop.keys["master"]}).status_code == 200


def test_the_urls_are_the_hosts_own(shop: LiveHost) -> None:
    started = httpx.URL(shop.durable("POST", "/orchestrators/rounds", content=b"0").json()["statusQueryGetUri"])
    assert urlsplit(str(started)).netloc == f"127.0.0.1:{shop.port}"
    assert dict(started.params) == {"taskHub": "ShopHub", "connection": "Storage", "code": shop.keys["durabletask_extension"]}
