from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.event_grid import LocalEventGrid
from tests.support.subscriber import Subscriber, subscriber


@pytest.fixture
async def webhook() -> AsyncIterator[Subscriber]:
    async with subscriber() as found:
        yield found


@pytest.fixture
async def grid(tmp_path: Path, webhook: Subscriber) -> AsyncIterator[LocalEventGrid]:
    """Not started yet: subscribe first."""
    local = LocalEventGrid(tmp_path, webhook)
    yield local
    await local.stop()
