"""Killed at any transaction, or at any moment under load: what was acknowledged is there, and ends as it should."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fault.emulator.durable.driver import CLIENTS, EACH
from tests.fault.emulator.durable.workload import EVENTS, INSTANCES, SIGNALS, read
from tests.support.platform import wait_for

ROOT = Path(__file__).parents[4]
COMPLETED = 1
WHEN = ("before", "within", "after")
SAMPLE = 6
"""Kills at transactions in the default run."""


@dataclass
class Driver:
    """One process that forks the ones that die."""

    process: subprocess.Popen[str]

    def begin(self, state: Path, kind: str, die_at: int = 0, when: str = "before") -> int:
        """Start a life on a state folder; returns its process id."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps({
            "state": str(state / "durable.sqlite"), "log": str(state / "log"), "kind": kind, "die_at": die_at, "when": when}) + "\n")
        self.process.stdin.flush()
        return int(json.loads(self.process.stdout.readline())["process"])

    def end(self) -> tuple[bool, int]:
        """(True if it was killed, the transactions of a life that ended by itself). Fails if it ended badly."""
        assert self.process.stdout
        said = json.loads(self.process.stdout.readline())
        killed = os.WIFSIGNALED(said["status"]) and os.WTERMSIG(said["status"]) == signal.SIGKILL
        assert killed or said["status"] == 0, said
        return killed, said["transactions"]


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    process = subprocess.Popen([sys.executable, "-m", "tests.fault.emulator.durable.driver"], cwd=ROOT, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**os.environ, "GRPC_ENABLE_FORK_SUPPORT": "0"})
    yield Driver(process)
    process.communicate(timeout=30)


@dataclass
class Figures:
    kills: int = 0
    acknowledged: int = 0
    lost: int = 0
    doubled: int = 0

    def __str__(self) -> str:
        return (f"{self.kills} kills, {self.acknowledged} acknowledged (starts, events, signals, activities, ends), {self.lost} lost,"
                f" {self.doubled} doubled")

    def add(self, state: Path, outputs: dict[str, Any]) -> None:
        """Look at the log of a state whose last life ended by itself. Outputs: what each instance must have ended with."""
        ended: dict[str, Any] = {}
        accepted: set[str] = set()
        for what, key, value in read(state / "log"):
            if what == "run":
                self.doubled += key in accepted
                continue
            self.acknowledged += what != "lost"
            self.lost += what == "lost"
            if what == "activity":
                accepted.add(key)
            elif what == "end":
                status, output = value
                seen = (status, json.loads(output or "null"))
                assert ended.setdefault(key, seen) == seen, f"{key} ended twice, and in two ways"
        for key, output in outputs.items():
            assert ended.get(key) == (COMPLETED, output), f"{key} ended with {ended.get(key)}"


OUTPUTS = {instance: output for instance, (_, _, output) in INSTANCES.items()}


def _die_once(driver: Driver, state: Path, die_at: int, when: str, figures: Figures) -> bool:
    """One life that dies at a transaction, one that ends; False if there was no such transaction."""
    state.mkdir()
    driver.begin(state, "points", die_at, when)
    killed, _ = driver.end()
    if killed:
        driver.begin(state, "points")
        assert driver.end()[0] is False
    figures.kills += killed
    figures.add(state, OUTPUTS)
    return killed


def _transactions(driver: Driver, state: Path) -> int:
    state.mkdir()
    driver.begin(state, "points")
    killed, transactions = driver.end()
    assert not killed
    logged = {(what, key) for what, key, _ in read(state / "log")}
    assert {("event", name) for _, name, _ in EVENTS} | {("signal", name) for name in SIGNALS} <= logged
    return transactions


def _nothing_went_wrong(figures: Figures) -> None:
    print(f"durable state: {figures}")
    assert (figures.lost, figures.doubled) == (0, 0)


def test_killed_at_some_transactions(driver: Driver, tmp_path: Path) -> None:
    figures, chosen = Figures(), random.Random(20261)
    count = _transactions(driver, tmp_path / "whole")
    for number in range(SAMPLE):
        # Transactions are shared by who comes together, so a life may have fewer: then it is told to die earlier. The last ones are
        # left to the exhaustive run.
        die_at = chosen.randint(number * (count - 10) // SAMPLE + 1, (number + 1) * (count - 10) // SAMPLE)
        assert any(_die_once(driver, tmp_path / f"{number}-{at}", at, WHEN[number % 3], figures)
                   for at in (die_at, die_at * 3 // 4, die_at // 2, max(die_at // 4, 1)))
    assert figures.kills == SAMPLE
    _nothing_went_wrong(figures)


@pytest.mark.exhaustive
def test_killed_before_within_and_after_every_transaction(driver: Driver, tmp_path: Path) -> None:
    figures = Figures()
    count = _transactions(driver, tmp_path / "whole")
    for when in WHEN:
        die_at, ended_before = 1, 0
        while ended_before < 3:  # until lives end, one after the other, without having come so far
            ended_before = 0 if _die_once(driver, tmp_path / f"{when}-{die_at}", die_at, when, figures) else ended_before + 1
            die_at += 1
    assert figures.kills >= 3 * (count - 10), f"{count} transactions, {figures.kills} kills"
    _nothing_went_wrong(figures)


@pytest.mark.exhaustive
def test_killed_again_and_again_on_the_way(driver: Driver, tmp_path: Path) -> None:
    """Every life dies some transactions after its beginning, while it takes up what the one before left."""
    figures, chosen = Figures(), random.Random(7)
    for state in (tmp_path / str(number) for number in range(20)):
        state.mkdir()
        killed = True
        while killed:
            driver.begin(state, "points", chosen.randint(1, 12), chosen.choice(WHEN))
            killed, _ = driver.end()
            figures.kills += killed
        figures.add(state, OUTPUTS)
    assert figures.kills > 20
    _nothing_went_wrong(figures)


def _under_load(driver: Driver, state: Path, chosen: random.Random, kills: int) -> Figures:
    """Kill lives from outside, each after it wrote some lines more; let the last one end."""
    figures, lines = Figures(), 0
    state.mkdir()
    for _ in range(kills):
        process = driver.begin(state, "load")
        # Where a line ends says nothing of where the threads are: the kill comes at any instruction.
        wanted = lines + chosen.randint(20, 2 * CLIENTS * EACH // kills)
        wait_for("the load to come so far", lambda wanted=wanted: True if len(read(state / "log")) >= wanted else None)
        os.kill(process, signal.SIGKILL)
        killed, _ = driver.end()
        figures.kills += killed
        lines = len(read(state / "log"))
    driver.begin(state, "load")
    assert driver.end()[0] is False
    figures.add(state, {f"load-{client}-{turn}": [f"load-{client}-{turn}/{step} done" for step in range(3)]
                        for client in range(CLIENTS) for turn in range(EACH)})
    return figures


def test_killed_under_load(driver: Driver, tmp_path: Path) -> None:
    figures = _under_load(driver, tmp_path / "load", random.Random(3), kills=2)
    assert figures.kills == 2
    _nothing_went_wrong(figures)


@pytest.mark.exhaustive
@pytest.mark.parametrize("seed", range(5))
def test_killed_under_load_over_and_over(driver: Driver, tmp_path: Path, seed: int) -> None:
    figures = _under_load(driver, tmp_path / "load", random.Random(seed), kills=8)
    assert figures.kills == 8
    _nothing_went_wrong(figures)
