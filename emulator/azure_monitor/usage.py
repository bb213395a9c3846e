"""What scoring processes use of this machine: measured from /proc once a minute and when somebody asks, and kept."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from emulator.azure_ml.store import ResourceStore
from emulator.azure_monitor.definitions import RETENTION
from emulator.status import processes

_SCHEMA = """
CREATE TABLE IF NOT EXISTS scoring_usage (
    time TEXT NOT NULL,
    deployment TEXT NOT NULL,
    instance TEXT NOT NULL,
    cpu REAL NOT NULL,
    memory REAL NOT NULL,
    capacity INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS scoring_usage_by_deployment ON scoring_usage (deployment, time);
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A deployment's scoring process, the first of its own tree."""

    deployment: str
    """ARM id in lower case."""
    pid: int
    capacity: int
    """How many instances the deployment has."""


@dataclass(frozen=True, slots=True)
class Used:
    time: datetime
    """Virtual UTC."""
    instance: str
    cpu: float
    """Percent of all processors of the machine since the sample before, or since the process began."""
    memory: float
    """Percent of the machine's memory: the resident sets of the process and those below it."""
    capacity: int


class Usage:
    def __init__(self, store: ResourceStore) -> None:
        store.create_tables(_SCHEMA)
        self._store = store
        self._before: dict[int, tuple[float, float]] = {}
        """Process id to its processor seconds and when they were read (monotonic seconds)."""

    def sample(self, running: list[Running], now: datetime) -> None:
        """Measure these processes, and forget what is older than the retention."""
        rows = [row for item in running if (row := self._measure(item, now)) is not None]
        known = {item.pid for item in running}
        self._before = {pid: seen for pid, seen in self._before.items() if pid in known}
        with self._store.transaction() as connection:
            connection.executemany("INSERT INTO scoring_usage VALUES (?, ?, ?, ?, ?, ?)", rows)
            connection.execute("DELETE FROM scoring_usage WHERE time < ?", ((now - RETENTION).isoformat(),))

    def between(self, deployment: str, since: datetime, until: datetime) -> list[Used]:
        rows = self._store.query(
            "SELECT time, instance, cpu, memory, capacity FROM scoring_usage"
            " WHERE deployment = ? AND time >= ? AND time < ? ORDER BY time",
            (deployment.lower(), since.isoformat(), until.isoformat()))
        return [Used(datetime.fromisoformat(moment), *rest) for moment, *rest in rows]

    def _measure(self, item: Running, now: datetime) -> tuple[str, str, str, float, float, int] | None:
        found = processes(item.pid)
        if not found:
            return None  # it has ended meanwhile
        read, seconds = time.monotonic(), sum(process.cpu_seconds for process in found)
        seconds_before, read_before = self._before.get(item.pid, (0.0, read - _age(item.pid)))
        self._before[item.pid] = seconds, read
        elapsed = max(read - read_before, 1 / os.sysconf("SC_CLK_TCK"))
        share = max(0.0, seconds - seconds_before) / elapsed / (os.cpu_count() or 1)
        memory = sum(process.memory for process in found) / (os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
        instance = f"{item.deployment.rpartition('/')[2]}-{item.pid}"
        return now.isoformat(), item.deployment, instance, min(100.0, 100 * share), min(100.0, 100 * memory), item.capacity


def _age(pid: int) -> float:
    """Seconds since a process began; 0 when it is gone."""
    try:
        started = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
        return max(0.0, float(Path("/proc/uptime").read_text().split()[0]) - started)
    except OSError:
        return 0.0
