"""Names, versions and ids: what Azure ML accepts, and how it writes them."""

from __future__ import annotations

import hashlib
import re

from emulator.azure_ml.errors import ValidationError

_ASSET_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$")
_ASSET_VERSION = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$")
_ENDPOINT_NAME = re.compile(r"^[A-Za-z][A-Za-z0-9-]{1,30}[A-Za-z0-9]$")
_DEPLOYMENT_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]{1,30}[A-Za-z0-9]$")


def check_asset(name: str, version: str | None = None) -> None:
    """Raise `ValidationError` unless name and version can be an asset's."""
    if not _ASSET_NAME.match(name):
        raise ValidationError(
            f"The asset name {name!r} is invalid: at most 255 letters, digits, '-', '_' and '.',"
            " starting with a letter or digit."
        )
    if version is not None and (not _ASSET_VERSION.match(version) or version.lower() == "latest"):
        raise ValidationError(f"The asset version {version!r} is invalid.")


def check_endpoint(name: str) -> None:
    """3 to 32 letters, digits and dashes, starting with a letter, not ending in a dash."""
    if not _ENDPOINT_NAME.match(name):
        raise ValidationError(
            f"The endpoint name {name!r} is invalid: 3 to 32 letters, digits and '-', starting with a letter"
            " and ending with a letter or digit."
        )


def check_deployment(name: str) -> None:
    """3 to 32 letters, digits, dashes and underscores, starting and ending with a letter or digit."""
    if not _DEPLOYMENT_NAME.match(name):
        raise ValidationError(
            f"The deployment name {name!r} is invalid: 3 to 32 letters, digits, '-' and '_', starting"
            " and ending with a letter or digit."
        )


def next_version(versions: list[str]) -> str:
    """What auto-increment gives next: one above the greatest whole number, whatever else there is.

    >>> next_version(["1", "9", "10", "beta"])
    '11'
    """
    numbers = [int(version) for version in versions if version.isdecimal()]
    return str(max(numbers, default=0) + 1)


def container_name(kind: str, *identity: str) -> str:
    """A blob container for one asset, the same each time: `models-` and 32 hexadecimal digits."""
    digest = hashlib.sha256("/".join(identity).lower().encode()).hexdigest()
    return f"{kind}-{digest[:32]}"
