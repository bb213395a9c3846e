"""The commands against a platform that runs, and what they say when none does."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from emulator.cli import app
from emulator.testing import LivePlatform, wait_for
from tests.support import light_model
from tests.support.platform import DEADLINE

pytestmark = pytest.mark.xdist_group("emulator-testing")


def emulator(*arguments: str) -> Result:
    """The command in this process: a new one would import for longer than it works."""
    return CliRunner().invoke(app, arguments)


def ask(platform: LivePlatform, path: str) -> httpx.Response:
    return httpx.get(platform.env["EMULATOR_URL"] + path, verify=platform.env["SSL_CERT_FILE"], trust_env=False)


class Commands:
    def __init__(self, state: Path) -> None:
        self._state = str(state)

    def __call__(self, *arguments: str) -> str:
        result = emulator(*arguments, "--state", self._state)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    def refused(self, *arguments: str) -> str:
        result = emulator(*arguments, "--state", self._state)
        assert result.exit_code in (1, 2)
        assert "Traceback" not in result.stderr
        return result.stderr


@pytest.fixture
def command(clean_platform: LivePlatform) -> Commands:
    return Commands(clean_platform.state)


def test_status(command: Commands, clean_platform: LivePlatform) -> None:
    found = json.loads(command("status", "--json"))
    assert found["url"] == clean_platform.env["EMULATOR_URL"]
    assert [process["role"] for process in found["processes"]] == ["platform", "azurite"]
    lines = command("status").splitlines()
    assert lines[0].startswith(found["url"])
    assert [line.split()[0] for line in lines[1:4]] == ["platform", "azurite", "total"]


def test_the_clock(command: Commands) -> None:
    before = json.loads(command("clock", "show", "--json"))["offset_seconds"]
    assert json.loads(command("clock", "advance", "PT1H", "--json"))["offset_seconds"] == before + 3600
    assert f"{before + 3600:.0f} s ahead" in command("clock", "show")
    assert "not an ISO 8601 duration" in command.refused("clock", "advance", "soon")


def test_faults(command: Commands, clean_platform: LivePlatform) -> None:
    assert command("faults", "list") == "no fault is in force\n"
    made = json.loads(command("faults", "add", "/msi/", "--status", "429", "--header", "Retry-After: 7", "--count", "1", "--json"))
    answer = ask(clean_platform, "/msi/token")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
    assert command("faults", "list").split()[:3] == [str(made["id"]), "status", "429"]
    assert "no fault 99" in command.refused("faults", "clear", "99")
    command("faults", "clear", str(made["id"]))
    assert json.loads(command("faults", "list", "--json"))["items"] == []
    assert "action" in command.refused("faults", "add", "x", "--action", "explode")
    assert "no colon" in command.refused("faults", "add", "x", "--header", "Retry-After")


def test_the_journal(command: Commands, clean_platform: LivePlatform) -> None:
    for name in ("one", "two"):
        ask(clean_platform, f"/endpoints/{name}/swagger.json")
    assert [line.split()[1:] for line in command("journal", "--path", "endpoints/").splitlines()] == [
        ["404", "GET", "/endpoints/one/swagger.json"], ["404", "GET", "/endpoints/two/swagger.json"]]
    assert json.loads(command("journal", "--path", "one", "--json"))["status"] == 404
    assert command("journal", "--method", "DELETE") == ""
    assert "regular expression" in command.refused("journal", "--path", "(")


def interruptible() -> None:
    """A shell that runs the tests in the background has SIGINT ignored, which children inherit."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_the_journal_is_followed(clean_platform: LivePlatform, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    with seen.open("w") as output:
        following = subprocess.Popen([sys.executable, "-m", "emulator.cli", "journal", "--follow", "--path", "endpoints/", "--state",
                                      str(clean_platform.state)], stdout=output, preexec_fn=interruptible)
    for name in ("first", "second"):
        ask(clean_platform, f"/endpoints/{name}/swagger.json")
        wait_for(name, lambda name=name: True if name in seen.read_text() else None)  # type: ignore[misc]
    following.send_signal(signal.SIGINT)
    assert following.wait(DEADLINE) == 0
    assert len(seen.read_text().splitlines()) == 2


def test_seed_and_reset(command: Commands, tmp_path: Path) -> None:
    light_model.write(tmp_path / "model")
    file = tmp_path / "seed.yaml"
    file.write_text("- {kind: model, name: seeded, version: 1, type: mlflow_model, path: ./model, tags: {from: seed}}\n"
                    "- {kind: environment, name: runtime, version: 1, image: 'docker.io/library/python:3.13'}\n"
                    "- {kind: endpoint, name: seeded-e, auth_mode: key}\n")
    lines = ["model  seeded:1", "environment  runtime:1", "endpoint  seeded-e"]
    assert command("seed", str(file)).splitlines() == [f"made  {line}" for line in lines]
    assert command("seed", str(file)).splitlines() == [f"there  {line}" for line in lines]
    assert json.loads(command("status", "--json"))["resources"]["models/versions"] == 1
    assert command("reset").startswith("empty, after ")
    assert "models/versions" not in json.loads(command("status", "--json"))["resources"]


@pytest.mark.parametrize(("text", "words"), [
    ("{", "can't be read"), ("- {name: x}", "kind"), ("- {kind: model, name: x}", "needs a version"), ("a: 1", "a list of items"),
    ("- {kind: model, name: x, version: 1, path: ./nowhere}", "model x: ")])
def test_a_seed_that_can_not_be_used(command: Commands, tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "seed.yaml"
    file.write_text(text)
    assert words in command.refused("seed", str(file))


@pytest.mark.parametrize("arguments", [["status"], ["reset"], ["clock", "show"], ["faults", "list"], ["journal"]])
def test_without_a_platform_the_next_step_is_said(tmp_path: Path, arguments: list[str]) -> None:
    nowhere = tmp_path / "nowhere"
    result = emulator(*arguments, "--state", str(nowhere))
    assert result.exit_code == 1
    assert f"emulator up --state {nowhere}" in result.stderr
    assert not nowhere.exists()
