"""Killed after any of its commits, Event Grid loses nothing that it had acknowledged."""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from emulator.event_grid.database import Database
from tests.support.event_grid import LocalEventGrid
from tests.support.subscriber import DEADLINE
from tests.unit.emulator.event_grid.endpoint import Endpoint, endpoint

SEED = 20260102
SAMPLE = 5
CLOCK = "clock.json"
OPEN = ("pending", "dead_lettering")


class Snapshots:
    """The database as each commit left it, and what had been acknowledged by then."""

    def __init__(self, folder: Path, state: Path) -> None:
        self._folder, self._state, self.acknowledged = folder, state, set[str]()
        self.taken: list[tuple[Path, set[str]]] = []

    def take(self) -> None:
        target = self._folder / f"{len(self.taken)}"
        target.mkdir(parents=True)
        # A second connection sees what is committed, and only that: what a killed process leaves behind.
        with sqlite3.connect(self._state / "event_grid.sqlite") as source, sqlite3.connect(target / "event_grid.sqlite") as copy:
            source.backup(copy)
        (target / CLOCK).write_bytes((self._state / CLOCK).read_bytes())
        self.taken.append((target, set(self.acknowledged)))


async def life(state: Path, webhook: Endpoint, snapshots: Snapshots) -> None:
    """Deliveries that succeed, that are repeated, that are given up: `bad` ones always fail."""
    webhook.answer = answered
    grid = LocalEventGrid(state, webhook)
    grid.subscribe("all")
    grid.subscribe("together", max_events_per_batch=3, function=None, endpoint=webhook.url + "/together")
    await grid.start()
    for names in (("a1", "a2"), ("bad1",), ("a3", "bad2", "a4")):
        grid.publish(*names)
        snapshots.acknowledged |= set(names)
    for _ in range(3):
        await until_quiet(grid)
        grid.clock.advance(3600)
    await until_quiet(grid)
    await grid.stop()


def answered(ids: list[str]) -> int:
    return 500 if any(name.startswith("bad") for name in ids) else 200


async def until_quiet(grid: LocalEventGrid) -> None:
    """Nothing is due: an attempt that is under way is of a delivery that is."""
    async with asyncio.timeout(DEADLINE):
        while any(  # noqa: ASYNC110 - what is waited for has no event
                item["state"] in OPEN and datetime.fromisoformat(item["due"]) <= grid.clock.now()
                for item in await grid.deliveries()):
            await asyncio.sleep(0.005)


async def check(state: Path, acknowledged: set[str]) -> None:
    async with endpoint() as webhook:
        grid = LocalEventGrid(state, webhook)
        grid.subscribe("all", max_attempts=4)
        grid.subscribe("together", max_events_per_batch=3, max_attempts=4, function=None, endpoint=webhook.url + "/together")
        webhook.answer = answered
        over = ended_in(state)
        await grid.start()
        for _ in range(6):
            await until_quiet(grid)
            grid.clock.advance(3600)
        await until_quiet(grid)
        items = await grid.deliveries()
        found = [(item["subscription"], item["eventId"]) for item in items]
        assert len(found) == len(set(found)), "an event is there twice"
        assert set(found) >= {(name, event) for name in ("all", "together") for event in acknowledged}, "an acknowledged event is lost"
        letters = {(name.split("/")[1].lower(), letter["id"]) for name, letter in grid.dead_letters().items()}
        for item in items:
            assert item["state"] in ("delivered", "dead_lettered"), item
            delivery = item["subscription"], item["eventId"]
            if delivery not in over:
                assert item["eventId"] in webhook.ids
                assert (delivery in letters) == (item["state"] == "dead_lettered")
        await grid.stop()


def ended_in(state: Path) -> set[tuple[str, str]]:
    """(subscription, event) of the deliveries that the process that died had done with."""
    with sqlite3.connect(state / "event_grid.sqlite") as db:
        return set(db.execute("select subscription, json_extract(event, '$.id') from delivery "
                              "where state not in ('pending', 'dead_lettering')"))


async def snapshots_of_a_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, set[str]]]:
    state = tmp_path / "state"
    state.mkdir()
    snapshots = Snapshots(tmp_path / "snapshots", state)
    write = Database.write

    def write_and_take[T](self: Database, change: Callable[[sqlite3.Connection], T]) -> T:
        done = write(self, change)
        snapshots.take()
        return done

    monkeypatch.setattr(Database, "write", write_and_take)
    async with endpoint() as webhook:
        await life(state, webhook, snapshots)
    monkeypatch.setattr(Database, "write", write)
    assert len(snapshots.taken) > 20
    return snapshots.taken


async def test_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = await snapshots_of_a_life(tmp_path, monkeypatch)
    for state, acknowledged in random.Random(SEED).sample(taken, SAMPLE):
        await check(state, acknowledged)


@pytest.mark.exhaustive
async def test_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for state, acknowledged in await snapshots_of_a_life(tmp_path, monkeypatch):
        await check(state, acknowledged)
