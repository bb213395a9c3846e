"""JSON answers that hold whatever clients have sent."""

from __future__ import annotations

import json
import math
from typing import Any

from starlette.responses import JSONResponse

DEEPEST = 100
"""Levels of a value that are shown: one that is deeper could be read, and not be written."""


class PlainJson(JSONResponse):
    """JSON in ASCII: half a surrogate pair, which JSON can escape and UTF-8 can't carry, is answered as it came."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii")


def answerable(value: Any, depth: int = DEEPEST) -> Any:
    """A value that was read as JSON, so that it can be written as JSON: Python reads `NaN` and `Infinity`, which JSON has not.

    >>> answerable({"loss": float("nan")})
    {'loss': 'nan'}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, dict | list) and not depth:
        return "<deeper levels are not shown>"
    if isinstance(value, dict):
        return {name: answerable(item, depth - 1) for name, item in value.items()}
    return [answerable(item, depth - 1) for item in value] if isinstance(value, list) else value
