"""One platform a state folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emulator.lock import AlreadyRunning, StateLock, running

HOLD = """
import pathlib, sys
from emulator.lock import StateLock
lock = StateLock(pathlib.Path(sys.argv[1]))
print('held', flush=True)
sys.stdin.read()
"""


def test_a_second_platform_is_refused_and_told_who_is_there(tmp_path: Path) -> None:
    assert running(tmp_path) is None
    lock = StateLock(tmp_path)
    assert running(tmp_path) == os.getpid()
    with pytest.raises(AlreadyRunning, match=f"process {os.getpid()}"):
        StateLock(tmp_path)
    lock.release()
    assert running(tmp_path) is None
    StateLock(tmp_path).release()


def test_the_lock_goes_with_the_process_that_is_killed(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert running(tmp_path) == holder.pid
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert running(tmp_path) is None
    StateLock(tmp_path).release()
