"""Reading the JSON of requests: a value of the wrong kind is refused with the name of its field."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from emulator.azure_ml.durations import seconds
from emulator.azure_ml.errors import BadRequest

Json = dict[str, Any]
LONGEST = 36500 * 86400.0
"""Seconds: more than any duration here, and what times can still be computed with."""


def mapping(values: Json, name: str, where: str = "") -> Json:
    """An object; empty when it is absent or null."""
    found = values.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise BadRequest(f"{where}{name} must be an object, not {found!r:.100}.")
    return found


def texts(values: Json, name: str, where: str = "") -> dict[str, str]:
    """An object of texts, such as tags; nulls are left out, numbers and booleans are written as texts."""
    found = {}
    for key, value in mapping(values, name, where).items():
        if isinstance(value, dict | list):
            raise BadRequest(f"{where}{name}.{key} must be a text, not {value!r:.100}.")
        if value is not None:
            found[key] = str(value)
    return found


def text(values: Json, name: str, where: str = "") -> str | None:
    found = values.get(name)
    if found is not None and not isinstance(found, str):
        raise BadRequest(f"{where}{name} must be a text, not {found!r:.100}.")
    return found


def integer(values: Json, name: str, default: int, low: int, high: int = 2**31 - 1, where: str = "") -> int:
    found = values.get(name)
    if found is None:
        return default
    if isinstance(found, bool) or not isinstance(found, int) or not low <= found <= high:
        raise BadRequest(f"{where}{name} must be a whole number from {low} to {high}, not {found!r:.100}.")
    return found


def choice(values: Json, name: str, default: str, allowed: Collection[str], where: str = "") -> str:
    """One of `allowed`, in any case; spelled as there."""
    found = values.get(name)
    if found is None:
        return default
    for one in allowed:
        if isinstance(found, str) and found.lower() == one.lower():
            return one
    raise BadRequest(f"{where}{name} must be one of {', '.join(allowed)}, not {found!r:.100}.")


def duration(values: Json, name: str, default: str, where: str = "", least: float | None = None) -> str:
    """An ISO 8601 duration as it was written: of `least` seconds, or else of more than nothing."""
    found = values.get(name)
    if found is None:
        return default
    length = seconds(found, -1.0) if isinstance(found, str) else -1.0
    if length > LONGEST:
        raise BadRequest(f"{where}{name} must be at most a hundred years, not {found!r:.100}.")
    if length < 0 or (length == 0 and least is None) or length < (least or 0.0):
        raise BadRequest(f"{where}{name} must be an ISO 8601 duration such as PT30S, not {found!r:.100}.")
    return found
