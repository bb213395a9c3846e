"""Route templates of HTTP triggers, as ASP.NET routing reads them: literals, parameters, constraints, optional, catch-all."""

from __future__ import annotations

import re
from dataclasses import dataclass

from emulator.functions_host.runtime import Function

_CONSTRAINTS = {"int": r"-?\d+", "long": r"-?\d+", "guid": r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", "alpha": r"[A-Za-z]+",
                "bool": r"(?i:true|false)", "decimal": r"-?\d+(?:\.\d+)?", "double": r"-?\d+(?:\.\d+)?"}
_SEGMENT = re.compile(r"\{(?P<star>\*{0,2})(?P<name>\w+)(?::(?P<constraint>\w+)(?:\([^)]*\))?)?(?P<optional>\?)?\}")


@dataclass(frozen=True, slots=True)
class HttpRoute:
    function: Function
    methods: frozenset[str]
    pattern: re.Pattern[str]
    rank: tuple[int, ...]
    """Literals before constrained parameters before parameters before catch-alls."""


def compile_route(function: Function, prefix: str) -> HttpRoute:
    template = "/".join(part for part in (prefix, (function.trigger.get("route") or function.name).strip("/")) if part)
    methods = frozenset(str(method).upper() for method in function.trigger.get("methods") or ())
    pattern, rank = "", []
    for position, segment in enumerate(template.split("/")):
        slash = "/" if position else ""
        match = _SEGMENT.fullmatch(segment)
        if match is None:
            pattern += slash + re.escape(segment)
            rank.append(0)
            continue
        inner = ".*" if match["star"] else _CONSTRAINTS.get(match["constraint"] or "", "[^/]+")
        group = f"{slash}(?P<{match['name']}>{inner})"
        pattern += f"(?:{group})?" if match["optional"] or match["star"] else group
        rank.append(3 if match["star"] else 1 if match["constraint"] else 2)
    return HttpRoute(function, methods, re.compile(pattern, re.IGNORECASE), tuple(rank))


def find(routes: list[HttpRoute], method: str, path: str) -> tuple[HttpRoute, dict[str, str]] | None:
    """The best route for a path (no leading slash) and its parameters."""
    for route in routes:
        if route.methods and method not in route.methods:
            continue
        if match := route.pattern.fullmatch(path):
            return route, {name: value for name, value in match.groupdict().items() if value is not None}
    return None
