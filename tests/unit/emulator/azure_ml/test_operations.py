"""Long-running operations: begun durably, run once the change has committed, resumed, and made to fail."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from emulator.azure_ml.errors import OperationFailed
from emulator.azure_ml.operations import Operations
from emulator.azure_ml.store import ResourceStore
from tests.support.azure_ml import StillClock, end_of, eventually


class Work:
    """A handler that records its payloads and does what it is told."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self.failures: list[dict[str, str]] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        self.seen.append(payload)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        return {"properties": {"done": True}}

    def failed(self, payload: dict[str, Any], error: dict[str, str]) -> None:
        self.failures.append(error)


def engine(path: Path, work: Work) -> tuple[ResourceStore, Operations]:
    store = ResourceStore(path / "o.sqlite")
    operations = Operations(store, StillClock(), "https://localhost:1", "s", "eastus")
    operations.register("work", work, work.failed)
    return store, operations


async def ended(operations: Operations, operation: str) -> dict[str, Any]:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(Starlette(routes=operations.routes()))
    ) as http:
        return await end_of(http, operations.response_headers(operation)["Azure-AsyncOperation"])


async def test_it_runs_after_the_transaction_that_begins_it(tmp_path: Path) -> None:
    work = Work()
    store, operations = engine(tmp_path, work)
    await operations.start()
    with store.transaction():
        operation = operations.begin("work", "/W/a", {"n": 1})
        assert operations.in_progress("/w/A") == operation
    answer = await ended(operations, operation)
    assert (answer["status"], answer["properties"]) == ("Succeeded", {"done": True})
    assert work.seen == [{"n": 1}]
    assert operations.in_progress("/w/a") is None


async def test_a_transaction_that_is_rolled_back_begins_nothing(tmp_path: Path) -> None:
    work = Work()
    store, operations = engine(tmp_path, work)
    await operations.start()

    def change() -> None:
        with store.transaction():
            operations.begin("work", "/w/a", {})
            raise RuntimeError("second thoughts")

    with pytest.raises(RuntimeError, match="second thoughts"):
        change()
    await ended(operations, operations.begin("work", "/w/b", {"n": 2}))
    assert work.seen == [{"n": 2}]


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (OperationFailed("no such model", code="BadArgument"), "BadArgument", "no such model"),
        (ValueError("surprise"), "InternalServerError", "ValueError: surprise"),
    ],
)
async def test_what_the_handler_raises_is_the_operations_error(
    tmp_path: Path, error: Exception, code: str, message: str
) -> None:
    work = Work()
    work.error = error
    _, operations = engine(tmp_path, work)
    await operations.start()
    answer = await ended(operations, operations.begin("work", "/w/a", {}))
    assert (answer["status"], answer["error"]) == ("Failed", {"code": code, "message": message})
    assert work.failures == [answer["error"]]


async def test_a_fault_fails_it_without_the_handler(tmp_path: Path) -> None:
    work = Work()
    _, operations = engine(tmp_path, work)
    await operations.start()
    operation = operations.begin("work", "/w/a", {}, {"code": "OutOfQuota", "message": "no cores"})
    assert (await ended(operations, operation))["status"] == "Failed"
    assert work.seen == []
    assert work.failures == [{"code": "OutOfQuota", "message": "no cores"}]


async def test_what_an_earlier_process_left_is_taken_up(tmp_path: Path) -> None:
    first = Work()
    first.gate.clear()
    _, operations = engine(tmp_path, first)
    await operations.start()
    operation = operations.begin("work", "/w/a", {"n": 1})
    await eventually(lambda: first.seen or None)
    await operations.stop()  # abandoned in the middle, as by kill -9

    second = Work()
    _, again = engine(tmp_path, second)
    await again.start()
    assert (await ended(again, operation))["status"] == "Succeeded"
    assert second.seen == [{"n": 1}]
    await again.stop()


async def test_unknown_kinds_are_refused(tmp_path: Path) -> None:
    _, operations = engine(tmp_path, Work())
    with pytest.raises(KeyError, match="other"):
        operations.begin("other", "/w/a", {})


async def test_a_location_poll_answers_202_then_the_result_or_the_error(tmp_path: Path) -> None:
    work = Work()
    work.gate.clear()
    _, operations = engine(tmp_path, work)
    await operations.start()
    good = operations.begin("work", "/w/a", {})
    bad = operations.begin("work", "/w/b", {}, {"code": "OutOfQuota", "message": "no cores"})
    transport = httpx.ASGITransport(Starlette(routes=operations.routes()))
    async with httpx.AsyncClient(transport=transport) as client:
        pending = await client.get(operations.response_headers(good)["Location"])
        assert (pending.status_code, "Location" in pending.headers) == (202, True)
        work.gate.set()
        await ended(operations, good)
        await ended(operations, bad)
        assert (await client.get(operations.response_headers(good)["Location"])).json() == {
            "properties": {"done": True}
        }
        failed = await client.get(operations.response_headers(bad)["Location"])
        assert (failed.status_code, failed.json()["error"]["code"]) == (400, "OutOfQuota")
        assert (await client.get(operations.response_headers("none")["Location"])).status_code == 404
