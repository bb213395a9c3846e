"""No scoring process outlives the platform, however it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.platform import ROOT, wait_for

PARENT = """
import asyncio, sys
from pathlib import Path
from emulator.azure_ml.scorers import IMAGE, Scorers, ScorerSpec

async def main(home):
    scorers = Scorers(home / "host.log", IMAGE)
    script = home / "score.py"
    script.write_text("import os\\n\\ndef init(): ...\\n\\ndef run(raw): return os.getpid()\\n")
    spec = ScorerSpec(str(script), None, str(home), str(home), str(home / "score.log"))
    await scorers.replace("/e/d", spec)
    scorer = await scorers.get("/e/d")
    worker = (await scorers.client.post(scorer.url + "/score", content=b"{}")).json()
    print(scorers._host._host.pid, scorer.pid, worker, flush=True)
    await asyncio.Event().wait()

asyncio.run(main(Path(sys.argv[1])))
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_they_end_with_their_parent(tmp_path: Path, number: signal.Signals) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    assert parent.stdout is not None
    host, master, worker = (int(pid) for pid in parent.stdout.readline().split())
    assert len({parent.pid, host, master, worker}) == 4
    assert all(alive(pid) for pid in (host, master, worker))
    os.kill(parent.pid, number)
    parent.wait(30)
    wait_for("the end of all", lambda: None if any(alive(pid) for pid in (host, master, worker)) else True)


@pytest.mark.parametrize("victim", [0, 1])
def test_they_end_with_the_one_above(tmp_path: Path, victim: int) -> None:
    """The host above the masters, a master above its worker; the parent starts what it needs again."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, tmp_path], stdout=subprocess.PIPE, cwd=ROOT, text=True
    )
    try:
        assert parent.stdout is not None
        chain = [int(pid) for pid in parent.stdout.readline().split()]
        os.kill(chain[victim], signal.SIGKILL)
        wait_for("the end of all below", lambda: None if any(alive(pid) for pid in chain[victim:]) else True)
        assert parent.poll() is None
    finally:
        parent.kill()
        parent.wait()
