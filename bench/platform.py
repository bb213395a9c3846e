"""The platform itself: how long it takes to come up and to be emptied, how big it is, and what it does when nobody asks."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

from emulator.status import Process, processes
from emulator.testing import LivePlatform

GOALS = {"start": 5.0, "memory": 400.0, "idle": 1.0, "reset": 100.0}
"""Seconds, MiB, percent of one processor, milliseconds."""


def main(argv: list[str]) -> None:
    """Prints a line a figure; what is over its goal is marked, and nothing fails: machines differ."""
    parser = argparse.ArgumentParser(prog="python -m bench platform", description=__doc__)
    parser.add_argument("--starts", type=int, default=5, help="starts whose median counts (default: %(default)s)")
    parser.add_argument("--idle", type=float, default=10.0, help="seconds of doing nothing (default: %(default)g)")
    parser.add_argument("--resets", type=int, default=20, help="resets whose median counts (default: %(default)s)")
    parser.add_argument("--no-functions", action="store_true", help="without the Functions host")
    options = parser.parse_args(argv)
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    with tempfile.TemporaryDirectory(prefix="platform-bench-") as folder:
        platform = LivePlatform(Path(folder) / "state", functions=not options.no_functions)
        _start(platform, options.starts)
        try:
            _memory(platform, options.idle)
            _reset(platform, options.resets)
        finally:
            platform.stop()


def _start(platform: LivePlatform, times: int) -> None:
    """From the command to `ready`, on a folder that is there after the first; the platform is left running."""
    took = []
    for number in range(times):
        if number:
            platform.stop()
        begun = time.perf_counter()
        platform.start()
        took.append(time.perf_counter() - begun)
    first = f", the first, on a new folder, {took[0]:.2f}"
    _say("start", statistics.median(took), "s", f"median of {times}{first}, slowest {max(took):.2f}")


def _memory(platform: LivePlatform, idle: float) -> None:
    """Resident memory of all processes, and the processor time that they use while nothing is asked of them."""
    before = _processes(platform)
    time.sleep(idle)
    after = _processes(platform)
    used = {process.pid: process.cpu_seconds for process in before}
    spent = {process.role: process.cpu_seconds - used.get(process.pid, 0.0) for process in after}
    parts = ", ".join(f"{process.role} {process.memory / 2**20:.0f}" for process in after)
    _say("memory", sum(process.memory for process in after) / 2**20, "MiB", parts)
    shares = ", ".join(f"{role} {seconds / idle * 100:.1f}" for role, seconds in spent.items())
    _say("idle", sum(spent.values()) / idle * 100, "% of a processor", f"over {idle:g} s: {shares}")


def _reset(platform: LivePlatform, times: int) -> None:
    """Of a platform in which an event has been delivered or waits; each part's share of the last one."""
    took, parts = [], {}
    for number in range(times):
        platform.control("POST", "/eventgrid/publish", json={"topic": _topic(platform), "events": [{
            "id": str(number), "subject": "s", "eventType": "T", "eventTime": "2026-01-01T00:00:00Z", "data": {}, "dataVersion": "1"}]})
        begun = time.perf_counter()
        parts = platform.control("POST", "/reset")["milliseconds"]
        took.append((time.perf_counter() - begun) * 1000)
    _say("reset", statistics.median(took), "ms", f"median of {times}, slowest {max(took):.0f}; "
         + ", ".join(f"{name} {share:.0f}" for name, share in parts.items()))


def _topic(platform: LivePlatform) -> str:
    return platform.env["EVENTGRID_TOPIC_ENDPOINT"].split("/")[-3]


def _processes(platform: LivePlatform) -> list[Process]:
    return processes(int((platform.state / "lock").read_text()))


def _say(name: str, value: float, unit: str, detail: str) -> None:
    over = "" if value <= GOALS[name] else f"  OVER its goal of {GOALS[name]:g}"
    print(f"{name:7} {value:8.2f} {unit}{over}  ({detail})", flush=True)
