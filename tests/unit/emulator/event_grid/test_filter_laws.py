"""Laws that hold for every filter, whatever it is given."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from emulator.config import AdvancedFilter, SubscriptionConfig
from emulator.event_grid.filters import passes, wants

TEXTS = ("In", "Contains", "BeginsWith", "EndsWith")
text = st.text("abAB ", max_size=4)
number = st.integers(-4, 4) | st.sampled_from([-1.5, 0.5, 2.5])
scalar = st.one_of(text, number, st.booleans(), st.none())
value = scalar | st.lists(scalar, max_size=3)
data = st.dictionaries(st.sampled_from(["k", "K2", "deep"]), value | st.dictionaries(st.sampled_from(["x", "Y"]), value, max_size=2),
                       max_size=3)
key = st.sampled_from(["data.k", "data.k2", "data.deep.x", "data.deep.y", "data.none", "data", "subject"])
ranges = st.tuples(number, number).map(lambda pair: tuple(sorted(pair)))


def rule(operator: str, key: str, **operands: Any) -> AdvancedFilter:
    return AdvancedFilter.model_validate({"operator": operator, "key": key, **operands})


texts = st.builds(lambda no, kind, key, values: rule(f"String{no}{kind}", key, values=values),
                  st.sampled_from(["", "Not"]), st.sampled_from(TEXTS), key, st.lists(text, min_size=1, max_size=4))
numbers = st.builds(lambda no, key, values: rule(f"Number{no}In", key, values=values),
                    st.sampled_from(["", "Not"]), key, st.lists(number, min_size=1, max_size=4))
in_ranges = st.builds(lambda no, key, values: rule(f"Number{no}InRange", key, values=values),
                      st.sampled_from(["", "Not"]), key, st.lists(ranges, min_size=1, max_size=3))
several = texts | numbers | in_ranges
single = st.builds(lambda operator, key, value: rule(operator, key, value=value), st.sampled_from([
    "NumberLessThan", "NumberLessThanOrEquals", "NumberGreaterThan", "NumberGreaterThanOrEquals"]), key, number)
rules = several | single | st.builds(lambda key, value: rule("BoolEquals", key, value=value), key, st.booleans()) | st.builds(
    rule, st.sampled_from(["IsNullOrUndefined", "IsNotNull"]), key)


def event(data: Any) -> dict[str, Any]:
    return {"id": "1", "eventType": "T", "subject": "Sub", "topic": "t", "eventTime": "x", "data": data}


def opposite(rule_: AdvancedFilter) -> AdvancedFilter:
    operator = rule_.operator.replace("Not", "") if "Not" in rule_.operator else rule_.operator.replace("String", "StringNot").replace(
        "Number", "NumberNot")
    return rule(operator, rule_.key, values=rule_.values)


def swapped(given_: Any) -> Any:
    match given_:
        case str():
            return given_.swapcase()
        case list() | tuple():
            return [swapped(item) for item in given_]
        case dict():
            return {swapped(name): swapped(item) for name, item in given_.items()}
    return given_


@given(rules, data, st.booleans())
def test_letter_case_never_matters(rule_: AdvancedFilter, data: dict[str, Any], arrays: bool) -> None:
    other = AdvancedFilter(operator=rule_.operator, key=rule_.key.swapcase(), value=rule_.value, values=tuple(swapped(rule_.values)))
    assert passes(rule_, event(data), arrays) == passes(other, swapped(event(data)), arrays)


@given(several, data, st.booleans())
def test_more_values_widen_a_positive_filter_and_narrow_a_negative_one(wider: AdvancedFilter, data: dict[str, Any], arrays: bool) -> None:
    for number in range(1, len(wider.values)):
        fewer = rule(wider.operator, wider.key, values=wider.values[:number])
        before, after = passes(fewer, event(data), arrays), passes(wider, event(data), arrays)
        assert (after <= before) if "Not" in wider.operator else (before <= after)


@given(st.lists(rules, max_size=4), rules, data, st.booleans())
def test_one_more_filter_only_narrows_and_their_order_does_not_matter(some: list[AdvancedFilter], more: AdvancedFilter,
                                                                      data: dict[str, Any], arrays: bool) -> None:
    def let_through(*given_: AdvancedFilter) -> bool:
        subscription = SubscriptionConfig(name="s", topics=("t",), function="f", advanced_filters=given_, filtering_on_arrays=arrays)
        return wants(subscription, event(data))

    assert let_through(*some, more) == (let_through(*some) and let_through(more))
    assert let_through(*some, more) == let_through(more, *reversed(some))


@given(several, value, st.booleans())
def test_a_negative_filter_is_the_opposite_where_there_is_a_value_to_look_at(rule_: AdvancedFilter, given_: Any, arrays: bool) -> None:
    here = rule(rule_.operator, "data", values=rule_.values)
    positive, negative = passes(here, event(given_), arrays), passes(opposite(here), event(given_), arrays)
    if given_ is None:
        assert (positive, negative) == ("Not" in here.operator, "Not" not in here.operator)
    elif isinstance(given_, list) and not arrays:
        assert (positive, negative) == (False, False)
    else:
        assert positive != negative


@given(text, st.lists(text, min_size=1, max_size=3))
def test_what_is_in_begins_with_ends_with_and_contains(given_: str, values: list[str]) -> None:
    if passes(rule("StringIn", "data", values=values), event(given_), False):
        assert all(passes(rule(f"String{kind}", "data", values=values), event(given_), False) for kind in TEXTS)


@given(scalar, number)
def test_a_number_is_less_or_not_less_and_nothing_else_is_either(given_: Any, bound: float) -> None:
    below = passes(rule("NumberLessThan", "data", value=bound), event(given_), False)
    not_below = passes(rule("NumberGreaterThanOrEquals", "data", value=bound), event(given_), False)
    assert below + not_below == (isinstance(given_, int | float) and not isinstance(given_, bool))


@given(value, ranges, st.booleans())
def test_a_range_includes_its_ends(given_: Any, bounds: tuple[float, float], arrays: bool) -> None:
    inside = passes(rule("NumberInRange", "data", values=[bounds]), event(given_), arrays)
    items = given_ if isinstance(given_, list) else [given_]
    looked_at = arrays or not isinstance(given_, list)
    assert inside == (looked_at and any(
        isinstance(item, int | float) and not isinstance(item, bool) and bounds[0] <= item <= bounds[1] for item in items))


@given(value, st.booleans())
def test_null_and_absent_are_one(given_: Any, arrays: bool) -> None:
    for there in ({}, {"k": given_}):
        null, not_null = (passes(rule(operator, "data.k"), event(there), arrays) for operator in ("IsNullOrUndefined", "IsNotNull"))
        assert null != not_null
        assert null == (there.get("k") is None)
