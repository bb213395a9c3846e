"""platform.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator.config import ConfigError, PlatformConfig, load
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
