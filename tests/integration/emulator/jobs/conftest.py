from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.support.platform import ROOT


@pytest.fixture(scope="session")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The seasons of samples/flights."""
    folder = tmp_path_factory.mktemp("flights")
    python = ROOT / "emulator" / "images" / "training" / ".venv" / "bin" / "python"
    subprocess.run([python, ROOT / "samples" / "flights" / "cut_seasons.py", "--output", folder], check=True, capture_output=True)
    return folder
