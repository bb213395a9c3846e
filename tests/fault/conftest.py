"""A platform that is killed and started again, over and over, on one state folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fault.matrix import CASES
from tests.fault.points import POINTS
from tests.support.journey import Journey, prepare, write_policies
from tests.support.platform import LivePlatform

LINES = ("disorder", "ignored", "lossy", "mortal3", "mortal9", *(point.line for point in POINTS), *(case.line for case in CASES))


@pytest.fixture(scope="session")
def fault_platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePlatform]:
    folder = tmp_path_factory.mktemp("fault")
    policies = write_policies(folder / "policies", LINES)
    platform = LivePlatform(folder / "state", settings={"PILOTAGE_POLICIES": str(policies)}).start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in platform.variables("ada").items():
            patch.setenv(name, value)
        prepare(platform, folder / "assets")
    yield platform
    assert platform.stop() == 0


@pytest.fixture
def faulty(fault_platform: LivePlatform, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Journey]:
    """A line by name; this process acts as Ada while the test lasts."""
    for name, value in fault_platform.variables("ada").items():
        monkeypatch.setenv(name, value)
    return lambda line: Journey(fault_platform, line, tmp_path)
