"""The whole platform with a policy for each test's line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.journey import Journey, prepare, write_policies
from tests.support.platform import LivePlatform

LINES = ("straight", "duplicates", "malformed", "breach", "rollback", "rejected", "broken", "expired", "swept", "tagless", "queued")


@pytest.fixture(scope="session")
def lines_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    folder = tmp_path_factory.mktemp("e2e")
    policies = write_policies(folder / "policies", LINES)
    platform = LivePlatform(folder / "state", settings={"PILOTAGE_POLICIES": str(policies)}).start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in platform.variables("ada").items():
            patch.setenv(name, value)
        prepare(platform, folder / "assets")
    yield platform
    assert platform.stop() == 0


@pytest.fixture
def journey(lines_platform: LivePlatform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Journey]:
    """A line by name; this process acts as Ada while the test lasts."""
    for name, value in lines_platform.variables("ada").items():
        monkeypatch.setenv(name, value)
    return lambda line: Journey(lines_platform, line, tmp_path)
