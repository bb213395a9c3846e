"""Settings: read from the environment alone, every problem named with its fix, no secret shown."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pilotage.clock import ShiftedClock, SystemClock
from pilotage.errors import InvalidInput
from pilotage.settings import Settings

KEY = "0123456789abcdef0123456789abcdef"
ENOUGH = {
    "AZURE_SUBSCRIPTION_ID": "sub-1", "AZURE_RESOURCE_GROUP": "rg-ml",
    "PILOTAGE_LEDGER_BLOB_URL": "https://acct.blob.core.windows.net", "PILOTAGE_LEDGER_TABLE_URL": "https://acct.table.core.windows.net",
    "PILOTAGE_AUTH_ISSUER": "https://login.microsoftonline.com/t/v2.0", "PILOTAGE_LINK_KEY": KEY, "PILOTAGE_SIGNING_KEY": "/no/key.pem",
    "PILOTAGE_BASE_URL": "https://pilotage.example",
}


def _settings(**more: str) -> Settings:
    return Settings.from_environment({**ENOUGH, **more})


def test_the_required_variables_are_enough() -> None:
    settings = _settings(PATH="/usr/bin")
    assert settings.ledger_container == "pilotage"
    assert settings.auth_audience == "api://pilotage"
    assert settings.dead_letter_container == "event-grid-dead-letters"
    assert settings.policies.name == "policies"
    assert settings.policies.is_absolute()
    assert settings.notify_webhook is None
    assert settings.clock_file is None


@pytest.mark.parametrize("name", sorted(ENOUGH))
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_variable_is_named_with_its_fix(name: str, value: str | None) -> None:
    environ = {key: text for key, text in ENOUGH.items() if key != name} | ({} if value is None else {name: value})
    with pytest.raises(InvalidInput, match=f"{name} is not set: set it to ."):
        Settings.from_environment(environ)


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(InvalidInput) as caught:
        Settings.from_environment({})
    assert all(name in str(caught.value) for name in ENOUGH)


@pytest.mark.parametrize(("name", "value"), [
    ("PILOTAGE_LEDGER_BLOB_URL", "http://acct.blob.core.windows.net"),
    ("PILOTAGE_LEDGER_TABLE_URL", "acct"),
    ("PILOTAGE_LEDGER_CONTAINER", "Not-Alnum"),
    ("PILOTAGE_DEAD_LETTER_CONTAINER", "double--dash"),
    ("PILOTAGE_AUTH_ISSUER", "login.microsoftonline.com"),
    ("PILOTAGE_BASE_URL", "pilotage"),
    ("PILOTAGE_NOTIFY_WEBHOOK", "msteams://secret-of-the-webhook"),
    ("PILOTAGE_WORKSPACES", "{not json secret-of-the-webhook"),
    ("PILOTAGE_WORKSPACES", '["mlw-dev"]'),
    ("PILOTAGE_WORKSPACES", '{"mlw-dev": {"resourcegroup": "typo"}}'),
    ("PILOTAGE_LINK_KEY", "secret-but-short"),
    ("ARM_CLOUD_METADATA_URL", "metadata"),
])
def test_an_invalid_value_is_named_but_never_shown(name: str, value: str) -> None:
    with pytest.raises(InvalidInput, match=f"{name} is not valid: set it to .") as caught:
        _settings(**{name: value})
    assert "secret-" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_representation_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    settings = _settings(PILOTAGE_NOTIFY_WEBHOOK="https://hooks.example/secret-path")
    with caplog.at_level(logging.INFO):
        logging.getLogger("test").info("%s %r", settings, settings)
    for text in (repr(settings), str(settings), caplog.text, settings.model_dump_json(), str(settings.model_dump())):
        assert KEY not in text
        assert "secret-path" not in text
    assert settings.link_key.get_secret_value() == KEY


@pytest.mark.parametrize("name", ["mlw-dev", "MLW-DEV", "anything"])
def test_without_a_list_a_workspace_is_in_the_default_group(name: str) -> None:
    found = _settings().workspace(name)
    assert (found.name, found.subscription, found.resource_group, found.client_id) == (name, "sub-1", "rg-ml", None)
    assert found.arm_id == (
        f"/subscriptions/sub-1/resourceGroups/rg-ml/providers/Microsoft.MachineLearningServices/workspaces/{name}")


def test_a_list_gives_places_and_identities_and_is_complete() -> None:
    settings = _settings(PILOTAGE_WORKSPACES=json.dumps({
        "mlw-dev": {}, "mlw-prod": {"subscription": "sub-2", "resource_group": "rg-prod", "client_id": "id-prod"}}))
    assert settings.workspace("mlw-dev").resource_group == "rg-ml"
    prod = settings.workspace("MLW-Prod")
    assert (prod.name, prod.subscription, prod.resource_group, prod.client_id) == ("mlw-prod", "sub-2", "rg-prod", "id-prod")
    with pytest.raises(InvalidInput, match=r"'mlw-other' is not in PILOTAGE_WORKSPACES \(mlw-dev, mlw-prod\)"):
        settings.workspace("mlw-other")


def test_the_example_settings_are_complete_and_known() -> None:
    root = Path(__file__).parents[3]
    example = json.loads((root / "local.settings.example.json").read_text())["Values"]
    aliases = {field.alias for field in Settings.model_fields.values()}
    told = {name for name in example if name.startswith(("PILOTAGE_", "AZURE_"))}
    schedules = {"PILOTAGE_OUTBOX_SCHEDULE", "PILOTAGE_SWEEP_SCHEDULE"}
    assert told - schedules <= aliases
    assert aliases - told == {
        "PILOTAGE_CLOCK_FILE", "ARM_CLOUD_METADATA_URL", "PILOTAGE_SIGNING_KEY_ID"}, "only rehearsals, other clouds and Azure set these"
    with pytest.raises(InvalidInput) as caught:  # the placeholders are to be replaced, each of them
        Settings.from_environment({**example, "PILOTAGE_LINK_KEY": "short"})
    assert "PILOTAGE_LINK_KEY" in str(caught.value)


# --- the clock ------------------------------------------------------------------------------------

def test_the_clock_is_utc_and_shifts_as_the_file_says(tmp_path: Path) -> None:
    file = tmp_path / "clock.json"
    clock = ShiftedClock(file)
    assert SystemClock().now().tzinfo is UTC
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1), "no file, no shift"
    file.write_text('{"offset_seconds": 259200}')
    assert abs(clock.now() - datetime.now(UTC) - timedelta(days=3)) < timedelta(minutes=1)
    file.write_text('{"offset_seconds": 0}')
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1), "read at each call"


@pytest.mark.parametrize("text", ["", "3", '{"offset": 1}', '{"offset_seconds": "much"}'])
def test_a_clock_file_that_says_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "clock.json").write_text(text)
    with pytest.raises(InvalidInput, match="PILOTAGE_CLOCK_FILE"):
        ShiftedClock(tmp_path / "clock.json").now()
