"""Constraints of route parameters, as ASP.NET Core's DefaultInlineConstraintResolver has them: `{id:int}`, `{name:length(1,8)}`.

A constraint decides whether a route matches; it changes no value. Source: learn.microsoft.com, routing (route constraints).
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from datetime import datetime

from emulator.errors import EmulatorError

type Constraint = Callable[[str], bool]
_NUMBER = r"[+-]?\d{1,400}"
_DECIMAL = r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)"


class InvalidRoute(EmulatorError):
    """A route template can't be used; the message names the function and says why."""


def _whole(minimum: int, maximum: int) -> Constraint:
    return lambda text: re.fullmatch(_NUMBER, text, re.ASCII) is not None and minimum <= int(text) <= maximum


def _matches(pattern: str) -> Constraint:
    compiled = re.compile(pattern, re.ASCII)
    return lambda text: compiled.fullmatch(text) is not None


def _is_guid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return re.fullmatch(r"[{(]?[0-9A-Fa-f-]+[)}]?", text) is not None


def _is_time(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


_LONG = (-(2**63), 2**63 - 1)
_PLAIN: dict[str, Constraint] = {
    "int": _whole(-(2**31), 2**31 - 1), "long": _whole(*_LONG), "bool": lambda text: text.lower() in ("true", "false"),
    "datetime": _is_time, "decimal": _matches(_DECIMAL), "double": _matches(_DECIMAL + r"(?:[eE][+-]?\d{1,3})?"),
    "float": _matches(_DECIMAL + r"(?:[eE][+-]?\d{1,3})?"), "guid": _is_guid, "alpha": _matches("[A-Za-z]*"), "required": bool,
    "file": lambda text: "." in text.rsplit("/", 1)[-1].rstrip("."), "nonfile": lambda text: "." not in text.rsplit("/", 1)[-1].rstrip("."),
}


def constraint(text: str) -> Constraint:
    """The constraint that `name` or `name(arguments)` stands for; raises InvalidRoute."""
    match = re.fullmatch(r"(?P<name>\w+)(?:\((?P<arguments>.*)\))?", text, re.DOTALL)
    if match is None:
        raise InvalidRoute(f"'{text}' is not a constraint")
    name, arguments = match["name"].lower(), match["arguments"]
    if arguments is None:
        if name not in _PLAIN:
            raise InvalidRoute(f"the constraint '{text}' is not known")
        return _PLAIN[name]
    if name == "regex":
        try:
            pattern = re.compile(arguments, re.IGNORECASE)
        except re.error as error:
            raise InvalidRoute(f"the constraint '{text}' is not a regular expression: {error}") from error
        return lambda value: pattern.search(value) is not None
    return _counted(text, name, arguments)


def _counted(text: str, name: str, arguments: str) -> Constraint:
    try:
        numbers = [int(part) for part in arguments.split(",")]
    except ValueError:
        raise InvalidRoute(f"the constraint '{text}' takes whole numbers") from None
    match name, numbers:
        case "length", [exact]:
            return lambda value: len(value) == exact
        case "length", [least, most] if least <= most:
            return lambda value: least <= len(value) <= most
        case "minlength", [least]:
            return lambda value: len(value) >= least
        case "maxlength", [most]:
            return lambda value: len(value) <= most
        case "min", [least]:
            return _whole(least, _LONG[1])
        case "max", [most]:
            return _whole(_LONG[0], most)
        case "range", [least, most] if least <= most:
            return _whole(least, most)
    raise InvalidRoute(f"the constraint '{text}' is not known, or has the wrong arguments")
