from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.event_grid import LocalEventGrid
from tests.unit.emulator.event_grid.endpoint import Endpoint, endpoint


@pytest.fixture
async def webhook() -> AsyncIterator[Endpoint]:
    async with endpoint() as found:
        yield found


@pytest.fixture
async def grid(tmp_path: Path, webhook: Endpoint) -> AsyncIterator[LocalEventGrid]:
    """Not started yet: subscribe first."""
    local = LocalEventGrid(tmp_path, webhook)
    yield local
    await local.stop()
