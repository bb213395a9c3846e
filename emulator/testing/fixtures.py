"""The fixtures."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from emulator.testing.platform import LivePlatform


@pytest.fixture(scope="session")
def emulator_options() -> dict[str, Any]:
    """How the platform is started: arguments of `LivePlatform` besides `state`. Override it in a conftest.py."""
    return {}


@pytest.fixture(scope="session")
def emulator_platform(tmp_path_factory: pytest.TempPathFactory, emulator_options: dict[str, Any]) -> Iterator[LivePlatform]:
    """A platform of this session's own, on free ports, in a folder that pytest removes. With pytest-xdist: one a worker."""
    platform = LivePlatform(tmp_path_factory.mktemp("emulator") / "state", **emulator_options).start()
    yield platform
    platform.stop()


@pytest.fixture
def clean_platform(emulator_platform: LivePlatform, monkeypatch: pytest.MonkeyPatch) -> LivePlatform:
    """The session's platform, empty; until the test ends, the SDKs in this process lead to it."""
    emulator_platform.reset()
    for name, value in emulator_platform.variables().items():
        monkeypatch.setenv(name, value)
    return emulator_platform
