"""A stage for each test: a backend, a worker, and a world in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stage import Stage


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as running:
        yield running
