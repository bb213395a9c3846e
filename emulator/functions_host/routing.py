"""Route templates of HTTP triggers, as ASP.NET Core reads them: literals, parameters, constraints, defaults, optional, catch-all."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from emulator.functions_host.constraints import Constraint, InvalidRoute, constraint
from emulator.functions_host.runtime import Function

__all__ = ["HttpRoute", "InvalidRoute", "compile_route", "compile_template", "find"]
_RESERVED = ("admin", "runtime")


@dataclass(frozen=True, slots=True)
class Template:
    """A compiled template."""

    pattern: re.Pattern[str]
    names: Mapping[str, str]
    """Group of the pattern: the parameter's name as it was written."""
    constraints: Mapping[str, tuple[Constraint, ...]]
    defaults: Mapping[str, str]
    rank: tuple[int, ...]
    """ASP.NET's inbound precedence by segment: literal 1, constrained or mixed 2, parameter 3, catch-all 4 and 5. Smaller wins."""

    def match(self, path: str) -> dict[str, str] | None:
        """The parameters of a path (percent-encoded, no leading slash), or None."""
        found = self.pattern.fullmatch(path)
        if found is None:
            return None
        values: dict[str, str] = {}
        for group, text in found.groupdict().items():
            name = self.names[group]
            if not text:
                if name in self.defaults:
                    values[name] = self.defaults[name]
                continue
            values[name] = unquote(text)
            if not all(allows(values[name]) for allows in self.constraints.get(name, ())):
                return None
        return values


@dataclass(frozen=True, slots=True)
class HttpRoute:
    function: Function
    methods: frozenset[str]
    template: Template
    path: str

    @property
    def rank(self) -> tuple[int, ...]:
        return self.template.rank


def compile_route(function: Function, prefix: str) -> HttpRoute:
    """Raises InvalidRoute."""
    route = str(function.trigger.get("route") or function.name).strip("/")
    path = "/".join(part for part in (prefix.strip("/"), route) if part)
    if path.split("/", 1)[0].lower() in _RESERVED:
        raise InvalidRoute(f"{function.name}: the route '{path}' conflicts with one or more built in routes")
    try:
        template = compile_template(path)
    except InvalidRoute as error:
        raise InvalidRoute(f"{function.name}: the route '{path}' can't be used: {error}") from error
    methods = function.trigger.get("methods") or ()
    return HttpRoute(function, frozenset(str(getattr(method, "value", method)).upper() for method in methods), template, path)


def find(routes: list[HttpRoute], method: str, path: str) -> tuple[HttpRoute, dict[str, str]] | None:
    """The best route for a path (percent-encoded, no leading slash) and its parameters. `routes` are sorted by rank."""
    for route in routes:
        if route.methods and method not in route.methods:
            continue
        if (values := route.template.match(path)) is not None:
            return route, values
    return None


def compile_template(template: str) -> Template:
    """Raises InvalidRoute."""
    compiler = _Compiler()
    segments = _split(template) if template else []
    last = len(segments) - 1
    pattern = "".join(compiler.segment(segment, first=index == 0, last=index == last) for index, segment in enumerate(segments))
    return Template(re.compile(pattern, re.IGNORECASE), compiler.names, compiler.constraints, compiler.defaults, tuple(compiler.rank))


class _Compiler:
    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.constraints: dict[str, tuple[Constraint, ...]] = {}
        self.defaults: dict[str, str] = {}
        self.rank: list[int] = []

    def segment(self, text: str, *, first: bool, last: bool) -> str:
        parts = _parts(text)
        slash = "" if first else "/"
        if len(parts) == 1 and parts[0][0]:
            return self._whole(parts[0][1], slash, last)
        if not parts:
            raise InvalidRoute("a segment is empty")
        self.rank.append(1 if len(parts) == 1 else 2)
        pattern = ""
        for index, (is_parameter, part) in enumerate(parts):
            if not is_parameter:
                pattern += re.escape(part)
                continue
            if index and parts[index - 1][0]:
                raise InvalidRoute("two parameters need a literal between them")
            group, _, catch_all, optional = self._parameter(part)
            if catch_all:
                raise InvalidRoute("a catch-all parameter must be a segment of its own")
            if optional and not (index == len(parts) - 1 and pattern.endswith("\\.")):
                raise InvalidRoute("in a mixed segment only the last parameter, after a dot, may be optional")
            # The part before a dot takes as little as it may, so that the last dot is the one that parts them.
            pattern = f"{pattern[:-2]}(?:\\.(?P<{group}>[^/.]+))?" if optional else f"{pattern}(?P<{group}>[^/]+?)"
        return slash + pattern

    def _whole(self, text: str, slash: str, last: bool) -> str:
        """A segment that is one parameter."""
        group, constrained, catch_all, optional = self._parameter(text)
        if (catch_all or optional) and not last:
            raise InvalidRoute("an optional or catch-all parameter must be the last segment")
        if catch_all:
            self.rank.append(4 if constrained else 5)
            return f"(?:{slash}(?P<{group}>.*))?"
        self.rank.append(2 if constrained else 3)
        pattern = f"{slash}(?P<{group}>[^/]+)"
        # The slash before a missing value may be there.
        return f"(?:{pattern}|/?)" if optional or self.names[group] in self.defaults else pattern

    def _parameter(self, text: str) -> tuple[str, bool, bool, bool]:
        """Group name, constrained, catch-all, optional."""
        stars = len(text) - len(text.lstrip("*"))
        optional = text.endswith("?")
        text = text[stars:].removesuffix("?")
        name, *rest = _outside_parentheses(text, ":=")
        if stars > 2 or not re.fullmatch(r"[^\W\d]\w*(?:-\w+)*", name):
            raise InvalidRoute(f"'{name}' is not a parameter's name")
        if name.lower() in (known.lower() for known in self.names.values()):
            raise InvalidRoute(f"the parameter '{name}' appears more than once")
        if stars and optional:
            raise InvalidRoute("a catch-all parameter can't be optional")
        group = f"p{len(self.names)}"
        self.names[group] = name
        if default := next((part[1:] for part in rest if part.startswith("=")), None):
            self.defaults[name] = default
        if constraints := tuple(constraint(part[1:]) for part in rest if part.startswith(":")):
            self.constraints[name] = constraints
        return group, bool(constraints), bool(stars), optional


def _split(template: str) -> list[str]:
    """By slashes that are in no parameter: a regular expression may have some."""
    segments, depth, begun = [], 0, 0
    for index, character in enumerate(template):
        depth += {"{": 1, "}": -1}.get(character, 0)
        if character == "/" and depth == 0:
            segments.append(template[begun:index])
            begun = index + 1
    if depth != 0:
        raise InvalidRoute("the braces don't match")
    return [*segments, template[begun:]]


def _parts(segment: str) -> list[tuple[bool, str]]:
    """Literals (False) and the insides of parameters (True), in order; doubled braces outside of a parameter are literal."""
    parts: list[tuple[bool, str]] = []
    index, literal = 0, ""
    while index < len(segment):
        if segment[index:index + 2] in ("{{", "}}"):
            literal += segment[index]
            index += 2
        elif segment[index] == "{":
            depth, end = 1, index + 1
            while depth and end < len(segment):
                depth += {"{": 1, "}": -1}.get(segment[end], 0)
                end += 1
            if depth:
                raise InvalidRoute("a brace is not closed")
            parts += [(False, literal)] * bool(literal) + [(True, segment[index + 1:end - 1])]
            literal, index = "", end
        elif segment[index] == "}":
            raise InvalidRoute("a brace is closed that was not opened")
        else:
            literal += segment[index]
            index += 1
    return parts + [(False, literal)] * bool(literal)


def _outside_parentheses(text: str, separators: str) -> list[str]:
    """Split before each separator that is in no parentheses; the separator stays with what follows."""
    found, depth, begun = [], 0, 0
    for index, character in enumerate(text):
        depth += {"(": 1, ")": -1}.get(character, 0)
        if depth == 0 and character in separators:
            found.append(text[begun:index])
            begun = index
    return [*found, text[begun:]]
