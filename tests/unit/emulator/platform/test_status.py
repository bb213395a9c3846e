"""What runs: processes below one, and what they are."""

from __future__ import annotations

import os
import subprocess
import sys

from emulator.status import counts, processes


def test_a_process_and_its_children() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()", "azurite.js"], stdin=subprocess.PIPE) as child:
        found = {process.pid: process for process in processes(os.getpid())}
        assert found[os.getpid()].role == "platform"
        assert found[child.pid].role == "azurite"
        assert found[os.getpid()].memory > 1024 * 1024
        assert found[os.getpid()].cpu_seconds > 0
        assert child.stdin is not None
        child.stdin.close()
    assert child.pid not in {process.pid for process in processes(os.getpid())}
    assert processes(child.pid) == []


def test_resources_by_type() -> None:
    root = "/subscriptions/s/resourcegroups/g/providers/microsoft.machinelearningservices"
    assert counts([(f"{root}/workspaces/a/jobs", 2), (f"{root}/workspaces/b/jobs", 3), (f"{root}/registries/r/models/m/versions", 1),
                   ("/elsewhere", 9)]) == {"jobs": 5, "models/versions": 1}
