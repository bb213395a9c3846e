"""Two ways to run an orchestration: on durabletask's worker (`stage`), and turn by turn in virtual time (`scene`)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pilotage.bootstrap import use
from tests.support.scene import Scene
from tests.support.stage import Stage


@pytest.fixture(autouse=True)
def _own_app() -> Iterator[None]:
    """No test leaves its app behind."""
    yield
    use(None)


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage() as running:
        yield running


@pytest.fixture
def scene() -> Scene:
    return Scene()
