from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.azure_ml import LocalAzureMl, running


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalAzureMl]:
    async with running(tmp_path) as found:
        yield found
