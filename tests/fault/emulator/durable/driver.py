"""Runs the workload over a state file in processes that die. Reads one JSON line a run on its input, forks, and says how it went.

`{"state": path, "log": path, "kind": "points" | "load", "die_at": n, "when": "before" | "within" | "after"}`: the child is killed
by itself at its n-th transaction (0: never). First the child's process id comes, then `{"status": of waitpid, "transactions": n}`.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask.entities import EntityInstanceId
from google.protobuf import wrappers_pb2

from emulator.durable import SqliteBackend
from emulator.durable.virtual_time import OffsetClock
from tests.fault.emulator.durable.workload import EVENTS, INSTANCES, SIGNALS, Log, read, serve

ENDED = (pb.ORCHESTRATION_STATUS_COMPLETED, pb.ORCHESTRATION_STATUS_FAILED, pb.ORCHESTRATION_STATUS_TERMINATED)
CLIENTS, EACH = 8, 40
"""Of the load: client threads, and instances that each starts and waits for."""


class Exists(Exception):
    pass


class Context:
    def is_active(self) -> bool:
        return True

    def time_remaining(self) -> None:
        return None

    def abort(self, code: Any, details: str) -> None:
        raise Exists(details)


class Dying:
    """The database's connection, of a process that dies at a transaction: before it, within it, or right after its commit."""

    def __init__(self, db: sqlite3.Connection, die_at: int, when: str) -> None:
        self._db, self._die_at, self._when, self.transactions = db, die_at, when, 0

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def _here(self, when: str) -> None:
        if self.transactions == self._die_at and self._when == when:
            os.kill(os.getpid(), signal.SIGKILL)

    def execute(self, statement: str, *arguments: Any) -> Any:
        if statement.startswith("begin"):
            self.transactions += 1
            self._here("before")
        if statement == "commit":
            self._here("within")
        answer = self._db.execute(statement, *arguments)
        if statement == "commit":
            self._here("after")
        return answer

    def executemany(self, statement: str, rows: Sequence[Any]) -> Any:
        return self._db.executemany(statement, rows)

    def close(self) -> None:
        self._db.close()


class Direct:
    """The worker's connection: its answers are calls in this process; a log line says that an activity's was accepted."""

    def __init__(self, backend: SqliteBackend, log: Log) -> None:
        self._backend, self._log, self._context = backend, log, Context()

    def CompleteActivityTask(self, answer: pb.ActivityResponse) -> Any:
        accepted = self._backend.CompleteActivityTask(answer, self._context)
        if answer.HasField("result"):
            self._log("activity", json.loads(answer.result.value).removesuffix(" at last").removesuffix(" done"))
        return accepted

    def __getattr__(self, method: str) -> Callable[[Any], Any]:
        return lambda request: getattr(self._backend, method)(request, self._context)


class Life:
    """One process's life: a backend over the file, the app, and its clients."""

    def __init__(self, state: Path, log: Path, threads: int, die_at: int, when: str) -> None:
        logging.disable(logging.CRITICAL)
        self.clock, self.log = OffsetClock(), Log(log)
        connect = sqlite3.connect

        def dying(*arguments: Any, **more: Any) -> Any:
            self.dying = Dying(connect(*arguments, **more), die_at, when)
            return self.dying

        sqlite3.connect = dying  # type: ignore[assignment]  # the file's first transaction makes or migrates its tables
        self.backend = SqliteBackend(state, self.clock)
        self.backend.start()
        self.call: Any = Direct(self.backend, self.log)
        self._app: Any = serve(self.log)
        self._pool = ThreadPoolExecutor(threads)
        threading.Thread(target=self._receive, daemon=True).start()

    def _receive(self) -> None:
        for item in self.backend.GetWorkItems(pb.GetWorkItemsRequest(), Context()):
            self._pool.submit(self._handle, item)

    def _handle(self, item: pb.WorkItem) -> None:
        token = item.completionToken
        if item.HasField("orchestratorRequest"):
            self._app._execute_orchestrator(item.orchestratorRequest, self.call, token)
        elif item.HasField("activityRequest"):
            self._app._execute_activity(item.activityRequest, self.call, token)
        else:
            self._app._execute_entity_batch(item.entityRequestV2, self.call, token)

    def start(self, instance: str, orchestrator: str, given: Any) -> None:
        request = pb.CreateInstanceRequest(instanceId=instance, name=orchestrator, input=wrappers_pb2.StringValue(value=json.dumps(given)))
        with suppress(Exists):  # an earlier life's start was kept, though its answer was lost
            self.call.StartInstance(request)
        self.log("start", instance)

    def wait(self, instance: str) -> None:
        found = self.call.WaitForInstanceCompletion(pb.GetInstanceRequest(instanceId=instance, getInputsAndOutputs=True))
        state = found.orchestrationState
        self.log("end", instance, [state.orchestrationStatus, state.output.value])

    def exists(self, instance: str) -> bool:
        return bool(self.call.GetInstance(pb.GetInstanceRequest(instanceId=instance)).exists)

    def is_running(self, instance: str) -> bool:
        return self.call.GetInstance(pb.GetInstanceRequest(instanceId=instance)).orchestrationState.orchestrationStatus not in ENDED


def points(life: Life, done: set[tuple[str, str]]) -> None:
    """One client that does everything once more whose answer it never had."""
    def start(*instances: str) -> None:
        for instance in instances:
            if ("start", instance) not in done:
                life.start(instance, *INSTANCES[instance][:2])

    *first, last = INSTANCES
    start(*first)
    for instance, name, value in EVENTS:
        if ("event", name) not in done:
            life.call.RaiseEvent(pb.RaiseEventRequest(
                instanceId=instance, name=name, input=wrappers_pb2.StringValue(value=json.dumps(value))))
            life.log("event", name)
    for signalled in SIGNALS:
        if ("signal", signalled) not in done:
            life.call.SignalEntity(pb.SignalEntityRequest(
                instanceId=str(EntityInstanceId("notes", "all")), name="note", requestId=signalled,
                input=wrappers_pb2.StringValue(value=json.dumps(signalled))))
            life.log("signal", signalled)
    start(last)
    passing = threading.Event()

    def time_passes() -> None:
        # Minutes, over and over, while someone waits: never so far that the 30 days of the guarded one pass.
        while not passing.wait(0.002):
            life.backend.set_offset(life.clock.offset_seconds + 60)

    threading.Thread(target=time_passes, daemon=True).start()
    for instance in INSTANCES:
        life.wait(instance)
    passing.set()


def load(life: Life, done: set[tuple[str, str]]) -> None:
    """Clients that each start an instance, wait for its end, and go on with the next."""
    def client(number: int) -> None:
        for turn in range(EACH):
            instance = f"load-{number}-{turn}"
            if ("end", instance) not in done:
                life.start(instance, "chain", instance)
                life.wait(instance)

    with ThreadPoolExecutor(CLIENTS) as clients:
        for finished in [clients.submit(client, number) for number in range(CLIENTS)]:
            finished.result()


def live(run: dict[str, Any], report: int) -> None:
    kind, done = run["kind"], {(what, key) for what, key, _ in read(Path(run["log"]))}
    life = Life(Path(run["state"]), Path(run["log"]), CLIENTS if kind == "load" else 2, run["die_at"], run["when"])
    for what, key in done:
        if (what == "start" and not life.exists(key)) or (what == "end" and life.is_running(key)):
            life.log("lost", key)
    (points if kind == "points" else load)(life, done)
    life.backend.stop(0)
    os.write(report, str(life.dying.transactions).encode())


def main() -> None:
    for line in sys.stdin:
        receive, report = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(receive)
            try:
                live(json.loads(line), report)
            except BaseException as error:
                print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        os.close(report)
        print(json.dumps({"process": child}), flush=True)
        status = os.waitpid(child, 0)[1]
        print(json.dumps({"status": status, "transactions": int(os.read(receive, 20) or 0)}), flush=True)
        os.close(receive)


if __name__ == "__main__":
    main()
