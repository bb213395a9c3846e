"""The rules of a contract and of freshness, and what breaks them. pandera runs those of values and keys."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from pilotage.domain.gate_specs import Freshness
from pilotage.errors import InvalidInput
from pilotage.gates.data_contract import ColumnRule, DataContract
from pilotage.gates.predictions import is_number

if TYPE_CHECKING:
    import pandas as pd

Rows = Sequence[Sequence[Any]]
PATTERN_LENGTH = 256
"""Characters: a longer value breaks its pattern unread, so that no value can keep the gate busy."""
CLOCKS_APART = timedelta(days=1)
"""A date without a zone may be a day ahead of ours."""


@dataclass(frozen=True)
class Finding:
    """One rule that the data breaks: `count` of `of` values or rows."""

    column: str
    rule: str
    count: int
    of: int
    told: str

    @property
    def badness(self) -> float:
        return self.count / self.of if self.of else math.inf


def broken(contract: DataContract, columns: Sequence[str], rows: Rows) -> list[Finding]:
    """Every rule of a contract that a table breaks."""
    findings = [Finding(name, "once", 1, 0, f"column {name} is there {count} times")
                for name, count in Counter(columns).items() if count > 1]
    if not contract.rows.min <= len(rows) <= (math.inf if contract.rows.max is None else contract.rows.max):
        most = "" if contract.rows.max is None else f" and at most {contract.rows.max}"
        findings.append(Finding("", "rows", len(rows), 0, f"{len(rows)} rows; the contract asks for at least {contract.rows.min}{most}"))
    findings += [Finding(name, "required", 1, 0, f"column {name} is missing")
                 for name, rule in contract.columns.items() if rule.required and name not in columns]
    if contract.unknown_columns == "refuse":
        findings += [Finding(name, "unknown", 1, 0, f"column {name} is not in the contract")
                     for name in dict.fromkeys(columns) if name not in contract.columns]
    return findings + _validated(contract, columns, rows)


def _validated(contract: DataContract, columns: Sequence[str], rows: Rows) -> list[Finding]:
    """The rules of values and keys, by pandera: all of them, not only the first."""
    import pandas as pd
    import pandera.pandas as pa
    from pandera.config import ValidationDepth, config_context
    from pandera.errors import SchemaErrorReason

    first = {name: list(columns).index(name) for name in contract.columns if name in columns}
    # As objects: a column's own type would make 1.0 of 1 and NaN of nothing.
    frame = pd.DataFrame({name: pd.Series([row[at] for row in rows], dtype=object) for name, at in first.items()})
    told: dict[tuple[str, str], tuple[str, str]] = {}

    def check(column: str, name: str, passes: Callable[[pd.Series], pd.Series], words: str) -> pa.Check:
        told[column, name] = (f"column {column}", f"values {words}")
        return pa.Check(passes, name=name, error=name, ignore_na=name != "max_null_share")

    keys = {f"unique {', '.join(key)}": key for key in contract.unique if all(name in first for name in key)}
    for name, key in keys.items():
        told["", name] = (f"key {', '.join(key)}", "rows repeat another one")
    schema = pa.DataFrameSchema(
        {name: pa.Column(None, [check(name, *each) for each in _rules(contract.columns[name])], nullable=True) for name in first},
        checks=[pa.Check(partial(_key, key), name=name, error=name) for name, key in keys.items()])
    findings = []
    try:
        # The environment can switch pandera off (PANDERA_VALIDATION_ENABLED): a gate can't be.
        with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
            schema.validate(frame, lazy=True)
    except pa.errors.SchemaErrors as errors:
        for error in errors.schema_errors:
            if error.reason_code is not SchemaErrorReason.DATAFRAME_CHECK:
                raise  # a rule that could not be run: our fault, no verdict
            column = str(error.schema.name or "") if isinstance(error.schema, pa.Column) else ""
            count = len(error.failure_cases["index"].unique())
            rule = str(error.check.name)
            where, what = told[column, rule]
            findings.append(Finding(column, rule, count, len(rows), f"{where}: {count} of {len(rows)} {what}"))
    return findings


def _rules(rule: ColumnRule) -> list[tuple[str, Callable[..., pd.Series], str]]:
    """(name, which values pass, what the others do) for each thing a column's rule asks. Missing values count for max_null_share only."""
    def each(test: Callable[[Any], bool]) -> Callable[[pd.Series], pd.Series]:
        return lambda values: values.map(test).astype(bool)

    def at_most(values: pd.Series) -> pd.Series:
        there = values.notna()
        return there if (~there).sum() > rule.max_null_share * len(values) else there | True

    limit = f", over the {rule.max_null_share:.4g} (share of 1) that the contract allows" if rule.max_null_share else ""
    found: list[tuple[str, Callable[..., pd.Series], str]] = [("max_null_share", at_most, f"are missing{limit}")]
    if rule.type != "any":
        found.append((f"type {rule.type}", each(_TYPES[rule.type]), f"are not {_NAMED[rule.type]}"))
    low, high = rule.min, rule.max
    # What is no number breaks the type, and only that.
    if low is not None:
        found.append((f"min {low:g}", each(lambda value: not is_number(value) or value >= low), f"are under {low:g}"))
    if high is not None:
        found.append((f"max {high:g}", each(lambda value: not is_number(value) or value <= high), f"are over {high:g}"))
    if rule.categories is not None:
        allowed = {category(value) for value in rule.categories}
        named = ", ".join(str(value) for value in rule.categories[:5]) + (", ..." if rule.categories[5:] else "")
        found.append(("categories", each(lambda value: category(value) in allowed), f"are none of {named[:120]}"))
    if rule.pattern is not None:
        pattern = re.compile(rule.pattern)
        found.append((f"pattern {rule.pattern}", each(lambda value: len(text := str(value)) <= PATTERN_LENGTH
                                                      and pattern.fullmatch(text) is not None), f"do not match {rule.pattern}"))
    if rule.unique:
        found.append(("unique", _first_of_its_kind, "repeat another one"))
    return found


def _first_of_its_kind(*parts: pd.Series) -> pd.Series:
    """Which rows do not repeat an earlier one. Lists and objects of JSON lines are compared too; missing values are a value."""
    import pandas as pd

    kinds = pd.Series(list(zip(*(part.map(_comparable) for part in parts), strict=True)), index=parts[0].index, dtype=object)
    return ~kinds.duplicated()


def _key(names: Sequence[str], table: pd.DataFrame) -> pd.Series:
    return _first_of_its_kind(*(table[name] for name in names))


def _comparable(value: Any) -> Any:
    if isinstance(value, bool | list | dict):
        return json.dumps(value, sort_keys=True)
    return None if isinstance(value, float) and math.isnan(value) else value


def category(value: Any) -> str:
    """1, 1.0 and "1" are one category, as `predictions.is_same` sees them; truth values are those of Python and of JSON."""
    if isinstance(value, bool):
        return str(value).casefold()
    if is_number(value):
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    return value.casefold() if str(value) in ("True", "False", "TRUE", "FALSE") else str(value)


def moment(value: Any) -> datetime | None:
    """A date or time in ISO 8601, UTC where it names no zone; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


_TYPES: dict[str, Callable[[Any], bool]] = {
    "number": is_number,
    "integer": lambda value: is_number(value) and (isinstance(value, int) or value.is_integer()),
    "text": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool) or (isinstance(value, str) and value.casefold() in ("true", "false")),
    "date": lambda value: moment(value) is not None,
}
_NAMED = {"number": "numbers", "integer": "whole numbers", "text": "text", "boolean": "true or false", "date": "dates (ISO 8601)"}


def age(asked: Freshness, columns: Sequence[str], rows: Rows, now: datetime, of: str) -> tuple[list[Finding], dict[str, Any]]:
    """How old the newest row is. What is no date, or lies in the future, would hide old data: both are findings."""
    name, max_age = asked.column, asked.max_age
    if name not in columns:
        raise InvalidInput(f"freshness.column: {of} has no column {name} (it has {', '.join(columns)}): mend the policy")
    at = list(columns).index(name)
    values = [row[at] for row in rows if row[at] is not None]
    dates = [found for value in values if (found := moment(value)) is not None]
    evidence: dict[str, Any] = {"column": name[:60], "max_age_days": round(max_age / timedelta(days=1), 4), "dates": len(dates)}
    findings = []
    if len(dates) < len(values):
        count = len(values) - len(dates)
        findings.append(Finding(name, "freshness date", count, len(rows),
                                f"column {name}: {count} of {len(rows)} values are not dates (ISO 8601)"))
    if future := sum(found > now + CLOCKS_APART for found in dates):
        findings.append(Finding(name, "freshness future", future, len(rows),
                                f"column {name}: {future} of {len(rows)} dates are in the future"))
    past = [found for found in dates if found <= now + CLOCKS_APART]
    if not past and rows:
        findings.append(Finding(name, "freshness", len(rows), len(rows), f"column {name} has no date that tells how fresh the data is"))
    elif past:
        old = now - max(past)
        evidence["age_days"] = round(old / timedelta(days=1), 4)
        if old > max_age:
            findings.append(Finding(name, "freshness", len(rows), len(rows),
                                    f"the newest row is {in_days(old)} old by column {name}; the policy allows {in_days(max_age)}"))
    return findings, evidence


def in_days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):.4g} days"
