"""`make demo` is the promise of the README: it has to come true, and to clean up behind itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMISES = (
    r"event received, promotion promote-air-time-1-\w+-1 started",
    r"Grace Hopper approved on the review page",
    r"equal to the model's offline prediction",
    r"retraining job retrain-drift-air-time-\w+-1-1 runs",
    r"event received, promotion promote-air-time-2-\w+-1 started",
    r"stopped: metric:mae: mae 1\d\d(\.\d)? is over the limit",
    r"traffic is exactly as before: \{'v1-\w+': 100\}",
    r"the whole story was observed",
)


@pytest.mark.xdist_group("demo")
def test_the_demo_keeps_its_promises(tmp_path: Path) -> None:
    told = subprocess.run([sys.executable, "-m", "demo", "--state", str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert told.returncode == 0, told.stdout[-6000:] + told.stderr[-3000:]
    at = 0
    for promise in PROMISES:
        found = re.search(promise, told.stdout[at:])
        assert found, f"{promise!r} was not told after:\n{told.stdout[:at][-1500:]}"
        at += found.end()
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False).stdout
    assert left == "", f"processes are left behind: {left}"
