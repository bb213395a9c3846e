from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.running_platform import ROOT, RunningPlatform

ADA = "0b6d5f6e-8c1a-4a57-9d39-5d1e8f6a1003"
"""Ada's client id in platform.yaml."""


@pytest.fixture(scope="session")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seasons of samples/flights."""
    folder = tmp_path_factory.mktemp("flights")
    python = ROOT / "emulator" / "images" / "training" / ".venv" / "bin" / "python"
    subprocess.run([python, ROOT / "samples" / "flights" / "cut_seasons.py", "--output", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningPlatform]:
    running = RunningPlatform(tmp_path_factory.mktemp("platform") / "state")
    running.start()
    yield running
    running.kill()
