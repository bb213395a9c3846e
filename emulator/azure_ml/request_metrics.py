"""What was asked of each deployment: one row a request, kept for metrics, written in batches."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import astuple, dataclass
from datetime import datetime

from emulator.azure_ml.store import ResourceStore

FLUSH_SECONDS = 1.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS scoring_requests (
    time TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    deployment TEXT NOT NULL,
    status INTEGER NOT NULL,
    model_status INTEGER,
    latency_ms REAL NOT NULL,
    mirrored INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS scoring_requests_by_endpoint ON scoring_requests (endpoint, time);
"""


@dataclass(frozen=True, slots=True)
class ScoredRequest:
    time: str
    """ISO 8601 in virtual UTC time."""
    endpoint: str
    """The endpoint's ARM id in lower case."""
    deployment: str
    status: int
    """What the endpoint answered (424 when the model failed)."""
    model_status: int | None
    """What the model's container answered; None when it did not."""
    latency_ms: float
    mirrored: bool


class RequestMetrics:
    """Recording never waits for the disk: what `kill -9` catches in memory, a second's worth, is lost."""

    def __init__(self, store: ResourceStore) -> None:
        store.create_tables(_SCHEMA)
        self._store = store
        self._pending: list[ScoredRequest] = []
        self._writer: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    async def start(self) -> None:
        self._writer = asyncio.create_task(self._write(), name="request metrics")

    async def stop(self) -> None:
        self._stopping.set()
        if self._writer is not None:
            await self._writer

    def record(self, request: ScoredRequest) -> None:
        self._pending.append(request)

    def between(self, endpoint_id: str, since: datetime, until: datetime) -> list[ScoredRequest]:
        """Requests to an endpoint in `[since, until)` of virtual time, oldest first."""
        self.flush()
        rows = self._store.query(
            "SELECT time, endpoint, deployment, status, model_status, latency_ms, mirrored"
            " FROM scoring_requests WHERE endpoint = ? AND time >= ? AND time < ? ORDER BY time",
            (endpoint_id.lower(), since.isoformat(), until.isoformat()),
        )
        return [
            ScoredRequest(time, endpoint, deployment, status, model_status, latency, bool(mirrored))
            for time, endpoint, deployment, status, model_status, latency, mirrored in rows
        ]

    def flush(self) -> None:
        pending, self._pending = self._pending, []
        if not pending:
            return
        with self._store.transaction() as connection:
            connection.executemany(
                "INSERT INTO scoring_requests VALUES (?, ?, ?, ?, ?, ?, ?)",
                [astuple(item) for item in pending],
            )

    async def _write(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), FLUSH_SECONDS)
            await asyncio.to_thread(self.flush)
