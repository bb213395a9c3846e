"""Orchestrations a second of three activities each: the local platform's backend, durably, beside durabletask's in-memory one over gRPC.

Both run durabletask's own worker code on the same orchestration, one after the other on this machine. Ours keeps every
change in SQLite with full synchronisation and is called in this process, as the Functions host does it; the in-memory
backend keeps nothing and is called over gRPC, the one way it offers. A second figure is what ours uses when idle.
"""

from __future__ import annotations

import argparse
import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import durabletask.internal.orchestrator_service_pb2 as pb
from durabletask import task
from durabletask.client import TaskHubGrpcClient
from durabletask.testing import create_test_backend
from durabletask.worker import TaskHubGrpcWorker

from emulator.durable import SqliteBackend
from emulator.durable.virtual_time import OffsetClock
from emulator.functions_host.in_process import InProcess

GOAL = 2.0
"""Times the in-memory backend's throughput."""
IDLE_GOAL = 0.05
"""Seconds of processor time in ten seconds of nothing."""


def work(_: task.ActivityContext, number: int) -> int:
    return number + 1


def three(context: task.OrchestrationContext, number: int) -> Any:
    for _ in range(3):
        number = yield context.call_activity(work, input=number)
    return number


def worker(address: str) -> TaskHubGrpcWorker:
    made = TaskHubGrpcWorker(host_address=address, log_handler=logging.NullHandler())
    made.add_orchestrator(three)
    made.add_activity(work)
    return made


def in_memory(instances: int, clients: int) -> float:
    """Orchestrations a second of durabletask's backend over gRPC."""
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        port = chosen.getsockname()[1]
    backend = create_test_backend(port=port)
    serving, client = worker(f"localhost:{port}"), TaskHubGrpcClient(
        host_address=f"localhost:{port}", log_handler=logging.NullHandler())
    serving.start()

    def one(number: int) -> None:
        instance = client.schedule_new_orchestration(three, input=number)
        state = client.wait_for_orchestration_completion(instance, timeout=120)
        assert state is not None
        assert state.serialized_output == str(number + 3), state

    try:
        return _per_second(one, instances, clients)
    finally:
        client.close()
        serving.stop()
        backend.stop(0)


class _Direct:
    """The worker's connection, without one: its answers are calls in this process."""

    def __init__(self, backend: SqliteBackend) -> None:
        self._backend, self._context = backend, InProcess()

    def __getattr__(self, method: str) -> Callable[[Any], Any]:
        call = getattr(self._backend, method)
        return lambda request: call(request, self._context)


def ours(instances: int, clients: int, threads: int, path: Path | None) -> tuple[float, float]:
    """Orchestrations a second of our backend, and transactions an orchestration."""
    backend = SqliteBackend(path, OffsetClock())
    backend.start()
    direct: Any = _Direct(backend)
    serving: Any = worker("localhost:1")  # its code only: it connects to nothing
    pool = ThreadPoolExecutor(threads)

    def serve() -> None:
        for item in backend.GetWorkItems(pb.GetWorkItemsRequest(), InProcess()):
            if item.HasField("orchestratorRequest"):
                pool.submit(serving._execute_orchestrator, item.orchestratorRequest, direct, item.completionToken)
            else:
                pool.submit(serving._execute_activity, item.activityRequest, direct, item.completionToken)

    def one(number: int) -> None:
        start = pb.CreateInstanceRequest(name="three", instanceId=f"bench-{number}")
        start.input.value = str(number)
        direct.StartInstance(start)
        state = direct.WaitForInstanceCompletion(pb.GetInstanceRequest(instanceId=start.instanceId, getInputsAndOutputs=True))
        assert state.orchestrationState.output.value == str(number + 3), state

    receiving = ThreadPoolExecutor(1)
    receiving.submit(serve)
    try:
        rate = _per_second(one, instances, clients)
        return rate, backend.commits / instances
    finally:
        backend.stop(0)
        pool.shutdown()
        receiving.shutdown()


def _per_second(one: Callable[[int], None], instances: int, clients: int) -> float:
    one(-1)  # the first pays for imports and connections
    with ThreadPoolExecutor(clients) as pool:
        began = time.monotonic()
        list(pool.map(one, range(instances)))
        return instances / (time.monotonic() - began)


def idle(folder: Path, seconds: float) -> float:
    """Processor seconds that a started backend with a worker uses in a while without work."""
    backend = SqliteBackend(folder / "idle.sqlite", OffsetClock())
    backend.start()
    with ThreadPoolExecutor(1) as receiving:
        receiving.submit(lambda: list(backend.GetWorkItems(pb.GetWorkItemsRequest(), InProcess())))
        began = time.process_time()
        time.sleep(seconds)
        used = time.process_time() - began
        backend.stop(0)
    return used


def main(argv: list[str]) -> None:
    """Prints a line a figure; what is over its goal is marked, and nothing fails: machines differ."""
    parser = argparse.ArgumentParser(prog="python -m bench durable", description=__doc__)
    parser.add_argument("--instances", type=int, default=600, help="orchestrations of a run (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=8, help="clients that start one, wait for it, start the next (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=8, help="threads that run our app's code (default: %(default)s)")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds of doing nothing (default: %(default)g)")
    parser.add_argument("--rounds", type=int, default=3, help="runs in turn; the medians count (default: %(default)s)")
    options = parser.parse_args(argv)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(prefix="durable-bench-") as name:
        folder = Path(name)
        theirs, durable, commits = [], [], 0.0
        for turn in range(options.rounds):
            theirs.append(in_memory(options.instances, options.clients))
            rate, commits = ours(options.instances, options.clients, options.threads, folder / f"{turn}.sqlite")
            durable.append(rate)
        middle = SimpleNamespace(theirs=sorted(theirs)[len(theirs) // 2], ours=sorted(durable)[len(durable) // 2])
        ratio = middle.ours / middle.theirs
        print(f"in-memory backend over gRPC: {middle.theirs:.0f} orchestrations/s ({', '.join(f'{rate:.0f}' for rate in theirs)})")
        print(f"SQLite, synchronous=FULL, in this process: {middle.ours:.0f} orchestrations/s"
              f" ({', '.join(f'{rate:.0f}' for rate in durable)}), {commits:.1f} transactions an orchestration")
        print(f"ratio: {ratio:.2f} (goal: {GOAL:g}){'' if ratio >= GOAL else '  <-- under the goal'}")
        used = idle(folder, options.idle)
        print(f"idle for {options.idle:g} s: {used * 1000:.1f} ms of processor time (goal: under {IDLE_GOAL * 1000:g} ms)"
              f"{'' if used < IDLE_GOAL else '  <-- over the goal'}")
