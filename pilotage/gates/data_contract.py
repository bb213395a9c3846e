"""The contract of a data asset: one YAML file that says what its rows must be like. docs/gates/data-quality.md describes it.

It is data and nothing else: no expressions, no imports, no tags or anchors. Every error names the line.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, ValidationError, field_validator, model_validator

from pilotage.document import Unreadable
from pilotage.document import parse as document_of
from pilotage.domain.strict import Strict
from pilotage.errors import InvalidInput
from pilotage.gates.tables import Files

SIZE_LIMIT = 256 * 1024
"""Bytes of a contract."""
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
        document = document_of(text, "version: 1")
    except Unreadable as error:
        raise InvalidInput(f"{where}:{error.line}: {error}") from error
    try:
        return DataContract.model_validate(document.value)
    except ValidationError as error:
        problems = sorted({(document.line(item["loc"], key=True), _sentence(item)) for item in error.errors(include_url=False)})
        told = "; ".join(f"line {line}: {sentence}" for line, sentence in problems[:5])
        raise InvalidInput(f"{where}: {told}{f'; and {len(problems) - 5} more' if problems[5:] else ''}") from error


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
