"""host.json and .funcignore: what Azure and Core Tools read."""

from __future__ import annotations

import json
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).parents[3]


def test_the_host_is_configured_for_this_app() -> None:
    host = json.loads((ROOT / "host.json").read_text())
    assert host["extensionBundle"] == {"id": "Microsoft.Azure.Functions.ExtensionBundle.Preview", "version": "[4.*, 5.0.0)"}
    assert host["extensions"]["http"]["routePrefix"] == "api"
    durable = host["extensions"]["durableTask"]
    assert durable["hubName"].isalnum()
    assert durable["storageProvider"] == {"type": "AzureStorage"}
    assert durable["defaultVersion"]
    assert durable["tracing"]["traceInputsAndOutputs"] is False, "inputs and outputs are no matter for logs"


def test_only_the_app_is_deployed() -> None:
    patterns = [line for line in (ROOT / ".funcignore").read_text().splitlines() if line and not line.startswith("#")]

    def ignored(name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in patterns)

    needed = {"function_app.py", "host.json", "requirements.txt", "functions", "orchestrations", "activities", "pilotage", "policies"}
    assert all((ROOT / name).exists() and not ignored(name) for name in needed)
    # A secret's file, the tests and the local platform have no place in Azure.
    assert all(ignored(name) for name in ("local.settings.json", ".venv", ".git", "tests", "emulator", "demo", "samples", "infra", "docs"))
