from __future__ import annotations

from collections.abc import Iterator

import pytest

from pilotage import bootstrap
from tests.support.desk import Desk
from tests.support.routes import DurableClient


@pytest.fixture
def desk() -> Iterator[Desk]:
    """An app on doubles, in place for one test."""
    made = Desk()
    bootstrap.use(made.app())
    yield made
    bootstrap.use(None)


@pytest.fixture
def client(desk: Desk) -> DurableClient:
    return DurableClient(desk.orchestrator)
