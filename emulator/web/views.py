"""What the pages show: read from the services, shaped for the templates."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import httpx

from emulator.answers import answerable
from emulator.azure_ml import traffic
from emulator.journal import Entry
from emulator.web.timeline import moment, span, timeline

if TYPE_CHECKING:
    from emulator.services import Services

SHOWN = 100
"""Deliveries, orchestrations, jobs and requests on a page."""
_LONG = 4000
_STATUSES = ("Pending", "Running", "Suspended", "Completed", "Failed", "Terminated")
_ALL = "100000"
"""The management API lists the oldest first, and a page wants the newest: all are asked for."""


def events(services: Services, subscription: str | None, state: str | None) -> dict[str, Any]:
    """Topics, subscriptions, and the newest deliveries with their attempts."""
    grid = services.event_grid
    known = list(grid.subscriptions)
    of_subscriptions, of_topics = grid.metrics("subscription"), grid.metrics("topic")
    chosen = [pair for pair in reversed(grid.deliveries(subscription, 1000)) if state in (None, pair[0].state.value)]
    found = [
        {"number": delivery.number, "type": str(delivery.event.get("eventType", "")).removeprefix("Microsoft.MachineLearningServices."),
         "subject": delivery.event.get("subject") or "", "topic": delivery.topic.rpartition("/")[2], "subscription": delivery.subscription,
         "state": delivery.state.value, "published": delivery.published, "due": delivery.due, "reason": delivery.reason,
         "attempts": [{"at": at, "status": outcome.status, "outcome": outcome.word} for at, outcome in attempts],
         "event": pretty(delivery.event)}
        for delivery, attempts in chosen[:SHOWN]]
    return {
        "subscriptions": [
            {"key": item.key, "topics": item.config.topics, "target": item.config.function or item.config.endpoint,
             "provisioning": grid.subscriptions.provisioning(item), "over": grid.subscriptions.is_over(item),
             "types": [name.removeprefix("Microsoft.MachineLearningServices.") for name in item.config.event_types],
             **{name: sum(of_subscriptions.get(item.key, {}).get(metric, {}).values()) for name, metric in (
                 ("matched", "MatchedEventCount"), ("delivered", "DeliverySuccessCount"), ("failed", "DeliveryAttemptFailCount"),
                 ("dropped", "DroppedEventCount"), ("dead", "DeadLetteredCount"))}}
            for item in known],
        "topics": [
            {"name": name, "published": _sum(of_topics, name, topic_id, "PublishSuccessCount"), "kind": kind,
             "refused": _sum(of_topics, name, topic_id, "PublishFailCount"),
             "unmatched": _sum(of_topics, name, topic_id, "UnmatchedEventCount")}
            for name, topic_id, kind in (
                *((name, name, "custom topic") for name in grid.topics),
                *((item.name, services.config.workspace_id(item.name), "workspace") for item in services.config.workspaces))],
        "deliveries": found, "more": max(0, len(chosen) - SHOWN), "subscription": subscription, "state": state,
        "states": ("pending", "delivered", "dead_lettering", "dead_lettered", "dropped")}


def _sum(metrics: dict[str, dict[str, dict[str, int]]], name: str, topic_id: str, metric: str) -> int:
    keys = {name.casefold(), topic_id.casefold()}
    return sum(sum(found.get(metric, {}).values()) for key, found in metrics.items() if key.casefold() in keys)


async def orchestrations(services: Services, status: str | None) -> dict[str, Any]:
    """The newest instances; `problem` says why there are none when the app can't be asked."""
    status = status if status in _STATUSES else None
    query = {"top": _ALL, "showInput": "false"} | ({"runtimeStatus": status} if status else {})
    try:
        found = await services.orchestrations("instances", query)
    except httpx.HTTPError as error:
        return {"items": [], "more": 0, "problem": f"the Functions host does not answer: {type(error).__name__}", "status": status}
    items = sorted(found or [], key=lambda item: item["createdTime"], reverse=True)
    return {
        "items": [{"id": item["instanceId"], "name": item["name"], "status": item["runtimeStatus"], "created": moment(item["createdTime"]),
                   "lasted": span((moment(item["lastUpdatedTime"]) - moment(item["createdTime"])).total_seconds())}
                  for item in items[:SHOWN]],
        "more": max(0, len(items) - SHOWN), "problem": "no app runs here" if found is None else "", "status": status,
        "statuses": _STATUSES}


async def orchestration(services: Services, instance: str) -> dict[str, Any] | None:
    """One instance with its timeline; None when there is none."""
    path = f"instances/{quote(instance, safe='')}"
    found = await services.orchestrations(path, {"showHistory": "true", "showHistoryOutput": "true"})
    if found is None:
        return None
    return {
        "id": instance, "name": found["name"], "status": found["runtimeStatus"], "created": moment(found["createdTime"]),
        "updated": moment(found["lastUpdatedTime"]), "input": pretty(found["input"]), "output": pretty(found["output"]),
        "custom": pretty(found["customStatus"]),
        "steps": timeline(found.get("historyEvents") or [], services.clock.now())}


def endpoints(services: Services) -> list[dict[str, Any]]:
    """Online endpoints of every workspace with their deployments' traffic. Keys are not read."""
    store = services.azure_ml.store
    found = []
    for scope in services.azure_ml.scopes:
        if scope.is_registry:
            continue
        for endpoint in store.children(f"{scope.id}/onlineEndpoints"):
            properties = endpoint["properties"]
            live, mirrored = traffic.shares(properties["traffic"]), traffic.shares(properties["mirrorTraffic"])
            asked = store.query("SELECT deployment, status, mirrored, count(*) FROM scoring_requests WHERE endpoint = ? GROUP BY 1, 2, 3",
                                (endpoint["id"].lower(),))
            deployments = [
                {"name": item["name"], "state": item["properties"]["provisioningState"], "model": _asset(item["properties"].get("model")),
                 "traffic": live.get(item["name"].lower(), 0), "mirror": mirrored.get(item["name"].lower(), 0),
                 "answers": _answers(asked, item["name"])}
                for item in store.children(f"{endpoint['id']}/deployments")]
            found.append({"name": endpoint["name"], "workspace": scope.id.rpartition("/")[2], "state": properties["provisioningState"],
                          "auth": properties["authMode"], "uri": f"{services.base_url}/endpoints/{endpoint['name']}/score",
                          "deployments": deployments, "bars": _bars(deployments)})
    return found


def _bars(deployments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Where each deployment's share begins on a bar of 100."""
    bars, here = [], 0
    for number, item in enumerate(deployments):
        if item["traffic"]:
            bars.append({"name": item["name"], "start": here, "share": item["traffic"], "tone": number % 4})
            here += item["traffic"]
    return bars


def _answers(rows: list[tuple[Any, ...]], deployment: str) -> dict[str, int]:
    found: Counter[str] = Counter()
    for name, status, mirrored, number in rows:
        if name.lower() == deployment.lower():
            found["mirrored" if mirrored else "good" if status == 200 else "bad"] += number
    return dict(found)


def _asset(text: Any) -> str:
    """`.../models/iris/versions/3` -> iris:3."""
    parts = str(text or "").split("/")
    return f"{parts[-3]}:{parts[-1]}" if len(parts) > 3 and parts[-2] == "versions" else str(text or "")


def jobs(services: Services) -> list[dict[str, Any]]:
    """Root runs of every workspace, newest first, with their steps."""
    runs = services.azure_ml.jobs.runs
    found = [
        {"name": run.name, "title": run.display_name or run.name, "workspace": scope.id.rpartition("/")[2], "kind": run.kind,
         "status": run.status, "created": moment(run.created), "lasted": _lasted(run.started, run.ended),
         "by": run.created_by.get("name", ""),
         "experiment": run.experiment, "error": (run.error or {}).get("message", ""),
         "steps": [{"name": step.step or step.name, "status": step.status, "lasted": _lasted(step.started, step.ended)}
                   for step in runs.children(run)]}
        for scope in services.azure_ml.scopes if not scope.is_registry for run in runs.roots(scope.id)[:SHOWN]]
    return sorted(found, key=lambda item: item["created"], reverse=True)[:SHOWN]


def _lasted(started: str | None, ended: str | None) -> str:
    return span((moment(ended) - moment(started)).total_seconds()) if started and ended else ""


def requests(services: Services, path: str, method: str, service: str) -> dict[str, Any]:
    """The newest requests that match; raises re.error for a path that is no pattern."""
    found = list(services.journal.entries(path, method, service))
    return {"items": [_request(entry) for entry in reversed(found[-SHOWN:])], "more": max(0, len(found) - SHOWN),
            "path": path, "method": method, "service": service, "services": ("azure_ml", "event_grid", "identity"),
            "methods": ("GET", "PUT", "POST", "PATCH", "DELETE")}


def _request(entry: Entry) -> dict[str, Any]:
    shown = entry.as_dict()
    return {"number": entry.number, "time": entry.time, "service": entry.service, "method": entry.method, "path": entry.path,
            "query": "&".join(f"{name}={value}" for name, value in shown["query"].items()), "status": entry.status,
            "caller": entry.caller or "", "body": pretty(shown["body"]) if shown["body"] is not None else ""}


def pretty(value: Any) -> str:
    """JSON for people; half a surrogate pair, which no page can carry, is shown as an escape."""
    if value is None:
        return ""
    text = json.dumps(answerable(value), indent=2, ensure_ascii=False)
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= _LONG else f"{text[:_LONG]}\n… ({len(text)} characters)"
