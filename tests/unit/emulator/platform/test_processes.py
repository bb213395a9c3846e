"""Children end with the platform, in whatever way it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.processes import Processes, start_time
from tests.support.platform import DEADLINE, wait_for

# Says `up`, and at SIGTERM writes `saved` after a while: as Azurite does.
SAVING = """
import pathlib, signal, sys, threading
def save(*_):
    threading.Event().wait(0.3)
    pathlib.Path(sys.argv[1]).write_text('saved')
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print('up', flush=True)
while True: signal.pause()
"""
POLITE = "import signal; print('up', flush=True); signal.pause()"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True)\nwhile True: signal.pause()"
PARENT = """
import pathlib, sys, time
from emulator.processes import Processes
folder = pathlib.Path(sys.argv[1])
processes = Processes(folder / 'processes.json')
child = processes.start('child', [sys.executable, '-c', sys.argv[2], folder / 'saved'], log=folder / 'log', gently=sys.argv[3] == 'gently')
while 'up' not in (folder / 'log').read_text(): time.sleep(0.01)
print(child.pid, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    found = Processes(tmp_path / "processes.json", grace=0.2)
    yield found
    found.stop_all()


def start(processes: Processes, folder: Path, code: str, *, name: str = "child", gently: bool = False) -> subprocess.Popen[bytes]:
    log = folder / f"{name}.log"
    child = processes.start(name, [sys.executable, "-c", code, folder / "saved"], log=log, gently=gently)
    wait_for("its first words", lambda: True if "up" in log.read_text() else None)
    return child


def test_a_child_that_ends_by_itself_is_noticed_with_its_last_words(processes: Processes, tmp_path: Path) -> None:
    child = processes.start("child", [sys.executable, "-c", "print('a'); print('so long'); exit(3)"], log=tmp_path / "log")
    child.wait(DEADLINE)
    assert processes.dead() == {"child": 3}
    assert processes.tail("child").splitlines()[-1] == "so long"
    assert processes.tail("other") == ""


def test_ending_one_leaves_the_others(processes: Processes, tmp_path: Path) -> None:
    first = start(processes, tmp_path, POLITE, name="first")
    second = start(processes, tmp_path, POLITE, name="second")
    processes.stop("second")
    assert second.returncode == -signal.SIGTERM
    assert first.poll() is None
    assert list(json.loads((tmp_path / "processes.json").read_text())) == ["first"]
    processes.stop("second")


def test_one_that_does_not_listen_is_killed(processes: Processes, tmp_path: Path) -> None:
    child = start(processes, tmp_path, STUBBORN)
    processes.stop_all()
    assert child.returncode == -signal.SIGKILL


def test_a_gentle_child_is_asked_once_and_given_its_time(processes: Processes, tmp_path: Path) -> None:
    child = start(processes, tmp_path, SAVING, gently=True)
    assert os.getsid(child.pid) == child.pid
    processes.stop_all()
    assert child.returncode == 0
    assert (tmp_path / "saved").read_text() == "saved"


class TestKilled:
    """The parent is killed; on Linux the kernel ends its children."""

    def killed(self, folder: Path, code: str, how: str) -> int:
        """Start a parent with a child, kill the parent; returns the child's id."""
        command = [sys.executable, "-c", PARENT, folder, code, how]
        parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        with parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            parent.kill()
        return child

    def test_its_child_is_killed(self, tmp_path: Path) -> None:
        child = self.killed(tmp_path, STUBBORN, "at once")
        wait_for("its end", lambda: True if start_time(child) is None else None)

    def test_its_gentle_child_may_save_first(self, tmp_path: Path) -> None:
        child = self.killed(tmp_path, SAVING, "gently")
        wait_for("its end", lambda: True if start_time(child) is None else None)
        assert (tmp_path / "saved").read_text() == "saved"

    def test_the_next_platform_waits_for_the_saving(self, tmp_path: Path) -> None:
        child = self.killed(tmp_path, SAVING, "gently")
        Processes(tmp_path / "processes.json")
        assert start_time(child) is None
        assert (tmp_path / "saved").read_text() == "saved"


class TestLeftovers:
    @pytest.fixture
    def sleeper(self) -> Iterator[subprocess.Popen[bytes]]:
        child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
        yield child
        child.kill()
        child.wait()

    def test_what_the_kernel_left_is_killed(self, tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
        register = tmp_path / "processes.json"
        register.write_text(json.dumps({"child": {"pid": sleeper.pid, "start": start_time(sleeper.pid), "gently": False}}))
        Processes(register)
        assert sleeper.wait(DEADLINE) == -signal.SIGKILL
        assert not register.exists()

    def test_an_id_that_is_somebody_elses_by_now_is_left_alone(self, tmp_path: Path, sleeper: subprocess.Popen[bytes]) -> None:
        register = tmp_path / "processes.json"
        register.write_text(json.dumps({"child": {"pid": sleeper.pid, "start": "1", "gently": False},
                                        "gone": {"pid": sleeper.pid, "start": None, "gently": True}}))
        Processes(register)
        assert sleeper.poll() is None
