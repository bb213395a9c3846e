"""Our backend in memory, durabletask's, and a worker by hand for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from durabletask.testing.in_memory_backend import InMemoryOrchestrationBackend

from emulator.durable import SqliteBackend
from emulator.durable.virtual_time import OffsetClock
from tests.unit.emulator.durable.hand import Hand


@pytest.fixture
def ours() -> Iterator[SqliteBackend]:
    running = SqliteBackend(None, OffsetClock())
    running.start()
    yield running
    running.stop(0)


@pytest.fixture
def theirs() -> Iterator[InMemoryOrchestrationBackend]:
    """Not started: its methods are called in this process."""
    backend = InMemoryOrchestrationBackend()
    yield backend
    backend.stop(0)


@pytest.fixture
def hand(ours: SqliteBackend) -> Hand:
    return Hand(ours)


@pytest.fixture
def their_hand(theirs: InMemoryOrchestrationBackend) -> Hand:
    return Hand(theirs)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "durable.sqlite"
