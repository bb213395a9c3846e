"""Fixtures of tests that use the unmodified SDK; a `conftest.py` imports those that its tests need."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import LivePlatform


@pytest.fixture(autouse=True)
def quiet() -> None:
    """The SDK's warnings about experimental classes."""
    logging.getLogger("azure.ai.ml").setLevel(logging.ERROR)


@pytest.fixture
def sdk(as_ada: LivePlatform) -> Iterator[Sdk]:
    """As Ada. The SDK keeps the deployment of one `invoke` in a header of all that follow in the process: not in tests."""
    from azure.ai.ml.constants._endpoint import EndpointInvokeFields

    before = dict(EndpointInvokeFields.DEFAULT_HEADER)
    yield Sdk(as_ada)
    EndpointInvokeFields.DEFAULT_HEADER.clear()
    EndpointInvokeFields.DEFAULT_HEADER.update(before)
