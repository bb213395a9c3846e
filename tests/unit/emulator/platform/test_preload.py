"""What is loaded into Azurite's process before it: signals come to Azurite once, and none is lost."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.azurite import _PRELOAD, _node
from tests.support.platform import DEADLINE

APP = """
import { createInterface } from 'node:readline'
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]()
console.log('starting')
for (const word of ['still starting', 'still starting']) {
  await lines.next()
  console.log(word)
}
await lines.next()
process.once('SIGTERM', () => console.log('saving'))
console.log('started')
await lines.next()
process.exit(7)
"""
"""As Azurite does: it listens for one SIGTERM, once it has started, and ends when what it has to save is saved."""


class Started:
    def __init__(self, folder: Path) -> None:
        (folder / "node_modules" / "lokijs").mkdir(parents=True)
        (folder / "node_modules" / "lokijs" / "index.js").write_text("module.exports = class {}\n")
        (folder / "app.mjs").write_text(APP)
        node = _node()
        assert node is not None
        self.process = subprocess.Popen([node, "--import", _PRELOAD.as_uri(), str(folder / "app.mjs")], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()


    def wait_a_turn(self) -> None:
        """What was sent before is done with: the process has been around its loop twice since."""
        for _ in range(2):
            self.go_on()
            assert self.line() == "still starting"


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Started]:
    found = Started(tmp_path)
    assert found.line() == "starting"
    yield found
    found.process.kill()
    found.process.communicate()


def test_a_signal_before_it_listens_is_kept_for_it(started: Started) -> None:
    started.process.send_signal(signal.SIGTERM)
    started.wait_a_turn()
    started.go_on()
    assert [started.line(), started.line()] == ["started", "saving"]
    started.go_on()
    assert started.process.wait(DEADLINE) == 7


def test_a_second_signal_does_not_cut_its_saving_short(started: Started) -> None:
    started.wait_a_turn()
    started.go_on()
    assert started.line() == "started"
    for _ in range(3):
        started.process.send_signal(signal.SIGTERM)
    assert started.line() == "saving"
    started.process.send_signal(signal.SIGTERM)
    started.go_on()
    assert started.process.wait(DEADLINE) == 7
