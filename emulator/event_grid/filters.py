"""Event Grid's filters, with Azure's rules for missing keys, letter case and arrays.

Source: "Event filtering for Event Grid subscriptions" of the Azure documentation. String comparisons ignore
case; a missing key fails every operator but the negative ones (`...NotIn`, `...NotContains`, ...), which it passes;
an array value passes a positive operator when one of its items does, a negative one when all do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from emulator.config import AdvancedFilter, SubscriptionConfig
from emulator.context import EmulatorError


class FilterError(EmulatorError):
    """An advanced filter names an unknown operator or lacks its values."""


_MISSING = object()


def _text(value: Any) -> str | None:
    return value.casefold() if isinstance(value, str) else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _any_text(compare: Callable[[str, str], bool]) -> Callable[[Any, Sequence[Any]], bool]:
    def matches(value: Any, wanted: Sequence[Any]) -> bool:
        text = _text(value)
        return text is not None and any((other := _text(item)) is not None and compare(text, other) for item in wanted)

    return matches


def _any_number(compare: Callable[[float, float], bool]) -> Callable[[Any, Sequence[Any]], bool]:
    def matches(value: Any, wanted: Sequence[Any]) -> bool:
        number = _number(value)
        return number is not None and any((other := _number(item)) is not None and compare(number, other) for item in wanted)

    return matches


def _in_range(value: Any, ranges: Sequence[Any]) -> bool:
    number = _number(value)
    return number is not None and any(float(low) <= number <= float(high) for low, high in ranges)


_POSITIVE: dict[str, Callable[[Any, Sequence[Any]], bool]] = {
    "StringIn": _any_text(lambda a, b: a == b),
    "StringContains": _any_text(lambda a, b: b in a),
    "StringBeginsWith": _any_text(str.startswith),
    "StringEndsWith": _any_text(str.endswith),
    "NumberIn": _any_number(lambda a, b: a == b),
    "NumberGreaterThan": _any_number(lambda a, b: a > b),
    "NumberGreaterThanOrEquals": _any_number(lambda a, b: a >= b),
    "NumberLessThan": _any_number(lambda a, b: a < b),
    "NumberLessThanOrEquals": _any_number(lambda a, b: a <= b),
    "NumberInRange": _in_range,
    "BoolEquals": lambda value, wanted: isinstance(value, bool) and value in wanted,
}
_NEGATIVE = {
    "StringNotIn": "StringIn", "StringNotContains": "StringContains", "StringNotBeginsWith": "StringBeginsWith",
    "StringNotEndsWith": "StringEndsWith", "NumberNotIn": "NumberIn", "NumberNotInRange": "NumberInRange",
}


def lookup(event: Mapping[str, Any], key: str) -> Any:
    """The value at a dotted key; names are compared in any case, and a dot may belong to a name."""
    parts = key.split(".")
    return _descend(event, parts)


def _descend(value: Any, parts: Sequence[str]) -> Any:
    if not parts:
        return value
    if not isinstance(value, Mapping):
        return _MISSING
    for length in range(len(parts), 0, -1):
        wanted = ".".join(parts[:length]).casefold()
        for name, item in value.items():
            if name.casefold() == wanted and (found := _descend(item, parts[length:])) is not _MISSING:
                return found
    return _MISSING


def matches_filter(rule: AdvancedFilter, event: Mapping[str, Any]) -> bool:
    """One advanced filter; raises FilterError for an operator that Event Grid does not have."""
    value = lookup(event, rule.key)
    operator = rule.operator
    if operator == "IsNullOrUndefined":
        return value is _MISSING or value is None
    if operator == "IsNotNull":
        return value is not _MISSING and value is not None
    wanted = list(rule.values) if rule.values else [rule.value]
    if operator in _NEGATIVE:
        if value is _MISSING or value is None:
            return True
        positive = _POSITIVE[_NEGATIVE[operator]]
        return all(not positive(item, wanted) for item in (value if isinstance(value, list) else [value]))
    if operator not in _POSITIVE:
        raise FilterError(f"{operator!r} is not an operator of advanced filters: use one of {sorted([*_POSITIVE, *_NEGATIVE])}")
    if value is _MISSING or value is None:
        return False
    return any(_POSITIVE[operator](item, wanted) for item in (value if isinstance(value, list) else [value]))


def wants(subscription: SubscriptionConfig, event: Mapping[str, Any]) -> bool:
    """True when a subscription's filters let an event (Event Grid schema) through: all of them must."""
    if subscription.event_types and event["eventType"].casefold() not in {t.casefold() for t in subscription.event_types}:
        return False
    subject = event.get("subject", "").casefold()
    if not subject.startswith(subscription.subject_begins_with.casefold()):
        return False
    if not subject.endswith(subscription.subject_ends_with.casefold()):
        return False
    return all(matches_filter(rule, event) for rule in subscription.advanced_filters)
