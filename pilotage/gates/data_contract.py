"""The contract of a data asset: one YAML file that says what its rows must be like. docs/gates/data-quality.md describes it.

It is data and nothing else: no expressions, no imports, no tags or anchors. Every error names the line.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, FiniteFloat, ValidationError, field_validator, model_validator
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from pilotage.domain.strict import Strict
from pilotage.errors import InvalidInput
from pilotage.gates.tables import Files

SIZE_LIMIT = 256 * 1024
"""Bytes of a contract."""
DEPTH_LIMIT = 12
Scalar = str | bool | int | FiniteFloat
Count = Annotated[int, Field(ge=0)]


class ColumnRule(Strict):
    """What the values of one column must be like."""

    type: Literal["number", "integer", "text", "boolean", "date", "any"] = "any"
    required: bool = True
    max_null_share: Annotated[FiniteFloat, Field(ge=0, le=1)] = 0
    min: FiniteFloat | None = None
    max: FiniteFloat | None = None
    categories: Annotated[list[Scalar], Field(min_length=1, max_length=10_000)] | None = None
    pattern: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The whole value must match it, as text."""
    unique: bool = False

    @field_validator("pattern")
    @classmethod
    def _harmless(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            check_pattern(pattern)
        return pattern

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if (self.min is not None or self.max is not None) and self.type not in ("number", "integer"):
            raise ValueError(f"min and max are for numbers: set type to number or integer (it is {self.type})")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min:g} is over max {self.max:g}")
        return self


class RowCount(Strict):
    min: Count = 0
    max: Count | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        if self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is over max {self.max}")
        return self


class DataContract(Strict):
    """One file of version 1."""

    version: Literal[1]
    columns: Annotated[dict[str, ColumnRule], Field(min_length=1, max_length=2_000)]
    unknown_columns: Literal["refuse", "allow"] = "refuse"
    unique: list[Annotated[list[str], Field(min_length=1)]] = []
    """Keys: the columns of each together are different in every row."""
    rows: RowCount = RowCount()

    @model_validator(mode="after")
    def _known(self) -> Self:
        for key in self.unique:
            if unknown := [name for name in key if name not in self.columns]:
                raise ValueError(f"unique names {', '.join(unknown)}, which columns does not describe")
        return self


def read(files: Files, of: str) -> DataContract:
    """The contract in the only .yaml or .yml file of an asset. Raises InvalidInput with file and line."""
    found = [(path, content) for path, content in files if path.endswith((".yaml", ".yml"))]
    if len(found) != 1:
        raise InvalidInput(f"the contract {of} has {len(found)} .yaml files: it needs exactly one")
    path, content = found[0]
    return parse(content, f"{path} of {of}")


def parse(content: bytes, where: str) -> DataContract:
    """`where` names the file in errors. Raises InvalidInput."""
    if len(content) > SIZE_LIMIT:
        raise InvalidInput(f"{where} holds {len(content)} bytes; the limit is {SIZE_LIMIT}")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{where} is not UTF-8 (byte {error.start})") from error
    try:
        loader = _Loader(text)
        root = _check(loader.get_single_node(), where, 0)
        value = loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise InvalidInput(f"{where}:{mark.line + 1 if mark else 1}: this is not YAML: {error.problem or error.context}") from error
    except RecursionError as error:
        raise InvalidInput(f"{where}:1: nested deeper than {DEPTH_LIMIT} levels") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InvalidInput(f"{where}:1: this is not YAML: {(str(error).splitlines() or ['unknown'])[0]}") from error
    try:
        return DataContract.model_validate(value)
    except ValidationError as error:
        problems = sorted({(_line(root, item["loc"]), _sentence(item)) for item in error.errors(include_url=False)})
        told = "; ".join(f"line {line}: {sentence}" for line, sentence in problems[:5])
        raise InvalidInput(f"{where}: {told}{f'; and {len(problems) - 5} more' if problems[5:] else ''}") from error


class _Loader(yaml.SafeLoader):
    """YAML 1.2's idea of booleans and numbers, so that the categories NO and 12:30 stay text; no anchors, which can grow without end."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()
        if getattr(event, "anchor", None) is not None:
            raise yaml.MarkedYAMLError(problem="anchors and aliases are not supported: write the value out", problem_mark=event.start_mark)
        return super().compose_node(parent, index)


_INT = r"[-+]?(?:0|[1-9][0-9]*)"
for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", _INT, list("-+0123456789")),
    ("float", rf"[-+]?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?|{_INT}\.?[eE][-+]?[0-9]+|{_INT}\.", list("-+.0123456789")),
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), _first)
_TAGS = frozenset(f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "int", "float", "null", "seq", "map"))


def _check(node: Node | None, where: str, depth: int) -> Node:
    """The node itself. Refuses an empty file, tags, keys that are no text or given twice, and deep nesting."""
    if node is None:
        raise InvalidInput(f"{where} is empty: start with version: 1")
    place = f"{where}:{node.start_mark.line + 1}"
    if depth == 0 and not isinstance(node, MappingNode):
        raise InvalidInput(f"{place}: a contract is a mapping that starts with version: 1")
    if depth > DEPTH_LIMIT:
        raise InvalidInput(f"{place}: nested deeper than {DEPTH_LIMIT} levels")
    if node.tag not in _TAGS:
        raise InvalidInput(f"{place}: the tag {node.tag} is not supported: write a plain value")
    if isinstance(node, SequenceNode):
        for item in node.value:
            _check(item, where, depth + 1)
    if isinstance(node, MappingNode):
        seen = set()
        for key, value in node.value:
            at = f"{where}:{key.start_mark.line + 1}"
            if not isinstance(key, ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise InvalidInput(f"{at}: the key {key.value if isinstance(key, ScalarNode) else '...'} is not text: put it in quotes")
            if key.value in seen:
                raise InvalidInput(f"{at}: {key.value} is given twice: keep one")
            seen.add(key.value)
            _check(value, where, depth + 1)
    return node


def _line(root: Node, path: Sequence[str | int]) -> int:
    """The line (from 1) where the value at `path` is named; of the nearest parent when there is no such value."""
    node, line = root, root.start_mark.line + 1
    for part in path:
        if isinstance(node, MappingNode):
            entry = next(((key, value) for key, value in node.value if key.value == part), None)
            if entry is not None:
                line, node = entry[0].start_mark.line + 1, entry[1]
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line + 1
    return line


def _sentence(item: Any) -> str:
    names = [str(part) for part in item["loc"] if part not in ("int", "str", "bool", "constrained-float")]
    place = ".".join(names)
    if item["type"] == "extra_forbidden":
        return f"{place}: unknown key {names[-1]}: remove it or correct its name"
    if item["type"] == "missing":
        return f"{place}: this key is missing: add it"
    if item["type"] == "value_error":
        return f"{place}: {item['ctx']['error']}" if place else str(item["ctx"]["error"])
    return f"{place}: {item['msg'][:1].lower()}{item['msg'][1:]}"


def check_pattern(pattern: str) -> None:
    """Raises ValueError for what is no regular expression, and for one that may take endlessly long on an unlucky value."""
    from re import _constants, _parser  # type: ignore[attr-defined]  # the only reader of Python's own syntax

    try:
        re.compile(pattern)
        tree = _parser.parse(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error
    repeats = {_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT}
    refused = {_constants.GROUPREF, _constants.GROUPREF_EXISTS, _constants.ASSERT, _constants.ASSERT_NOT}

    def walk(part: Any, repeated: bool) -> None:
        for operation, argument in part:
            if operation in refused:
                raise ValueError(f"{pattern!r} uses references or look-around: write it without")
            if operation in repeats:
                low, high, inner = argument
                if repeated and low != high:
                    raise ValueError(f"{pattern!r} repeats a repetition, which can take endlessly long: write it without")
                walk(inner, repeated or high > 1)
            elif operation is _constants.BRANCH:
                if repeated:
                    raise ValueError(f"{pattern!r} repeats alternatives, which can take endlessly long: write a character class")
                for branch in argument[1]:
                    walk(branch, repeated)
            elif operation is _constants.SUBPATTERN:
                walk(argument[-1], repeated)
            elif operation is _constants.ATOMIC_GROUP:
                walk(argument, repeated)

    walk(tree, repeated=False)
