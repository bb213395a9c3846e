"""One host on the sample shop for all tests here; they keep apart by the ids they use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.functions_host import LAUNCHED, LiveHost

SETTINGS = {"IsEncrypted": False, "Values": {
    "FUNCTIONS_WORKER_RUNTIME": "python", "SHOP_HUB": "ShopHub", "SHOP_GREETING": "from the file", "SHOP_SCHEDULE": "0 0 3 * * *",
    "AzureWebJobs.closed.Disabled": "true"}}


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveHost]:
    host = LiveHost("shop", tmp_path_factory.mktemp("shop"), SETTINGS, {"SHOP_GREETING": "from the environment"}).start()
    yield host
    assert host.stop() == 0


@pytest.fixture(autouse=True)
def no_host_is_left(shop: LiveHost) -> Iterator[None]:
    """A test that fails half-way leaves no process behind; the shared host began before this."""
    before = len(LAUNCHED)
    yield
    for host in LAUNCHED[before:]:
        host.kill()
