"""Long-running operations: begun in a transaction, run in the background, resumed after a restart.

One engine for all of Azure ML. An operation is a row; a handler registered for its kind does the work
and may be called again for the same operation after a crash, so handlers are idempotent. Clients poll
`Azure-AsyncOperation` or `Location`; `retry-after-ms` keeps that quick without making it busy.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from emulator.azure_ml.errors import NotFound, OperationFailed, envelope, error_response
from emulator.azure_ml.resource import PROVIDER, json_response
from emulator.azure_ml.store import ResourceStore
from emulator.context import STICK, Clock

logger = logging.getLogger(__name__)

Handler = Callable[[dict[str, Any]], Awaitable[dict[str, Any] | None]]
"""Takes the payload, returns what a `Location` poll answers (None: 204). Raises `OperationFailed`."""
OnFailure = Callable[[dict[str, Any], dict[str, str]], None]
"""Takes the payload and `{"code", "message"}`: marks the resource as failed, in one transaction with it."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS operations (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    resource_id TEXT NOT NULL,
    payload TEXT NOT NULL,
    fail TEXT,
    status TEXT NOT NULL,
    result TEXT,
    error TEXT,
    started TEXT NOT NULL,
    ended TEXT
);
CREATE INDEX IF NOT EXISTS operations_in_progress ON operations (resource_id) WHERE status = 'InProgress';
"""


_KEPT = timedelta(days=1)
"""How long the outcome of an operation can be asked for, at least."""


@dataclass(frozen=True, slots=True)
class _Kind:
    handler: Handler
    on_failure: OnFailure | None


class Operations:
    """`base_url`, `subscription` and `location` make the URLs that clients poll."""

    def __init__(
        self, store: ResourceStore, clock: Clock, base_url: str, subscription: str, location: str
    ) -> None:
        store.create_tables(_SCHEMA)
        self._store = store
        self._clock = clock
        self._prefix = f"/subscriptions/{subscription}/providers/{PROVIDER}/locations/{location}"
        self._base_url = base_url
        self._kinds: dict[str, _Kind] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._begun_at: dict[str, float] = {}
        self._stuck: dict[str, Callable[[], Awaitable[None]]] = {}
        """Operations that a fault keeps in progress. A restart of the platform ends the fault, and they go on."""
        self._loop: asyncio.AbstractEventLoop | None = None

    def register(self, kind: str, handler: Handler, on_failure: OnFailure | None = None) -> None:
        """Who does the work of `kind`. Before `start()`, or an earlier process's operations stay unserved."""
        self._kinds[kind] = _Kind(handler, on_failure)

    async def start(self) -> None:
        """Take up every operation that an earlier process left in progress; forget those that ended long ago."""
        self._loop = asyncio.get_running_loop()
        with self._store.transaction() as connection:
            connection.execute("DELETE FROM operations WHERE ended < ?", ((self._clock.now() - _KEPT).isoformat(),))
        for (operation_id,) in self._store.query(
            "SELECT id FROM operations WHERE status = 'InProgress' ORDER BY rowid"
        ):
            self._run_soon(operation_id)

    async def stop(self) -> None:
        """Abandon what is running; the next start takes it up."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def begin(
        self, kind: str, resource_id: str, payload: dict[str, Any], fail: dict[str, Any] | None = None
    ) -> str:
        """Write the operation and run it once the surrounding transaction has committed; returns its id.

        `fail` (`{"code", "message"}`) makes it end Failed without its handler being called.
        """
        if kind not in self._kinds:
            raise KeyError(f"no handler for operations of kind {kind!r}")
        operation_id = str(uuid.uuid4())
        if (stick := STICK.get()) is not None:
            self._stuck[operation_id] = stick
        with self._store.transaction() as connection:
            connection.execute(
                "INSERT INTO operations (id, kind, resource_id, payload, fail, status, started)"
                " VALUES (?, ?, ?, ?, ?, 'InProgress', ?)",
                (
                    operation_id,
                    kind,
                    resource_id.lower(),
                    json.dumps(payload),
                    json.dumps(fail) if fail else None,
                    self._clock.now().isoformat(),
                ),
            )
        self._run_soon(operation_id)
        return operation_id

    def in_progress(self, resource_id: str) -> str | None:
        """The id of the operation that still runs on a resource, if any."""
        rows = self._store.query(
            "SELECT id FROM operations WHERE resource_id = ? AND status = 'InProgress' LIMIT 1",
            (resource_id.lower(),),
        )
        return rows[0][0] if rows else None

    def response_headers(self, operation_id: str) -> dict[str, str]:
        """The headers of the response that begins an operation."""
        version = "api-version=2023-04-01-preview"
        root = f"{self._base_url}{self._prefix}"
        return {
            "Azure-AsyncOperation": f"{root}/mfeOperationsStatus/{operation_id}?{version}",
            "Location": f"{root}/mfeOperationResults/{operation_id}?{version}",
            "x-ms-async-operation-timeout": "PT1H",
            "retry-after-ms": self._retry_after(operation_id),
        }

    def routes(self) -> list[BaseRoute]:
        path = "/subscriptions/{subscription}/providers/" + PROVIDER + "/locations/{location}"
        return [
            Route(path + "/mfeOperationsStatus/{operation}", self._status, methods=["GET"]),
            Route(path + "/mfeOperationResults/{operation}", self._result, methods=["GET"]),
        ]

    async def _status(self, request: Request) -> Response:
        try:
            row = self._row(request.path_params["operation"])
        except NotFound as error:
            return error_response(error)
        body: dict[str, Any] = {"id": request.url.path, "name": row["id"], "status": row["status"]}
        body["startTime"] = row["started"]
        if row["ended"]:
            body["endTime"] = row["ended"]
        if row["error"]:
            body["error"] = row["error"]
        if row["result"] is not None:
            body["properties"] = row["result"].get("properties", {})
        return json_response(body, headers={"retry-after-ms": self._retry_after(row["id"])})

    async def _result(self, request: Request) -> Response:
        try:
            row = self._row(request.path_params["operation"])
        except NotFound as error:
            return error_response(error)
        if row["status"] == "InProgress":
            return Response(status_code=202, headers=self.response_headers(row["id"]))
        if row["error"]:
            return json_response(envelope(row["error"]["code"], row["error"]["message"]), status=400)
        return json_response(row["result"]) if row["result"] is not None else Response(status_code=204)

    def _row(self, operation_id: str) -> dict[str, Any]:
        rows = self._store.query(
            "SELECT id, kind, payload, fail, status, result, error, started, ended"
            " FROM operations WHERE id = ?",
            (operation_id,),
        )
        if not rows:
            raise NotFound(f"Operation {operation_id} was not found.")
        names = ("id", "kind", "payload", "fail", "status", "result", "error", "started", "ended")
        row = dict(zip(names, rows[0], strict=True))
        for name in ("payload", "fail", "result", "error"):
            row[name] = json.loads(row[name]) if row[name] is not None else None
        return row

    def _retry_after(self, operation_id: str) -> str:
        """Milliseconds: quick at first, then a tenth of the time gone by, so that long waits cost little."""
        elapsed = time.monotonic() - self._begun_at.get(operation_id, time.monotonic())
        return str(int(min(500.0, max(50.0, elapsed * 100.0))))

    def _run_soon(self, operation_id: str) -> None:
        self._begun_at[operation_id] = time.monotonic()
        if self._loop is None:
            return  # start() will find it
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = False
        if here:
            self._create_task(operation_id)  # it runs when the caller awaits: after its transaction
        else:
            self._loop.call_soon_threadsafe(self._create_task, operation_id)

    def _create_task(self, operation_id: str) -> None:
        task = asyncio.get_running_loop().create_task(
            self._run(operation_id), name=f"operation {operation_id}"
        )
        self._tasks[operation_id] = task
        task.add_done_callback(lambda _: self._forget(operation_id))

    def _forget(self, operation_id: str) -> None:
        self._tasks.pop(operation_id, None)
        self._begun_at.pop(operation_id, None)

    async def _run(self, operation_id: str) -> None:
        stuck = self._stuck.pop(operation_id, None)
        try:
            row = self._row(operation_id)
        except NotFound:
            return  # its transaction was rolled back
        if stuck is not None:
            await stuck()
        kind = self._kinds.get(row["kind"])
        if kind is None:
            logger.error("operation %s: no handler for kind %s", operation_id, row["kind"])
            return
        if row["fail"]:
            error = {
                "code": row["fail"].get("code") or "InternalServerError",
                "message": row["fail"].get("message", ""),
            }
            self._end_failed(row, kind, error)
            return
        try:
            result = await kind.handler(row["payload"])
        except OperationFailed as failure:
            self._end_failed(row, kind, {"code": failure.code, "message": failure.message})
        except Exception as problem:
            logger.exception("operation %s (%s) broke", operation_id, row["kind"])
            self._end_failed(
                row, kind, {"code": "InternalServerError", "message": f"{type(problem).__name__}: {problem}"}
            )
        else:
            self._end(operation_id, "Succeeded", result=result)

    def _end_failed(self, row: dict[str, Any], kind: _Kind, error: dict[str, str]) -> None:
        with self._store.transaction():
            if kind.on_failure is not None:
                kind.on_failure(row["payload"], error)
            self._end(row["id"], "Failed", error=error)

    def _end(
        self,
        operation_id: str,
        status: str,
        result: dict[str, Any] | None = None,
        error: dict[str, str] | None = None,
    ) -> None:
        with self._store.transaction() as connection:
            connection.execute(
                "UPDATE operations SET status = ?, result = ?, error = ?, ended = ? WHERE id = ?",
                (
                    status,
                    json.dumps(result) if result is not None else None,
                    json.dumps(error) if error is not None else None,
                    self._clock.now().isoformat(),
                    operation_id,
                ),
            )
