"""Reading one file into a policy or the guardrails: every error with its line, its place and its fix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from pilotage.document import Document, Unreadable, parse
from pilotage.domain.policy import Guardrails, PromotionPolicy
from pilotage.domain.strict import Strict
from pilotage.domain.windows import over


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong with one file."""

    file: str
    line: int
    where: str
    """The place inside the file, such as `stages[0].gates[1].metric.max`; empty for the file itself."""
    message: str

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{self.file}:{self.line}: {place}{self.message}"


def read_policy(text: str, file: str, guardrails: Guardrails | None = None) -> tuple[PromotionPolicy | None, list[Problem]]:
    """The policy, or the problems that speak against it. With guardrails, a policy below them is a problem too."""
    read, document, problems = _read(text, file, PromotionPolicy)
    if read is None or document is None or guardrails is None:
        return read, problems
    found = [_violation(violation, file, document) for violation in guardrails.violations(read)]
    return (None if found else read), found


def read_guardrails(text: str, file: str) -> tuple[Guardrails | None, list[Problem]]:
    """The platform team's floors, or the problems that speak against them."""
    read, _, problems = _read(text, file, Guardrails)
    return read, problems


def stale(text: str, file: str, read: PromotionPolicy | Guardrails, at: datetime) -> list[Problem]:
    """What of a file that was read says nothing any more from a time on: windows and freezes that are over. No fault: it is told."""
    document = parse(text, "apiVersion: pilotage/v1")
    found: list[tuple[list[str | int], str]] = []
    for number, stage in enumerate(read.stages if isinstance(read, PromotionPolicy) else []):
        found += [(["stages", number, "windows", *path], message) for path, message in over(stage.windows, at)]
    found += [(["freezes", number], f"the freeze ended at {freeze.until} ({freeze.timezone}): remove it")
              for number, freeze in enumerate(read.freezes) if freeze.interval[1] <= at]
    return sorted(Problem(file, document.line(path), _show(path), message) for path, message in found)


def _read[T: Strict](text: str, file: str, model: type[T]) -> tuple[T | None, Document | None, list[Problem]]:
    try:
        document = parse(text, "apiVersion: pilotage/v1")
    except Unreadable as error:
        return None, None, [Problem(file, error.line, "", str(error))]
    try:
        return model.model_validate(document.value), document, []
    except ValidationError as error:
        return None, document, _problems(error.errors(include_url=False), file, document)


def _problems(errors: Iterable[ErrorDetails], file: str, document: Document) -> list[Problem]:
    """One problem a place. Where a union failed, pydantic reports every branch: only what the writer can have meant is told."""
    places: dict[tuple[str | int, ...], list[ErrorDetails]] = {}
    for item in errors:
        places.setdefault(tuple(document.steps(item["loc"], missing=item["type"] == "missing")), []).append(item)
    problems = []
    for path, items in places.items():
        of_a_branch = all(len(item["loc"]) > len(path) for item in items)
        if of_a_branch and any(len(other) > len(path) and other[: len(path)] == path for other in places):
            continue  # another branch fits better: its own errors are told further down
        about_key = items[0]["type"] == "extra_forbidden"
        problems.append(Problem(file, document.line(path, key=about_key), _show(path), _sentence(items, path)))
    return sorted(problems)


def _show(path: Sequence[str | int]) -> str:
    shown = ""
    for part in path:
        shown += f"[{part}]" if isinstance(part, int) else f".{part}" if shown else part
    return shown


def _sentence(items: list[ErrorDetails], path: Sequence[str | int]) -> str:
    """Pydantic's message in the words of somebody who edits YAML, with the fix."""
    item = items[0]
    kinds = {other["type"]: other for other in items}
    if {"model_type", "literal_error"} <= kinds.keys():
        return f"this must be a mapping (key: value) or {_expected(kinds['literal_error'])}, not {_yaml(item['input'])}"
    if {"float_type", "int_type"} <= kinds.keys():
        item = kinds["float_type"]
    kind, value, context = item["type"], item["input"], item.get("ctx", {})
    if kind == "extra_forbidden":
        return f"unknown key {path[-1]}: remove it or correct its name"
    if kind == "missing":
        return "this key is missing: add it"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f"this must be text, and {_yaml(value)} is read as {_noun(value)}: put it in quotes"
    if kind in _WANTED:
        if isinstance(value, str):
            return f"this must be {_WANTED[kind]}, and {value!r} is text: write {_WANTED[kind]}, without quotes"
        return f"this must be {_WANTED[kind]}, not {_yaml(value)}"
    if kind == "literal_error":
        return f"this must be {_expected(item)}, not {_yaml(value)}"
    if kind == "string_pattern_mismatch":
        return f"{_yaml(value)} does not match {context['pattern']}"
    if kind in ("model_type", "dict_type"):
        return f"this must be a mapping (key: value), not {_noun(value)}"
    if kind == "list_type":
        return f"this must be a list (- item), not {_noun(value)}"
    if kind == "value_error":
        return str(context["error"])
    return item["msg"][:1].lower() + item["msg"][1:]


_WANTED = {"int_type": "a whole number", "float_type": "a number", "bool_type": "true or false", "string_type": "text"}


def _expected(item: ErrorDetails) -> str:
    return str(item.get("ctx", {}).get("expected"))


def _yaml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return "nothing" if value is None else str(value)[:80] if isinstance(value, str | int | float) else _noun(value)


def _noun(value: Any) -> str:
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "a mapping", type(None): "nothing"}
    return names.get(type(value), type(value).__name__)


def _violation(violation: str, file: str, document: Document) -> Problem:
    """Put a guardrail's sentence where the policy says what it is about."""
    production: list[str | int] = ["stages", 1]
    paths: dict[str, list[str | int]] = {
        "production approval": [*production, "approval"], "approval.quorum": [*production, "approval", "quorum"],
        "approval.expires": [*production, "approval", "expires"], "environment": ["environment"],
    }
    path = next((path for start, path in paths.items() if violation.startswith(start)), [])
    return Problem(file, document.line(path), "", violation)
