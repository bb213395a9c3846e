from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pilotage.cli import app
from tests.unit.policies.test_reading import POLICY

ROOT = Path(__file__).parents[3]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_check_of_this_repository_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = run("policy", "check")
    assert result.exit_code == 0
    assert "ok: air-time (air-time to mlw-prod/air-time)" in result.output


def test_check_tells_file_line_and_fix_and_ends_with_1(tmp_path: Path) -> None:
    (tmp_path / "good.yaml").write_text(POLICY)
    (tmp_path / "bad.yaml").write_text("apiVersion: pilotage/v1\nname: x\nname: y\n")
    result = run("policy", "check", str(tmp_path))
    assert result.exit_code == 1
    told = result.output.splitlines()
    assert told[:2] == ["bad.yaml:3: name is given twice, first on line 2: keep one", "ok: air-time (air-time* to mlw-prod/air-time)"]
    assert any("run side by side" in line for line in told), "and in words what the good one will do"
    assert run("policy", "check", "--quiet", str(tmp_path)).output.splitlines() == told[:2]


def test_check_of_one_file_holds_the_guardrails_beside_it(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(POLICY)
    (tmp_path / "guardrails.yaml").write_text("apiVersion: pilotage/v1\nmin_quorum: 3\n")
    result = run("policy", "check", str(tmp_path / "p.yaml"), "--json")
    assert result.exit_code == 1
    assert json.loads(result.output) == {"policies": [], "problems": [{
        "file": "p.yaml", "line": 27, "where": "", "message": "approval.quorum is 2; the guardrails ask for 3 or more",
        "text": "p.yaml:27: approval.quorum is 2; the guardrails ask for 3 or more"}], "warnings": []}


def test_check_warns_of_windows_and_freezes_that_are_over(tmp_path: Path) -> None:
    over = ("    windows: {allow: [{rule: FREQ=DAILY;BYHOUR=9;UNTIL=20200101, for: PT1H}, {rule: FREQ=DAILY;BYHOUR=9, for: PT1H}]}\n"
            "    rollout:\n")
    (tmp_path / "p.yaml").write_text(POLICY.replace("    rollout:\n", over))
    (tmp_path / "guardrails.yaml").write_text(
        "apiVersion: pilotage/v1\nfreezes:\n  - {from: 2020-12-18, until: 2020-12-20T18:00, reason: year end}\n")
    result = run("policy", "check", str(tmp_path), "--quiet")
    assert result.exit_code == 0, "a policy does not become invalid overnight"
    assert result.output.replace("\n", " ").split("warning: ")[1:] == [
        "guardrails.yaml:3: freezes[0]: the freeze ended at 2020-12-20T18:00 (UTC): remove it ",
        "p.yaml:30: stages[1].windows.allow[0].rule: the rule FREQ=DAILY;BYHOUR=9;UNTIL=20200101 has no time left within two years (are "
        "its UNTIL, COUNT and `from` meant so?): correct or remove it ok: air-time (air-time* to mlw-prod/air-time) "]


@pytest.mark.parametrize(("path", "message"), [("nowhere.yaml", "nowhere.yaml does not exist"), (".", "there is no policy in .")])
def test_check_of_nothing_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("policy", "check", path)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {message}")


def test_schema_prints_what_is_published() -> None:
    result = run("policy", "schema")
    assert (result.exit_code, result.stdout) == (0, (ROOT / "policies" / "schema.json").read_text())
