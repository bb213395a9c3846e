"""platform.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from emulator.config import ConfigError, IdentityConfig, PlatformConfig, load
from tests.support.platform import ROOT

MINIMAL: dict[str, Any] = {
    "tenant": "t", "subscription": "s", "resource_group": "rg", "location": "eastus", "app_identity": "app", "job_identity": "app",
    "ledger_account": "stledger", "workspaces": [{"name": "dev", "account": "stdev"}], "topics": [{"name": "alerts"}],
    "registries": [{"name": "shared", "account": "stshared", "subscription": "s", "resource_group": "rg"}],
    "identities": [{"id": "app", "name": "App", "object_id": "1", "client_id": "2"}],
    "subscriptions": [{"name": "a", "topics": ["alerts", "workspaces", "dev"], "function": "f"}]}


def write(folder: Path, **changes: Any) -> Path:
    path = folder / "platform.yaml"
    path.write_text(yaml.safe_dump({**MINIMAL, **changes}))
    return path


def test_the_one_of_this_repository() -> None:
    config = load(ROOT / "platform.yaml")
    assert [workspace.stage for workspace in config.workspaces] == ["dev", "staging", "prod"]
    assert len(config.accounts) == 5
    assert config.identity(config.app_identity).client_id
    assert config.identity(config.job_identity).client_id
    assert "Pilotage.Admin" in config.identity(config.script_identity).roles


def test_each_account_is_named_once(tmp_path: Path) -> None:
    config = load(write(tmp_path, ledger_account="stdev"))
    assert config.accounts == ("stdev", "stshared")


@pytest.mark.parametrize("changes", [
    {"colour": "red"},
    {"ledger_account": "St-Ledger"},
    {"workspaces": [{"name": "dev", "account": "stdev"}, {"name": "DEV", "account": "stother"}]},
    {"topics": [{"name": "alerts"}, {"name": "alerts"}]},
    {"topics": [{"name": "alerts", "schema": "CustomEventSchema"}]},
    {"subscriptions": [{"name": "a", "topics": ["nowhere"], "function": "f"}]},
    {"subscriptions": [{"name": "a", "topics": ["alerts"]}]},
    {"subscriptions": [{"name": "a", "topics": ["alerts"], "function": "f"}] * 2},
    {"identities": [{"id": "a", "name": "A", "object_id": "1"}, {"id": "b", "name": "B", "object_id": "1"}]},
    {"identities": [{"id": x, "name": x, "object_id": x, "client_id": "same"} for x in "ab"]},
    {"dead_letter_delay_seconds": -1},
])
def test_what_is_wrong_is_refused_with_the_files_name(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"platform\.yaml"):
        load(write(tmp_path, **changes))


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--config"):
        load(tmp_path / "platform.yaml")
    (tmp_path / "platform.yaml").write_text("a: [")
    with pytest.raises(ConfigError, match=r"platform\.yaml"):
        load(tmp_path / "platform.yaml")


def test_settings_are_filled_in(tmp_path: Path) -> None:
    config = load(write(tmp_path, app={"settings": {"ISSUER": "${base_url}/x", "PRICE": "$$5"}}))
    assert config.settings({"base_url": "https://localhost:1"}) == {"ISSUER": "https://localhost:1/x", "PRICE": "$5"}
    with pytest.raises(ConfigError, match=r"base_url.*known are tenant"):
        config.settings({"tenant": "t"})


def test_an_identity_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match="'nobody'"):
        PlatformConfig.model_validate(MINIMAL).identity("nobody")


def test_a_role_has_a_scope_of_the_platform(tmp_path: Path) -> None:
    config = load(write(tmp_path, role_assignments=[{"identity": "app", "role": "Reader", "scope": "dev"}]))
    assert config.role_assignments is not None
    assert config.scope_id(config.role_assignments[0].scope) == config.workspace_id("dev")
    assert config.scope_id("shared") == "/subscriptions/s/resourceGroups/rg/providers/Microsoft.MachineLearningServices/registries/shared"
    assert config.scope_id("subscription") == "/subscriptions/s"
    assert config.scope_id("/subscriptions/other") == "/subscriptions/other"
    with pytest.raises(ConfigError, match="'prod'"):
        config.scope_id("prod")
    assert load(write(tmp_path)).role_assignments is None


class TestWhatTheFileSays:
    def test_a_dollar_sign_that_stands_alone(self, tmp_path: Path) -> None:
        config = load(write(tmp_path, app={"settings": {"PRICE": "5 $"}}))
        with pytest.raises(ConfigError, match=r"app\.settings\.PRICE"):
            config.settings({})

    def test_a_file_that_is_no_text(self, tmp_path: Path) -> None:
        (tmp_path / "platform.yaml").write_bytes(b"\xff\xfe\x00")
        for path in (tmp_path / "platform.yaml", tmp_path):
            with pytest.raises(ConfigError, match=str(path)):
                load(path)

    def test_an_identity_whose_name_no_shell_takes(self) -> None:
        with pytest.raises(ValidationError, match="String should match pattern"):
            IdentityConfig(id="my-app", name="App", object_id="o")
