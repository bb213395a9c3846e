"""The app is put together once, from the environment, without touching the network or loading the Azure ML SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from pilotage import bootstrap
from pilotage.bootstrap import App, app, use
from pilotage.errors import InvalidInput
from pilotage.settings import Settings
from tests.unit.settings.test_settings import ENOUGH

ROOT = Path(__file__).parents[3]
PROBE = """
import json, sys
from pilotage.bootstrap import build
from pilotage.settings import Settings
imported = sorted(sys.modules)
build(Settings.from_environment(json.loads(sys.argv[1])))
print(json.dumps([imported, sorted(sys.modules)]))
"""


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    use(None)
    yield
    use(None)


def test_it_is_built_once_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENOUGH.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PILOTAGE_NOTIFY_WEBHOOK", "https://hooks.example/secret")
    assert app() is app()
    assert app().settings == Settings.from_environment()


def test_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PILOTAGE_LINK_KEY", raising=False)
    with pytest.raises(InvalidInput, match="PILOTAGE_LINK_KEY is not set"):
        app()


def test_another_app_can_take_its_place() -> None:
    absent = cast(Any, None)
    double = App(settings=Settings.from_environment(ENOUGH), clock=absent, policies=absent, ledger=absent, notifier=absent,
                 identity=absent, tickets=absent, registry=absent, deployments=absent, jobs=absent)
    use(double)
    assert app() is double


def test_neither_importing_nor_building_loads_what_only_some_calls_need() -> None:
    """A worker that replays orchestrations, or answers one route, does not pay seconds for the SDKs."""
    ran = subprocess.run([sys.executable, "-c", PROBE, json.dumps(ENOUGH)], cwd=ROOT, capture_output=True, text=True, check=True)
    imported, built = json.loads(ran.stdout)
    for module in ("azure.ai.ml", "azure.identity", "azure.storage.blob", "azure.data.tables", "azure.core", "msal"):
        assert module not in built, module
    for module in ("httpx", "jwt", "pilotage.azureml", "pilotage.ledger.azure", "pilotage.policies"):
        assert module not in imported, module
    assert bootstrap.__name__ in imported


def test_loggers_that_would_tell_secret_urls_are_quiet() -> None:
    import logging

    bootstrap.build(Settings.from_environment(ENOUGH))
    for name in ("httpx", "azure.core.pipeline.policies.http_logging_policy", "urllib3.connectionpool"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO), name
