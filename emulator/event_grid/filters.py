"""Event Grid's filters, with Azure's rules for missing keys, letter case and arrays.

Source: "Event filtering for Event Grid subscriptions" of the Azure documentation. String comparisons ignore
case. A missing key, or null, fails every operator but the negative ones (`...NotIn`, `...NotContains`, ...), which
it passes. An array is matched only when the subscription asks for it: then a positive operator passes when one
of the items does, a negative one when all do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from emulator.config import AdvancedFilter, SubscriptionConfig
from emulator.event_grid.schema import fields

_MISSING = object()
type _Matches = Callable[[Any, Sequence[Any]], bool]


def _text(compare: Callable[[str, str], bool]) -> _Matches:
    return lambda value, wanted: isinstance(value, str) and any(compare(value.casefold(), item.casefold()) for item in wanted)


def _number(compare: Callable[[float, Any], bool]) -> _Matches:
    def matches(value: Any, wanted: Sequence[Any]) -> bool:
        # In Python a bool is a number, in JSON it is not.
        return isinstance(value, int | float) and not isinstance(value, bool) and any(compare(value, item) for item in wanted)

    return matches


_POSITIVE: dict[str, _Matches] = {
    "StringIn": _text(lambda value, wanted: value == wanted),
    "StringContains": _text(lambda value, wanted: wanted in value),
    "StringBeginsWith": _text(str.startswith),
    "StringEndsWith": _text(str.endswith),
    "NumberIn": _number(lambda value, wanted: value == wanted),
    "NumberGreaterThan": _number(lambda value, wanted: value > wanted),
    "NumberGreaterThanOrEquals": _number(lambda value, wanted: value >= wanted),
    "NumberLessThan": _number(lambda value, wanted: value < wanted),
    "NumberLessThanOrEquals": _number(lambda value, wanted: value <= wanted),
    "NumberInRange": _number(lambda value, wanted: wanted[0] <= value <= wanted[1]),
    "BoolEquals": lambda value, wanted: isinstance(value, bool) and value in wanted,
}


def wants(subscription: SubscriptionConfig, event: Mapping[str, Any]) -> bool:
    """True when a subscription's filters let an event (Event Grid schema) through: all of them must."""
    if subscription.event_types and event["eventType"].casefold() not in {t.casefold() for t in subscription.event_types}:
        return False
    fold: Callable[[str], str] = (lambda text: text) if subscription.subject_case_sensitive else str.casefold
    subject = fold(event.get("subject") or "")
    if not subject.startswith(fold(subscription.subject_begins_with)) or not subject.endswith(fold(subscription.subject_ends_with)):
        return False
    named = fields(event)
    return all(passes(rule, named, subscription.filtering_on_arrays) for rule in subscription.advanced_filters)


def passes(rule: AdvancedFilter, event: Mapping[str, Any], arrays: bool) -> bool:
    """One advanced filter on an event's fields; `arrays`: whether the items of an array are looked at."""
    value = _lookup(event, rule.key.split("."))
    absent = value is _MISSING or value is None
    if rule.operator.startswith("Is"):
        return absent == (rule.operator == "IsNullOrUndefined")
    wanted = rule.values or (rule.value,)
    positive = _POSITIVE[rule.operator.replace("Not", "")]
    negative = "Not" in rule.operator
    if absent:
        return negative
    if isinstance(value, list):
        if not arrays:
            return False
        return all(not positive(item, wanted) for item in value) if negative else any(positive(item, wanted) for item in value)
    return positive(value, wanted) != negative


def value_at(event: Mapping[str, Any], key: str) -> Any:
    """What an event has at a dotted key; None when that is nothing."""
    found = _lookup(fields(event), key.split("."))
    return None if found is _MISSING else found


def _lookup(value: Any, parts: Sequence[str]) -> Any:
    """The value at a dotted key; names are compared in any case, and a dot may belong to a name."""
    if not parts:
        return value
    if not isinstance(value, Mapping):
        return _MISSING
    for length in range(len(parts), 0, -1):
        wanted = ".".join(parts[:length]).casefold()
        for name, item in value.items():
            if name.casefold() == wanted and (found := _lookup(item, parts[length:])) is not _MISSING:
                return found
    return _MISSING
