"""What the repository promises about its own files."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def test_requirements_are_what_the_lock_says() -> None:
    exported = subprocess.run([ROOT / "scripts" / "requirements"], check=True, capture_output=True, text=True).stdout
    assert (ROOT / "requirements.txt").read_text() == exported, "run `make requirements`"


def test_the_lock_is_what_pyproject_says() -> None:
    uv = subprocess.run([ROOT / "scripts" / "uv"], check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run([uv, "lock", "--check", "--offline"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("lock", ["uv.lock", "emulator/images/inference/uv.lock", "emulator/images/training/uv.lock"])
def test_locks_name_public_registries_only(lock: str) -> None:
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / lock).read_text()))
    assert hosts <= {"pypi.org", "files.pythonhosted.org"}


def test_the_host_file_asks_for_the_extension_bundle_that_durable_2_needs() -> None:
    host = json.loads((ROOT / "host.json").read_text())
    assert host["version"] == "2.0"
    assert host["extensionBundle"]["id"] == "Microsoft.Azure.Functions.ExtensionBundle.Preview"
    assert host["extensions"]["durableTask"]["defaultVersion"]


def test_the_entry_only_composes() -> None:
    assert len((ROOT / "function_app.py").read_text().splitlines()) <= 60


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE"])
def test_links_of_the_documents_lead_somewhere(name: str) -> None:
    text = (ROOT / name).read_text()
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (ROOT / target).exists(), f"{name} links to {target}"


def test_what_is_deployed_leaves_the_rest_at_home() -> None:
    ignored = (ROOT / ".funcignore").read_text().split()
    for folder in ("emulator", "tests", "demo", "samples", "docs", "infra", ".venv"):
        assert any(line.strip("/") == folder for line in ignored), f".funcignore does not name {folder}"
