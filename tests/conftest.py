"""Fixtures of all layers. A platform is started once a worker; tests keep apart by the names they use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

from tests.support.platform import LivePlatform


@pytest.fixture(scope="session")
def sdk_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    """The platform without the app: for what is tested through the SDKs alone."""
    platform = LivePlatform(tmp_path_factory.mktemp("sdk") / "state", functions=False).start()
    yield platform
    platform.stop()


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    """The whole platform with the app, for tests through the public doors."""
    live = LivePlatform(tmp_path_factory.mktemp("platform") / "state").start()
    yield live
    live.stop()


@pytest.fixture
def as_ada(sdk_platform: LivePlatform, monkeypatch: pytest.MonkeyPatch) -> LivePlatform:
    """This process reaches the platform through the real SDKs, as the data scientist."""
    for name, value in sdk_platform.variables("ada").items():
        monkeypatch.setenv(name, value)
    return sdk_platform


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def pytest_configure(config: pytest.Config) -> None:
    # The usual run tries the same examples each time, and so is red for what changed; `make crash` looks for new ones.
    hypothesis.settings.register_profile("usual", derandomize=True)
    if config.getoption("-m") != "exhaustive":
        hypothesis.settings.load_profile("usual")
    # Progress bars of the SDK's uploads are noise in a log.
    os.environ.setdefault("TQDM_DISABLE", "1")
