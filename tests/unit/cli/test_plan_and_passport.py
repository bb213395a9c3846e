"""`plan`, `passport` and `explain` over real HTTP, and `passport verify` without any."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pilotage import bootstrap
from pilotage.cli import app
from tests.support.http_host import serving
from tests.support.memory import StaticIdentity
from tests.support.routes import DurableClient
from tests.support.scene import Scene


@pytest.fixture(scope="module")
def whole() -> tuple[Scene, str]:
    """A version that went all the way."""
    scene = Scene()
    return scene, scene.promote("1")


@pytest.fixture
def told(whole: tuple[Scene, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Scene, str]]:
    from pilotage.domain.access import Actor

    scene, promotion = whole
    reader = Actor(object_id="oid-rita", roles=["Pilotage.Reader"])
    bootstrap.use(scene.app(identity=StaticIdentity({"rita": reader})))
    monkeypatch.setenv("PILOTAGE_TOKEN", "rita")
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(DurableClient(scene.hub)) as address:  # type: ignore[arg-type]
        monkeypatch.setenv("FUNCTIONS_URL", address)
        yield scene, promotion
    bootstrap.use(None)


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_plan_is_shown_with_what_will_change_and_its_hash(told: tuple[Scene, str]) -> None:
    scene, promotion = told
    for asked in (promotion, "air-time:1"):
        result = run("plan", asked)
        assert result.exit_code == 0, result.stderr
        assert scene.row(promotion).plan_hash in result.stdout
        assert "set traffic" in result.stdout
        assert "approved" in result.stdout
    found = json.loads(run("plan", promotion, "--json").stdout)
    assert (found["state"], found["round"], found["approval"]["tally"]["approvals"]) == ("approved", 1, ["oid-grace"])


def test_a_plan_of_a_version_that_was_never_promoted_changes_nothing(told: tuple[Scene, str]) -> None:
    scene, _ = told
    scene.register("2")
    before, changes = dict(scene.records.contents), list(scene.azure.changes)
    found = json.loads(run("plan", "air-time:2", "--json").stdout)
    assert (found["state"], found["promotion"]) == ("preview", None)
    assert found["plan"]["prior"]["traffic"] == scene.traffic()
    assert {item["outcome"] for item in found["plan"]["evidence"]} == {"to be measured"}
    assert found["plan"]["model"] == "azureml://registries/shared-registry/models/air-time/versions/2"
    assert (scene.records.contents, scene.azure.changes) == (before, changes)
    missing = run("plan", "air-time:77")
    assert (missing.exit_code, "air-time:77" in missing.stderr) == (1, True)


def test_a_passport_is_fetched_and_verified_without_the_app(
    told: tuple[Scene, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, promotion = told
    file, keys = tmp_path / "p.json", tmp_path / "keys.json"
    assert run("passport", "get", promotion, "-o", file).exit_code == 0
    keys.write_text(run("passport", "keys").stdout)
    monkeypatch.setenv("FUNCTIONS_URL", "http://127.0.0.1:9")  # nobody answers there
    bootstrap.use(None)
    anchor = scene.azure.stamps["registries/shared-registry/air-time:1"][f"pilotage.passport.{promotion}"]

    sound = run("passport", "verify", file, "--keys", keys, "--anchor", anchor)
    assert (sound.exit_code, f"sound: {promotion}" in sound.stdout) == (0, True)
    alone = run("passport", "verify", file)
    assert (alone.exit_code, "not compared with keys you trust" in alone.stdout) == (2, True)
    value = json.loads(file.read_text())
    value["entries"][5]["at"] = "2020-01-01T00:00:00.000+00:00"
    file.write_text(json.dumps(value))
    broken = run("passport", "verify", file, "--keys", keys)
    assert (broken.exit_code, "entry 6: does not follow" in broken.stdout) == (1, True)
    assert json.loads(run("passport", "verify", file, "--json").stdout)["sound"] is False
    (tmp_path / "no-keys.json").write_text("[]")
    for arguments in (("passport", "verify", tmp_path / "none.json"), ("passport", "verify", file, "--keys", tmp_path / "no-keys.json")):
        refused = run(*arguments)
        assert (refused.exit_code, refused.stderr.startswith("error: ")) == (1, True)


def test_the_evidence_of_a_period_is_one_file_that_proves_itself(
    told: tuple[Scene, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, keys = tmp_path / "audit.zip", tmp_path / "keys.json"
    keys.write_text(run("passport", "keys").stdout)
    exported = run("audit", "export", "--from", "2026-01-01", "--to", "2026-02-01T00:00:00+01:00", "-o", file)
    assert exported.exit_code == 0, exported.stderr
    for begin, end, says in (("2026-02-01", "2026-01-01", "before to"), ("soon", "2026-02-01", "not a time")):
        answer = run("audit", "export", "--from", begin, "--to", end)
        assert (answer.exit_code, says in answer.stderr) == (1, True)
    assert run("audit", "export", "--from", "2026-01-01", "--to", "2026-02-01", "-o", tmp_path / "no" / "folder.zip").exit_code == 1
    monkeypatch.setenv("FUNCTIONS_URL", "http://127.0.0.1:9")
    bootstrap.use(None)
    sound = run("passport", "verify", file, "--keys", keys)
    assert (sound.exit_code, "1 passports with" in sound.stdout) == (0, True), sound.stdout
    assert run("passport", "verify", file).exit_code == 2
    assert json.loads(run("passport", "verify", file, "--json").stdout)["passports"] == 1
    assert "--anchor" in run("passport", "verify", file, "--anchor", "sha256:0").stderr
    file.write_bytes(file.read_bytes()[:-40])
    assert run("passport", "verify", file, "--keys", keys).exit_code == 1


def test_why_is_this_live(told: tuple[Scene, str]) -> None:
    for asked in ("air-time:1", "air-time", "mlw-prod/air-time"):
        result = run("explain", asked)
        assert (result.exit_code, "approve by oid-grace" in result.stdout) == (0, True), result.stderr
    assert "was never promoted" in run("explain", "air-time:9").stderr
    assert "no promotion has ever asked" in run("explain", "other").stderr
