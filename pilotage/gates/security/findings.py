"""What the parts of the security gate find."""

from __future__ import annotations

from typing import Literal

from pilotage.domain.assets import Frozen


class Finding(Frozen):
    """One thing: `failed` is the model's fault, `unknown` could not be told."""

    part: Literal["pickles", "pins", "advisories", "licence", "card"]
    level: Literal["failed", "unknown"]
    message: str
    """A sentence without its full stop, that names file, package or field."""
