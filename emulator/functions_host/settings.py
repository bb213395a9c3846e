"""host.json and local.settings.json as Core Tools reads them. The environment wins over both.

Sources: learn.microsoft.com, functions-host-json, functions-app-settings (`AzureFunctionsJobHost__path__to__setting`) and
functions-develop-local (local settings file).
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import MutableMapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from emulator.errors import EmulatorError

_OVERRIDE = "AzureFunctionsJobHost__"
_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA = re.compile(r'"(?:\\.|[^"\\])*"|,(?=\s*[}\]])', re.DOTALL)
_SPAN = re.compile(r"(?P<sign>-)?(?:(?P<days>\d{1,7})\.)?(?P<hours>\d{1,2}):(?P<minutes>\d{1,2})"
                   r"(?::(?P<seconds>\d{1,2})(?:\.(?P<part>\d{1,7}))?)?")


class InvalidSettings(EmulatorError):
    """A settings file can't be used; the message names the file and the setting."""


def read_json(path: Path) -> dict[str, Any]:
    """An object with the comments and trailing commas that the host's reader allows; raises InvalidSettings."""
    try:
        text = path.read_text(encoding="utf-8-sig")
        for pattern in (_COMMENT, _TRAILING_COMMA):
            text = pattern.sub(lambda match: match[0] if match[0].startswith('"') else " ", text)
        found = json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidSettings(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise InvalidSettings(f"{path} is not a JSON object")
    return found


def host_json(path: Path, environment: MutableMapping[str, str]) -> dict[str, Any]:
    """host.json with the environment's overrides; raises InvalidSettings."""
    if not path.exists():
        raise InvalidSettings(f"{path} does not exist: this is not the folder of a Functions app")
    found = read_json(path)
    if found.get("version") != "2.0":
        raise InvalidSettings(f"{path}: 'version' must be \"2.0\", it is {json.dumps(found.get('version'))}")
    for name, value in environment.items():
        if not name.lower().startswith(_OVERRIDE.lower()):
            continue
        *parents, last = name[len(_OVERRIDE):].split("__")
        place = found
        for parent in parents:
            place = place.setdefault(_spelled(place, parent), {})
            if not isinstance(place, dict):
                raise InvalidSettings(f"{name}: '{parent}' is not an object in {path}")
        place[_spelled(place, last)] = _scalar(value)
    if not isinstance(found.get("extensions", {}), dict):
        raise InvalidSettings(f"{path}: 'extensions' must be an object")
    return found


def _spelled(place: dict[str, Any], name: str) -> str:
    """The name as the file spells it: .NET's configuration has no case."""
    return next((known for known in place if known.lower() == name.lower()), name)


def _scalar(text: str) -> Any:
    """A variable's value: a JSON number, boolean or object is one, all else is text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def local_settings(path: Path, environment: MutableMapping[str, str]) -> dict[str, Any]:
    """Put `Values` and `ConnectionStrings` into the environment where it has no such name; returns `Host`. Raises InvalidSettings."""
    if not path.exists():
        return {}
    found = read_json(path)
    if found.get("IsEncrypted"):
        raise InvalidSettings(f"{path} is encrypted (IsEncrypted): run `func settings decrypt` first")
    host = {} if found.get("Host") is None else found["Host"]
    if not isinstance(host, dict):
        raise InvalidSettings(f"{path}: 'Host' must be an object")
    for section, prefix in (("Values", ""), ("ConnectionStrings", "ConnectionStrings:")):
        values = {} if found.get(section) is None else found[section]
        if not isinstance(values, dict):
            raise InvalidSettings(f"{path}: '{section}' must be an object")
        for name, value in values.items():
            if isinstance(value, dict) and section == "ConnectionStrings":
                value = value.get("ConnectionString")
            if isinstance(value, dict | list):
                raise InvalidSettings(f"{path}: '{section}:{name}' must be a string; nested values are not supported")
            if value is not None:
                environment.setdefault(f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value))
    return dict(host)


def local_port(app: Path) -> int | None:
    """`Host.LocalHttpPort` of local.settings.json: the port where no other is asked for. Raises InvalidSettings."""
    path = app / "local.settings.json"
    port = (local_settings(path, {}) if path.exists() else {}).get("LocalHttpPort")
    if port is None:
        return None
    if not isinstance(port, int) or not 0 < port < 65536:
        raise InvalidSettings(f"{path}: 'Host:LocalHttpPort' must be a port number, it is {json.dumps(port)}")
    return port


def resolve(text: str, environment: MutableMapping[str, str] | None = None) -> str:
    """`%SETTING%` filled in from the app settings; raises InvalidSettings for one that is not set."""
    known = os.environ if environment is None else environment

    def value(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise InvalidSettings(f"'{text}' names the setting '{match[1]}', which is not set")
        return known[match[1]]

    return re.sub(r"%([^%\s]+)%", value, text)


def time_span(text: str) -> timedelta | None:
    """.NET's TimeSpan, `[-][d.]hh:mm[:ss[.fffffff]]`; None when it is none."""
    match = _SPAN.fullmatch(text.strip())
    if match is None or int(match["hours"]) > 23 or int(match["minutes"]) > 59 or int(match["seconds"] or 0) > 59:
        return None
    span = timedelta(days=int(match["days"] or 0), hours=int(match["hours"]), minutes=int(match["minutes"]),
                     seconds=int(match["seconds"] or 0), microseconds=int((match["part"] or "0").ljust(7, "0")) // 10)
    return -span if match["sign"] else span


def number(section: dict[str, Any], name: str, default: int, minimum: int = 1) -> int:
    """A whole number of host.json; raises InvalidSettings."""
    value = section.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
        raise InvalidSettings(f"host.json: '{name}' must be a whole number of at least {minimum}, it is {json.dumps(value)}")
    return value
