"""Orchestration versions: which instances this app may run (host.json: defaultVersion, versionMatchStrategy, versionFailureStrategy).

Source: learn.microsoft.com, durable-functions-orchestration-versioning, and VersionSettings of DurableTask.Core.
"""

from __future__ import annotations

import json
from typing import Any

from emulator.functions_host.settings import InvalidSettings, resolve

MATCHES = ("None", "Strict", "CurrentOrOlder")
FAILURES = ("Reject", "Fail")


class Versions:
    def __init__(self, settings: dict[str, Any]) -> None:
        """`settings` is host.json's durableTask section; raises InvalidSettings."""
        version = settings.get("defaultVersion")
        self.default: str | None = resolve(str(version)) if version is not None else None
        self._match = _one_of(settings, "versionMatchStrategy", MATCHES, "CurrentOrOlder")
        self.fails = _one_of(settings, "versionFailureStrategy", FAILURES, "Reject") == "Fail"

    def mismatch(self, version: str) -> str | None:
        """Why an instance of a version may not run here, or None. An instance without one is older than all."""
        if self.default is None or self._match == "None":
            return None
        order = compare(version, self.default)
        if self._match == "Strict" and order != 0:
            return f"The orchestration version '{version}' does not match the worker version '{self.default}'."
        if self._match == "CurrentOrOlder" and order > 0:
            return f"The orchestration version '{version}' is greater than the worker version '{self.default}'."
        return None


def compare(one: str, other: str) -> int:
    """-1, 0 or 1: dotted numbers by number, anything else as text without case; nothing comes before all."""
    if not one or not other:
        return (one != "") - (other != "")
    left, right = _numbers(one), _numbers(other)
    if left is not None and right is not None:
        return (left > right) - (left < right)
    return (one.lower() > other.lower()) - (one.lower() < other.lower())


def _numbers(version: str) -> tuple[int, ...] | None:
    """.NET's System.Version: two to four numbers."""
    parts = version.split(".")
    if not 2 <= len(parts) <= 4 or not all(part.isascii() and part.isdigit() and len(part) < 11 for part in parts):
        return None
    return tuple(int(part) for part in parts)


def _one_of(settings: dict[str, Any], name: str, allowed: tuple[str, ...], default: str) -> str:
    value = settings.get(name, default)
    found = next((choice for choice in allowed if isinstance(value, str) and choice.lower() == value.lower()), None)
    if found is None:
        raise InvalidSettings(f"host.json: '{name}' must be one of {', '.join(allowed)}, it is {json.dumps(value)}")
    return found
