"""What an app does with durable functions: through the real client inside it, and seen from outside."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.support.functions_host import LiveHost
from tests.support.platform import wait_for


def _client(shop: LiveHost, operation: str, **given: Any) -> httpx.Response:
    return shop.http.post(f"/shop/v1/client/{operation}", json=given)


def test_the_client_starts_waits_and_reads_a_history(shop: LiveHost) -> None:
    started = _client(shop, "start", name="order", id="inside-1", input={"items": ["kiwi"]})
    assert started.status_code == 202
    assert started.json()["statusQueryGetUri"] == started.headers["location"]
    done = _client(shop, "wait", id="inside-1")
    assert done.status_code == 200
    assert done.json()["total"] == 4
    status = _client(shop, "status", id="inside-1").json()
    assert (status["runtimeStatus"], status["input"]) == ("Completed", {"items": ["kiwi"]})
    inside = [(event["EventType"], event.get("FunctionName"), event.get("Result")) for event in status["historyEvents"]]
    outside = shop.ended("inside-1", showHistory="true", showHistoryOutput="true")["historyEvents"]
    assert inside == [(event["EventType"], event.get("FunctionName"), event.get("Result")) for event in outside]
    assert shop.http.get(started.headers["location"]).status_code == 200


def test_an_event_from_the_client_arrives(shop: LiveHost) -> None:
    shop.begin("approval", "event-1")
    shop.becomes("event-1", "Running")
    assert _client(shop, "event", id="event-1", name="approved", data=["yes"]).status_code == 202
    assert shop.ended("event-1")["output"] == {"approved": ["yes"]}


def test_tags_and_versions_stay_with_an_instance(shop: LiveHost) -> None:
    assert _client(shop, "schedule", name="receipt", id="version-1", input={"item": "pea"}, version="1.2.0",
                   tags={"team": "fruit"}).json() == {
        "id": "version-1"}
    assert shop.ended("version-1")["output"] == {"price": 3, "version": "1.2.0", "instance": "version-1"}
    assert _client(shop, "tags", id="version-1").json() == [{"team": "fruit"}]


def test_an_instance_of_a_newer_version_fails_here(shop: LiveHost) -> None:
    _client(shop, "schedule", name="receipt", id="version-2", input={"item": "pea"}, version="2.0.0")
    failed = shop.ended("version-2")
    assert failed["runtimeStatus"] == "Failed"
    assert failed["output"] == "VersionMismatch: The orchestration version '2.0.0' is greater than the worker version '1.4.0'."


def test_continue_as_new_ends_with_the_last_rounds_history(shop: LiveHost) -> None:
    shop.begin("rounds", "rounds-1", 3)
    found = shop.ended("rounds-1", showHistory="true")
    assert found["output"] == {"left": 0, "price": 3}
    assert sum(event["EventType"] == "TaskCompleted" for event in found["historyEvents"]) == 1


def test_the_client_reads_an_entity(shop: LiveHost) -> None:
    assert _client(shop, "entity", name="counter", key="inside").json() == {"exists": False, "state": None}
    shop.begin("counting", "counting-2", "inside")
    assert shop.ended("counting-2")["output"] == 5
    assert _client(shop, "entity", name="counter", key="inside").json() == {"exists": True, "state": 5}


def test_a_scheduled_task_runs_until_it_is_deleted(shop: LiveHost) -> None:
    def rounds() -> list[str]:
        return [state["instanceId"] for state in shop.durable("GET", "/instances", params={"instanceIdPrefix": "plan-1"}).json()
                if state["name"] == "receipt" and state["runtimeStatus"] == "Completed"]

    given = {"id": "plan-1", "name": "receipt", "seconds": 1, "input": {"item": "fig"}}
    assert _client(shop, "plan", **given).status_code == 204
    wait_for("two rounds", lambda: True if len(rounds()) >= 2 else None)
    assert _client(shop, "unplan", id="plan-1").status_code == 204
    assert "plan-1" not in [entry["entityId"]["key"] for entry in shop.durable("GET", "/entities/schedule").json()]


def test_time_passes_for_durable_http_calls_schedules_and_timers(shop: LiveHost) -> None:
    """One test, as the clock is the host's: a 202 polled every hour, a start that is due in two days, a nightly timer."""
    uri = f"http://127.0.0.1:{shop.port}/shop/v1/slow/job-1"
    shop.begin("remote", "remote-1", {"uri": uri})
    _client(shop, "schedule", name="receipt", id="later-1", input={"item": "fig"}, at=(datetime.now(UTC) + timedelta(days=2)).isoformat())
    assert shop.durable("GET", "/instances/later-1").json()["runtimeStatus"] == "Pending"

    def waits(hours: int) -> bool | None:
        """True once so many timers of the polling sub-orchestration were created."""
        children = [state["instanceId"] for state in shop.durable("GET", "/instances", params={"runtimeStatus": "Running"}).json()
                    if state["name"] == "BuiltIn__HttpPollOrchestrator"]
        if len(children) != 1:
            return None
        history = shop.durable("GET", f"/instances/{children[0]}", params={"showHistory": "true"}).json()["historyEvents"]
        return True if sum(event["EventType"] == "TimerCreated" for event in history) == hours else None

    wait_for("the first poll's timer", lambda: waits(1))
    shop.advance(3700)
    wait_for("the second poll's timer", lambda: waits(2))
    shop.advance(7400)
    assert shop.ended("remote-1")["output"] == {"status": 200, "content": {"job": "job-1", "polls": 3}}
    assert shop.durable("GET", "/instances/later-1").json()["runtimeStatus"] == "Pending"
    assert json.loads(shop.http.get("/shop/v1/timers").text) in ([], ["in time"])
    shop.advance(3 * 86400)
    assert shop.ended("later-1")["output"]["price"] == 3
    wait_for("the nightly timer", lambda: True if "in time" in shop.http.get("/shop/v1/timers").json() else None)
    assert shop.http.get("/shop/v1/timers").json().count("in time") <= 2
    assert "late" not in shop.http.get("/shop/v1/timers").json()
