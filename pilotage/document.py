"""A YAML document that still knows its lines.

YAML is read by its 1.2 core schema, so that `on`, `no` and `12:30` stay the text that their writer saw;
PyYAML's own resolver would make booleans and numbers of them (and `010` an octal 8). Duplicate keys, anchors, tags and a second
document are refused: each would let a file mean something else than what it shows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

SIZE_LIMIT = 256 * 1024
"""Characters of one file; policies have a few thousand."""
DEPTH_LIMIT = 32


class Unreadable(Exception):
    """The text is not the YAML we accept; `line` counts from 1."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


class _CoreLoader(yaml.SafeLoader):
    """SafeLoader with the YAML 1.2 core schema's idea of booleans, numbers and null, and without aliases."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()
        if getattr(event, "anchor", None) is not None:
            raise Unreadable(event.start_mark.line + 1, "anchors and aliases are not supported: write the value out")
        return super().compose_node(parent, index)


_INT = r"[-+]?(?:0|[1-9][0-9]*)"
_FLOAT = rf"[-+]?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?|{_INT}\.?[eE][-+]?[0-9]+|{_INT}\."
for _tag, _pattern, _first in (
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("tag:yaml.org,2002:int", _INT, list("-+0123456789")),
    ("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789")),
    ("tag:yaml.org,2002:null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
):
    _CoreLoader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)


@dataclass(frozen=True)
class Document:
    """A parsed file: its plain value, and the node tree that says where each part of it stands."""

    value: Any
    root: Node

    def line(self, path: Sequence[str | int], *, key: bool = False) -> int:
        """The line (from 1) of the value at `path`, or of its key; of the nearest parent when there is no such value."""
        node, line = self.root, self.root.start_mark.line + 1
        for position, part in enumerate(path):
            found = _child(node, part)
            if found is None:
                continue  # pydantic names branches of unions in a path; a document has no such step
            name, node = found
            last = position == len(path) - 1
            line = (name if key and last else node).start_mark.line + 1
        return line

    def steps(self, path: Sequence[str | int], *, missing: bool = False) -> list[str | int]:
        """The part of a path that exists in the document; of a `missing` key the last step is kept too."""
        node: Node | None = self.root
        kept: list[str | int] = []
        for position, part in enumerate(path):
            found = _child(node, part) if node is not None else None
            if found is not None:
                kept.append(part)
                node = found[1]
            elif missing and position == len(path) - 1:
                kept.append(part)
        return kept


def _child(node: Node, part: str | int) -> tuple[Node, Node] | None:
    """The (key, value) nodes of a mapping's entry, or (item, item) of a sequence."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(key, ScalarNode) and key.value == str(part):
                return key, value
    if isinstance(node, SequenceNode) and isinstance(part, int) and 0 <= part < len(node.value):
        return node.value[part], node.value[part]
    return None


def parse(text: str, start: str) -> Document:
    """Read one document whose root is a mapping; `start` is how such a file begins, for whoever wrote none. Raises Unreadable."""
    if len(text) > SIZE_LIMIT:
        raise Unreadable(1, f"the file has {len(text)} characters; the limit is {SIZE_LIMIT}")
    try:
        loader = _CoreLoader(text)
        try:
            return _document(loader, start)
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = f"this is not valid YAML: {error.problem or error.context}"
        raise Unreadable(mark.line + 1 if mark else 1, message) from None
    except ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise Unreadable(line, f"this is not valid YAML: it holds the character #x{error.character:04x}") from None
    except RecursionError:
        raise Unreadable(1, f"this is not valid YAML: nested deeper than {DEPTH_LIMIT} levels") from None
    except (yaml.YAMLError, LookupError, ValueError) as error:
        raise Unreadable(1, f"this is not valid YAML: {(str(error).splitlines() or ["unknown"])[0]}") from None


def _document(loader: _CoreLoader, start: str) -> Document:
    root = loader.get_single_node()
    if root is None:
        raise Unreadable(1, f"the file is empty: start with {start}")
    _check(root, 0)
    if not isinstance(root, MappingNode):
        raise Unreadable(root.start_mark.line + 1, f"the file must be a mapping that starts with {start}")
    return Document(value=loader.construct_document(root), root=root)


def _check(node: Node, depth: int) -> None:
    """Refuse explicit tags, keys that aren't text, keys given twice, and nesting nobody means."""
    line = node.start_mark.line + 1
    if depth > DEPTH_LIMIT:
        raise Unreadable(line, f"nested deeper than {DEPTH_LIMIT} levels")
    if node.tag not in _TAGS:
        raise Unreadable(line, f"the tag {node.tag} is not supported: write a plain value")
    if isinstance(node, SequenceNode):
        for item in node.value:
            _check(item, depth + 1)
    if isinstance(node, MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            at = key.start_mark.line + 1
            if not isinstance(key, ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                shown = key.value if isinstance(key, ScalarNode) else "..."
                raise Unreadable(at, f"the key {shown} is not text: put it in quotes")
            if key.value in seen:
                raise Unreadable(at, f"{key.value} is given twice, first on line {seen[key.value]}: keep one")
            seen[key.value] = at
            _check(value, depth + 1)


_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "int", "float", "null", "seq", "map"))
