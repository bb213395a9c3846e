"""scripts/chromium, with an apt-get, a sudo and a place for the browser of the test's own."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.platform import ROOT

TOOLS = ("cat", "chmod", "env", "mktemp", "rm", "sh", "tail")


@dataclass
class Machine:
    """`programs` are the scripts that stand for what a machine may have; each call is a line of `calls`."""

    folder: Path

    def run(self, **programs: str) -> subprocess.CompletedProcess[str]:
        folder = self.folder / "bin"
        folder.mkdir()
        for tool in TOOLS:
            found = next(path for path in (Path("/usr/bin") / tool, Path("/bin") / tool) if path.exists())
            (folder / tool).symlink_to(found)
        for name, text in programs.items():
            program = folder / name.replace("_", "-")
            program.write_text(f'#!/bin/sh\necho "{program.name} $*" >> {self.folder}/calls\n{text}\n')
            program.chmod(0o755)
        script = self.folder / "chromium-script"
        script.write_text((ROOT / "scripts" / "chromium").read_text().replace("/usr/bin/chromium", str(self.browser)))
        return subprocess.run(["/bin/sh", str(script)], env={"PATH": str(folder), "HOME": os.environ.get("HOME", "/")},
                              capture_output=True, text=True, check=False)

    @property
    def browser(self) -> Path:
        return self.folder / "chromium"

    @property
    def installs(self) -> str:
        """An apt-get that knows what to do."""
        return f'case "$*" in *install*) echo "#!/bin/sh" > {self.browser}; chmod +x {self.browser};; esac'

    @property
    def calls(self) -> list[str]:
        found = self.folder / "calls"
        return [line for line in found.read_text().splitlines() if not line.startswith("id ")] if found.exists() else []


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_it_does_nothing_where_the_browser_is(machine: Machine) -> None:
    machine.browser.touch(mode=0o755)
    result = machine.run(apt_get="exit 1", id="echo 0")
    assert (result.returncode, result.stdout, result.stderr, machine.calls) == (0, "", "", [])


def test_root_installs_it_without_what_is_recommended(machine: Machine) -> None:
    result = machine.run(apt_get=machine.installs, id="echo 0", sudo="exit 1")
    assert result.returncode == 0, result.stderr
    update, install = machine.calls
    assert update.endswith(" update")
    assert install.endswith(" install -y --no-install-recommends chromium")


def test_somebody_else_installs_it_with_sudo(machine: Machine) -> None:
    result = machine.run(apt_get=machine.installs, id="echo 1000", sudo='[ "$1" = -n ] && shift; exec "$@"', true="exit 0")
    assert result.returncode == 0, result.stderr
    assert [call.split()[0] for call in machine.calls] == ["sudo", "true", "sudo", "apt-get", "sudo", "apt-get"]


def test_lists_that_are_old_do_not_keep_it_from_installing(machine: Machine) -> None:
    result = machine.run(apt_get=f'case "$*" in *update*) exit 100;; esac\n{machine.installs}', id="echo 0")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("programs", "words"), [
    ({"id": "echo 0"}, "there is no apt-get"),
    ({"id": "echo 1000", "apt_get": "exit 1"}, "may not install it"),
    ({"id": "echo 1000", "apt_get": "exit 1", "sudo": "exit 1"}, "may not install it"),
    ({"id": "echo 0", "apt_get": "echo no network; exit 100"}, "no network"),
    ({"id": "echo 0", "apt_get": "exit 0"}, "installed no"),
], ids=["no apt-get", "no sudo", "sudo with a password", "no network", "only a snap"])
def test_it_says_why_it_can_not(machine: Machine, programs: dict[str, str], words: str) -> None:
    result = machine.run(**programs)
    assert result.returncode == 1
    assert words in result.stderr
    assert result.stderr.splitlines()[-1].startswith("chromium: install it yourself")
