"""The fixtures that the platform's users get, without the Functions host: these tests need no app."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.testing import clean_platform, emulator_platform
from tests.support.platform import ROOT

__all__ = ["clean_platform", "emulator_platform"]


@pytest.fixture(scope="session")
def emulator_options() -> dict[str, Any]:
    return {"functions": False, "folder": ROOT}
