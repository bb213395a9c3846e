"""Fixtures of tests that use the app's own adapters: this process's environment points at the platform, as an operator sets it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pilotage import credentials
from pilotage.settings import Settings
from tests.support.platform import LivePlatform

CLOUD_VARIABLE = "AZUREML_CURRENT_CLOUD"


@pytest.fixture(scope="module")
def azure(sdk_platform: LivePlatform) -> Iterator[LivePlatform]:
    """The platform, reached as the app reaches it. For a module at a time: other tests must not see its variables."""
    with pytest.MonkeyPatch.context() as patch:
        for name in (CLOUD_VARIABLE, "AZURE_CLIENT_ID"):
            patch.setenv(name, "")  # so that what the SDK writes there is undone at the end
            patch.delenv(name)
        for name, value in sdk_platform.env.items():
            patch.setenv(name, value)
        credentials._credentials.clear()  # the identity endpoint of another platform is no good here
        yield sdk_platform
    credentials._credentials.clear()


@pytest.fixture(scope="module")
def settings(azure: LivePlatform) -> Settings:
    return Settings.from_environment(azure.env)
