"""Fixtures of tests on a `Workbench`: a `conftest.py` imports them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.workbench import MemoryStorage, RecordedEvents, Workbench


@pytest.fixture
def storage() -> MemoryStorage:
    return MemoryStorage()


@pytest.fixture
def events() -> RecordedEvents:
    return RecordedEvents()


@pytest.fixture
async def bench(tmp_path: Path, storage: MemoryStorage, events: RecordedEvents) -> AsyncIterator[Workbench]:
    workbench = Workbench(tmp_path / "state", storage, events)
    await workbench.start()
    yield workbench
    await workbench.stop()
