"""MLflow's search language: `metrics.rmse < 1 and params.model = 'tree'`, and its `ORDER BY`.

    filter     := clause ("AND" clause)*
    clause     := identifier comparator value | identifier "IS" ["NOT"] "NULL"
    identifier := [entity "."] key             the key bare, in `backticks` or in "double quotes"
    comparator := "=" "!=" ">" ">=" "<" "<=" "LIKE" "ILIKE" "IN" "NOT IN"
    value      := number | 'text' | "text" | "(" text ("," text)* ")"

Source: https://mlflow.org/docs/latest/search-runs and mlflow/utils/search_utils.py. There is no OR. What has no such
metric, parameter or tag matches no comparison at all, not even `!=`; only `IS NULL`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.azure_ml.mlflow.errors import invalid

_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|(?P<tick>`[^`]*`)|(?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])"""
    r"""|(?P<comparator>!=|>=|<=|=|<|>)|(?P<mark>[(),.])|(?P<word>[A-Za-z_0-9][\w/\-]*))""",
    re.VERBOSE,
)
_ENTITIES = {
    "metric": "metric", "metrics": "metric",
    "param": "param", "params": "param", "parameter": "param", "parameters": "param",
    "tag": "tag", "tags": "tag",
    "attribute": "attribute", "attributes": "attribute", "attr": "attribute", "run": "attribute",
}  # fmt: skip
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq, "!=": operator.ne, ">": operator.gt, ">=": operator.ge, "<": operator.lt, "<=": operator.le,
}  # fmt: skip
_TEXTUAL = frozenset({"=", "!=", "LIKE", "ILIKE", "IN", "NOT IN", "IS NULL", "IS NOT NULL"})
_LONGEST = 20_000

Item = Callable[[str, str], Any]
"""What something has: entity (`metric`, `param`, `tag`, `attribute`) and key to a value, None for nothing."""


@dataclass(frozen=True, slots=True)
class Searchable:
    """What can be asked of one kind of thing: its entities, and its attributes with their aliases."""

    entities: frozenset[str]
    texts: Mapping[str, str]
    """What a request may call a textual attribute, to its own name."""
    numbers: Mapping[str, str]

    def attribute(self, key: str) -> str:
        """Raises for an unknown one."""
        found = self.texts.get(key) or self.numbers.get(key)
        if found is None:
            raise invalid(f"Invalid attribute key '{key}' specified. Valid keys are {sorted({*self.texts, *self.numbers})}.")
        return found


def _names(*names: str, **aliases: str) -> dict[str, str]:
    return {name: name for name in names} | aliases


RUNS = Searchable(
    frozenset({"metric", "param", "tag", "attribute"}),
    {**_names("run_id", "run_name", "status", "user_id", "artifact_uri", "experiment_id", "lifecycle_stage", run_uuid="run_id"),
     "run name": "run_name", "Run name": "run_name", "Run Name": "run_name"},
    _names("start_time", "end_time", created="start_time", Created="start_time"),
)  # fmt: skip
EXPERIMENTS = Searchable(
    frozenset({"tag", "attribute"}), _names("name", "experiment_id"), _names("creation_time", "last_update_time")
)
MODELS = Searchable(
    frozenset({"tag", "attribute"}), _names("name"),
    _names("creation_timestamp", "last_updated_timestamp", timestamp="last_updated_timestamp"),
)  # fmt: skip
VERSIONS = Searchable(
    frozenset({"tag", "attribute"}), _names("name", "run_id", "source_path", "current_stage", stage="current_stage", source="source_path"),
    _names("version_number", "creation_timestamp", "last_updated_timestamp", version="version_number"),
)  # fmt: skip
LOGGED_MODELS = Searchable(
    frozenset({"metric", "param", "tag", "attribute"}),
    _names("name", "model_id", "status", "model_type", "source_run_id", "experiment_id"),
    _names("creation_timestamp", "last_updated_timestamp", creation_time="creation_timestamp", last_updated_time="last_updated_timestamp"),
)


@dataclass(frozen=True, slots=True)
class Clause:
    entity: str
    key: str
    comparator: str
    value: Any = None

    def holds(self, item: Item) -> bool:
        actual = item(self.entity, self.key)
        match self.comparator:
            case "IS NULL":
                return actual is None
            case "IS NOT NULL":
                return actual is not None
        if actual is None:
            return False
        match self.comparator:
            case "IN":
                return actual in self.value
            case "NOT IN":
                return actual not in self.value
            case "LIKE" | "ILIKE":
                return _like(self.value, self.comparator == "ILIKE").fullmatch(str(actual)) is not None
        return _ORDERED[self.comparator](actual, self.value)


def parse(text: str, about: Searchable) -> list[Clause]:
    """The clauses of a filter, all of which must hold; raises INVALID_PARAMETER_VALUE naming what is wrong."""
    if len(text) > _LONGEST:
        raise invalid(f"The filter is longer than {_LONGEST} characters.")
    reader = _Reader(text)
    clauses: list[Clause] = []
    while not reader.ended:
        if clauses and not reader.keyword("AND"):
            raise invalid(f"Invalid clause(s) in filter string {text!r}: expected AND before {reader.rest!r}.")
        clauses.append(_clause(reader, about))
    return clauses


def matching(clauses: Iterable[Clause], item: Item) -> bool:
    return all(clause.holds(item) for clause in clauses)


def ordered[T](items: Iterable[T], order_by: Sequence[str], about: Searchable, item: Callable[[T], Item]) -> list[T]:
    """Items in the order asked for; those without a value come last, equals stay in the order they have."""
    found = list(items)
    for text in reversed(order_by):
        reader = _Reader(text)
        entity, key = _identifier(reader, about)
        descending = reader.keyword("DESC")
        if not descending:
            reader.keyword("ASC")
        if not reader.ended:
            raise invalid(f"Invalid order_by clause {text!r}.")

        def value(one: T, entity: str = entity, key: str = key) -> Any:
            return item(one)(entity, key)

        with_one = [one for one in found if _sortable(value(one))]
        without = [one for one in found if not _sortable(value(one))]
        found = sorted(with_one, key=value, reverse=descending) + without
    return found


def _sortable(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def _clause(reader: _Reader, about: Searchable) -> Clause:
    entity, key = _identifier(reader, about)
    comparator = reader.comparator()
    numeric = entity == "metric" or (entity == "attribute" and key in about.numbers.values())
    if numeric and comparator not in _ORDERED:
        raise invalid(f"Invalid comparator '{comparator}' for the number {entity}.{key}: one of {sorted(_ORDERED)}.")
    if not numeric and comparator not in _TEXTUAL:
        raise invalid(f"Invalid comparator '{comparator}' for the text {entity}.{key}: one of {sorted(_TEXTUAL)}.")
    if comparator in ("IS NULL", "IS NOT NULL"):
        return Clause(entity, key, comparator)
    if comparator in ("IN", "NOT IN"):
        return Clause(entity, key, comparator, reader.listed())
    if numeric:
        return Clause(entity, key, comparator, reader.number())
    return Clause(entity, key, comparator, reader.text())


def _identifier(reader: _Reader, about: Searchable) -> tuple[str, str]:
    """Entity and key; a key by itself is an attribute's."""
    first = reader.name()
    if not reader.mark("."):
        return "attribute", about.attribute(first)
    entity = _ENTITIES.get(first)
    if entity is None or entity not in about.entities:
        raise invalid(f"Invalid entity type '{first}'. Valid values are {sorted(about.entities)}.")
    key = reader.name()
    while reader.mark("."):  # an unquoted key may have dots of its own
        key = f"{key}.{reader.name()}"
    return (entity, about.attribute(key)) if entity == "attribute" else (entity, key)


def _like(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    """`%` stands for any text, `_` for one character. What lies between two `%` is taken where it comes first and never
    tried elsewhere (atomic groups): the time stays in proportion to the text, however many `%` there are."""
    first, *others = ("".join("." if character == "_" else re.escape(character) for character in part) for part in pattern.split("%"))
    middle = "".join(f"(?>.*?{part})" for part in others[:-1])
    regex = first + middle + (f".*{others[-1]}" if others else "")
    return re.compile(regex, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


class _Reader:
    """The tokens of a filter, one after another."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    @property
    def ended(self) -> bool:
        return not self.rest.strip()

    @property
    def rest(self) -> str:
        return self._text[self._position :]

    def keyword(self, *words: str) -> bool:
        """Pass over words, in any case, if they come next."""
        start = self._position
        for word in words:
            found = _TOKEN.match(self._text, self._position)
            if found is None or (found["word"] or "").upper() != word:
                self._position = start
                return False
            self._position = found.end()
        return True

    def mark(self, mark: str) -> bool:
        found = _TOKEN.match(self._text, self._position)
        if found is None or found["mark"] != mark:
            return False
        self._position = found.end()
        return True

    def name(self) -> str:
        found = self._next("a name")
        name: str | None = found["word"] or (found["text"] or found["tick"] or "")[1:-1] or found["number"]
        if not name:
            raise self._unexpected(found, "a name")
        return name

    def comparator(self) -> str:
        for words in (("IS", "NOT", "NULL"), ("IS", "NULL"), ("NOT", "IN"), ("IN",), ("LIKE",), ("ILIKE",)):
            if self.keyword(*words):
                return " ".join(words)
        found = self._next("a comparator")
        if not found["comparator"]:
            raise self._unexpected(found, "a comparator")
        return str(found["comparator"])

    def text(self) -> str:
        found = self._next("a quoted value")
        if found["text"] is None:
            raise invalid(f"Parameter value is either not quoted or unidentified quote types used for {found[0].strip()!r}.")
        return re.sub(r"\\(.)", r"\1", found["text"][1:-1])

    def number(self) -> float:
        found = self._next("a number")
        try:
            return float(found["number"] or (found["text"] or "''")[1:-1])
        except ValueError:
            raise invalid(f"Expected numeric value type for metric or attribute. Found {found[0].strip()!r}.") from None

    def listed(self) -> list[str]:
        if not self.mark("("):
            raise invalid(f"Expected a list in parentheses in {self._text!r}.")
        values = [self.text()]
        while self.mark(","):
            values.append(self.text())
        if not self.mark(")"):
            raise invalid(f"The list is not closed in {self._text!r}.")
        return values

    def _next(self, wanted: str) -> re.Match[str]:
        found = _TOKEN.match(self._text, self._position)
        if found is None:
            raise invalid(f"Invalid filter string {self._text!r}: expected {wanted} at {self.rest!r}.")
        self._position = found.end()
        return found

    def _unexpected(self, found: re.Match[str], wanted: str) -> Exception:
        return invalid(f"Invalid filter string {self._text!r}: expected {wanted}, not {found[0].strip()!r}.")
