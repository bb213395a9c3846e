"""Names and versions: what Azure ML accepts."""

from __future__ import annotations

import pytest

from emulator.azure_ml import naming
from emulator.azure_ml.errors import ValidationError


@pytest.mark.parametrize("name", ["abc", "air-time", "a1-b2", "x" * 32, "Air-Time-2"])
def test_endpoint_names(name: str) -> None:
    naming.check_endpoint(name)


@pytest.mark.parametrize(
    "name", ["", "ab", "x" * 33, "1abc", "-abc", "abc-", "a_b", "a b", "a.b", "é-endpoint"]
)
def test_endpoint_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="endpoint name"):
        naming.check_endpoint(name)


@pytest.mark.parametrize("name", ["blue", "c0ffee", "green_2", "x" * 32])
def test_deployment_names(name: str) -> None:
    naming.check_deployment(name)


@pytest.mark.parametrize("name", ["", "ab", "x" * 33, "-abc", "abc-", "a b c", "blue/green"])
def test_deployment_names_that_are_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="deployment name"):
        naming.check_deployment(name)


@pytest.mark.parametrize(
    ("name", "version"), [("m", "1"), ("air-time", "2026.1"), ("a_b.c", "v1-beta"), ("9", "0")]
)
def test_asset_names(name: str, version: str) -> None:
    naming.check_asset(name, version)


@pytest.mark.parametrize(
    ("name", "version"), [("", "1"), ("-m", "1"), ("m n", "1"), ("m", ""), ("m", "latest"), ("m", "a b")]
)
def test_asset_names_that_are_refused(name: str, version: str) -> None:
    with pytest.raises(ValidationError):
        naming.check_asset(name, version)


@pytest.mark.parametrize(
    ("versions", "following"),
    [([], "1"), (["1"], "2"), (["1", "9", "10"], "11"), (["beta"], "1"), (["3", "beta", "2"], "4")],
)
def test_the_next_version(versions: list[str], following: str) -> None:
    assert naming.next_version(versions) == following


def test_a_container_name_is_stable_valid_and_of_one_asset() -> None:
    name = naming.container_name("models", "/registries/r", "m", "1")
    assert name == naming.container_name("models", "/REGISTRIES/R", "M", "1")
    assert name != naming.container_name("models", "/registries/r", "m", "2")
    assert 3 <= len(name) <= 63
