"""Orchestrations and entities that use everything durable, and what each must end with. Their effects are lines of a log."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from durabletask import task
from durabletask.entities import EntityContext, EntityInstanceId
from durabletask.worker import TaskHubGrpcWorker


class Log:
    """Lines that outlive the process: each is one write to a file that only grows."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def __call__(self, what: str, key: str, value: Any = None) -> None:
        os.write(self._file, (json.dumps([what, key, value]) + "\n").encode())


def read(path: Path) -> list[tuple[str, str, Any]]:
    """(what, key, value) of each whole line: "run" (an activity begins), "activity", "start", "event", "signal", "end" (acknowledged),
    "lost" (acknowledged in an earlier life, and not there in this one)."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [tuple(json.loads(line)) for line in lines if line.endswith("\n")]


def chain(context: task.OrchestrationContext, name: str) -> Iterator[Any]:
    done = []
    for step in range(3):
        done.append((yield context.call_activity("work", input=f"{name}/{step}")))  # noqa: PERF401 (it yields)
    return done


def family(context: task.OrchestrationContext, name: str) -> Iterator[Any]:
    """Activities and sub-orchestrations at once, one of which sleeps for an hour."""
    tasks = [context.call_activity("work", input=f"{name}/{step}") for step in range(2)]
    tasks.append(context.call_sub_orchestrator("chain", input=f"{name}/child", instance_id=f"{name}-child"))
    tasks.append(context.call_sub_orchestrator("sleeper", input=f"{name}/sleeper", instance_id=f"{name}-sleeper"))
    return (yield task.when_all(tasks))


def sleeper(context: task.OrchestrationContext, name: str) -> Iterator[Any]:
    yield context.create_timer(timedelta(hours=1))
    return (yield context.call_activity("work", input=f"{name}/awake"))


def patient(context: task.OrchestrationContext, name: str) -> Iterator[Any]:
    """Retries of an activity that fails at first: durable timers in between."""
    policy = task.RetryPolicy(first_retry_interval=timedelta(minutes=5), max_number_of_attempts=10)
    return (yield context.call_activity("stubborn", input=f"{name}/stubborn", retry_policy=policy))


def guarded(context: task.OrchestrationContext, name: str) -> Iterator[Any]:
    """An event or a deadline that is far away."""
    heard = []
    for number in (1, 2):
        event = context.wait_for_external_event(f"go-{number}")
        deadline = context.create_timer(timedelta(days=30))
        first = yield task.when_any([event, deadline])
        heard.append(event.get_result() if first is event else "nothing came")
    return heard


def rounds(context: task.OrchestrationContext, given: dict[str, Any]) -> Iterator[Any]:
    """Continues as new, with a timer of each generation left behind."""
    context.create_timer(timedelta(minutes=given["round"] + 1))
    given["done"].append((yield context.call_activity("work", input=f"{given['name']}/{given['round']}")))
    if given["round"] < 3:
        context.continue_as_new({**given, "round": given["round"] + 1}, save_events=True)
        return None
    return given["done"]


def counting(context: task.OrchestrationContext, name: str) -> Iterator[Any]:
    """Calls an entity: each call counts once."""
    tally = EntityInstanceId("tally", name)
    for _ in range(3):
        yield context.call_entity(tally, "add", 1)
    with (yield context.lock_entities([tally])):
        seen = yield context.call_entity(tally, "get")
        yield context.call_entity(tally, "add", seen)
    return (yield context.call_entity(tally, "get"))


def tally(context: EntityContext, given: Any) -> Any:
    count = context.get_state(int, 0) or 0
    if context.operation == "add":
        context.set_state(count + given)
    return count if context.operation == "get" else None


def notes(context: EntityContext, given: Any) -> Any:
    """A set of what was signalled."""
    held = context.get_state(list, []) or []
    if context.operation == "list":
        return held
    context.set_state(sorted({*held, given}))
    return None


def reading(context: task.OrchestrationContext, name: str) -> Iterator[Any]:
    """Started after the signals: an entity serves in the order of arrival."""
    return (yield context.call_entity(EntityInstanceId("notes", name), "list"))


INSTANCES: dict[str, tuple[str, Any, Any]] = {
    "chain-1": ("chain", "chain-1", [f"chain-1/{n} done" for n in range(3)]),
    "family-1": ("family", "family-1", ["family-1/0 done", "family-1/1 done", [f"family-1/child/{n} done" for n in range(3)],
                                        "family-1/sleeper/awake done"]),
    "patient-1": ("patient", "patient-1", "patient-1/stubborn done at last"),
    "guarded-1": ("guarded", "guarded-1", ["first", "second"]),
    "rounds-1": ("rounds", {"name": "rounds-1", "round": 0, "done": []}, [f"rounds-1/{n} done" for n in range(4)]),
    "counting-1": ("counting", "counting-1", 6),
    "reading-1": ("reading", "all", ["blue", "green", "red"]),
}
"""Id: orchestrator, input, output. The last one is started after all events and signals."""
EVENTS = [("guarded-1", "go-1", "first"), ("guarded-1", "go-2", "second")]
SIGNALS = ["red", "green", "blue"]


def serve(log: Log) -> TaskHubGrpcWorker:
    """A worker whose code runs all this; it is never connected."""
    worker = TaskHubGrpcWorker(host_address="localhost:1")
    for orchestrator in (chain, family, sleeper, patient, guarded, rounds, counting, reading):
        worker.add_orchestrator(orchestrator)
    failed: set[str] = set()

    def work(_: task.ActivityContext, key: str) -> str:
        log("run", key)
        return f"{key} done"

    def stubborn(_: task.ActivityContext, key: str) -> str:
        log("run", key)
        if key not in failed:
            failed.add(key)
            raise RuntimeError("not yet")
        return f"{key} done at last"

    activities: list[Callable[..., Any]] = [work, stubborn]
    for activity in activities:
        worker.add_activity(activity)
    worker.add_entity(tally)
    worker.add_entity(notes)
    return worker
