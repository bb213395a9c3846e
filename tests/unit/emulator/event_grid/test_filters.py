"""Filters follow Azure's table, cell by cell."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from emulator.config import AdvancedFilter, SubscriptionConfig
from emulator.event_grid.filters import passes, wants
from emulator.event_grid.schema import accept

ABSENT = object()
OPERANDS: dict[str, dict[str, Any]] = {
    "StringIn": {"values": ["Red"]}, "StringNotIn": {"values": ["Red"]},
    "StringContains": {"values": ["Red"]}, "StringNotContains": {"values": ["Red"]},
    "StringBeginsWith": {"values": ["Red"]}, "StringNotBeginsWith": {"values": ["Red"]},
    "StringEndsWith": {"values": ["Red"]}, "StringNotEndsWith": {"values": ["Red"]},
    "NumberIn": {"values": [3]}, "NumberNotIn": {"values": [3]},
    "NumberInRange": {"values": [[2, 4]]}, "NumberNotInRange": {"values": [[2, 4]]},
    "NumberLessThan": {"value": 3}, "NumberLessThanOrEquals": {"value": 3},
    "NumberGreaterThan": {"value": 3}, "NumberGreaterThanOrEquals": {"value": 3},
    "BoolEquals": {"value": True}, "IsNullOrUndefined": {}, "IsNotNull": {},
}
NEGATIVE = [operator for operator in OPERANDS if "Not" in operator and operator != "IsNotNull"]


def rule(operator: str, key: str = "data.key", **operands: Any) -> AdvancedFilter:
    return AdvancedFilter.model_validate({"operator": operator, "key": key, **(operands or OPERANDS[operator])})


def check(operator: str, value: Any, arrays: bool = False, **operands: Any) -> bool:
    return passes(rule(operator, **operands), {"data": {} if value is ABSENT else {"key": value}}, arrays)


@pytest.mark.parametrize(("operator", "passing", "failing"), [
    ("StringIn", ["Red", "RED"], ["red!", "dark red", 3, True, ""]),
    ("StringNotIn", ["redder", ""], ["red"]),
    ("StringContains", ["red", "sacRED"], ["re d", 3]),
    ("StringNotContains", ["blue"], ["sacred"]),
    ("StringBeginsWith", ["redder"], ["sacred"]),
    ("StringNotBeginsWith", ["sacred"], ["redder"]),
    ("StringEndsWith", ["sacred"], ["redder"]),
    ("StringNotEndsWith", ["redder"], ["sacred"]),
    ("NumberIn", [3, 3.0], [2, "3", True]),
    ("NumberNotIn", [2], [3]),
    ("NumberInRange", [2, 3.5, 4], [1.9, 4.1]),
    ("NumberNotInRange", [1.9, 4.1], [2, 4]),
    ("NumberLessThan", [2.9], [3, 4]),
    ("NumberLessThanOrEquals", [3], [3.1]),
    ("NumberGreaterThan", [3.1], [3]),
    ("NumberGreaterThanOrEquals", [3], [2.9]),
    ("BoolEquals", [True], [False, 1, "true"]),
    ("IsNullOrUndefined", [None, ABSENT], ["", 0, False]),
    ("IsNotNull", ["", 0, False], [None, ABSENT]),
])
def test_operators(operator: str, passing: list[Any], failing: list[Any]) -> None:
    assert [value for value in passing if not check(operator, value)] == []
    assert [value for value in failing if check(operator, value)] == []


@pytest.mark.parametrize("absent", [ABSENT, None], ids=["missing", "null"])
@pytest.mark.parametrize("operator", sorted(set(OPERANDS) - {"IsNullOrUndefined", "IsNotNull"}))
def test_a_key_that_is_not_there_passes_the_negative_operators_only(operator: str, absent: Any) -> None:
    assert check(operator, absent) == (operator in NEGATIVE)


def test_one_of_several_values_is_enough_and_none_may_match_a_negative_one() -> None:
    assert check("StringIn", "blue", values=["red", "Blue"])
    assert not check("StringNotIn", "blue", values=["red", "Blue"])
    assert check("NumberInRange", 9, values=[[1, 2], [8, 10]])
    assert not check("NumberNotInRange", 9, values=[[1, 2], [8, 10]])


@pytest.mark.parametrize("operator", ["StringIn", "StringNotIn", "NumberIn", "NumberNotIn"])
def test_an_array_matches_only_where_the_subscription_asks_for_it(operator: str) -> None:
    assert not check(operator, ["red", 3])
    assert check(operator, ["red", 3, "blue"], arrays=True) == (operator in ("StringIn", "NumberIn"))


def test_items_of_an_array_are_combined() -> None:
    assert check("StringContains", ["urgent", "billing"], arrays=True, values=["gent"])
    assert not check("StringNotContains", ["urgent", "billing"], arrays=True, values=["gent"])
    assert check("StringNotContains", [], arrays=True)
    assert not check("StringContains", [], arrays=True)


def test_the_documented_filter_for_breaches_finds_them_in_any_casing() -> None:
    text = "The signal 'a_drift' has failed due to one or more features violating metric thresholds.\nThe feature names"
    words = rule("StringContains", "data.RunTags.azureml_modelmonitor_threshold_breached",
                 values=["HAS FAILED due to one or more features violating metric thresholds"])
    for tags, tag in (("RunTags", "azureml_modelmonitor_threshold_breached"), ("runTags", "Azureml_ModelMonitor_Threshold_Breached")):
        assert passes(words, {"data": {tags: {tag: text}}}, False)
    assert not passes(words, {"data": {"runTags": {}}}, False)


@pytest.mark.parametrize("event", [
    {"data": {"a": {"b.c": {"d": 3}}}},
    {"data": {"A.B": {"C.d": 3}}},
    {"data": {"a": {"b": {"c": {"d": 3}}}}},
    {"data": {"a.b": {}, "a": {"b": {"c.d": 3}}}},
])
def test_a_dot_separates_names_or_belongs_to_one(event: dict[str, Any]) -> None:
    assert passes(rule("NumberIn", "data.a.b.c.d"), event, False)


@given(st.dictionaries(st.text(min_size=1, max_size=3), st.one_of(st.none(), st.integers(), st.text(max_size=3)), max_size=3),
       st.sampled_from(NEGATIVE))
def test_a_negative_operator_is_the_opposite_of_its_positive_one(data: dict[str, Any], operator: str) -> None:
    event, positive = {"data": data}, operator.replace("Not", "")
    key = next((f"data.{name}" for name in data if "." not in name), "data.key")
    present = data.get(key.removeprefix("data.")) is not None
    expected = not passes(rule(positive, key, **OPERANDS[positive]), event, False) if present else True
    assert passes(rule(operator, key, **OPERANDS[operator]), event, False) == expected


class TestBasicFilters:
    EVENT = {"id": "1", "eventType": "Ns.ModelRegistered", "subject": "models/Air-Time:3", "data": {}, "topic": "t", "eventTime": "x"}

    def wants(self, **rest: Any) -> bool:
        return wants(SubscriptionConfig(name="s", topics=("t",), function="f", **rest), self.EVENT)

    def test_no_filter_wants_everything(self) -> None:
        assert self.wants()

    def test_event_types(self) -> None:
        assert self.wants(event_types=("Other", "ns.modelregistered"))
        assert not self.wants(event_types=("ModelRegistered",))

    def test_subject(self) -> None:
        assert self.wants(subject_begins_with="MODELS/", subject_ends_with=":3")
        assert not self.wants(subject_begins_with="air")
        assert not self.wants(subject_ends_with=":4")
        assert not self.wants(subject_begins_with="MODELS/", subject_case_sensitive=True)
        assert self.wants(subject_begins_with="models/Air", subject_case_sensitive=True)

    def test_all_filters_must_let_it_through(self) -> None:
        passing = {"operator": "StringBeginsWith", "key": "Subject", "values": ["models"]}
        failing = {"operator": "StringIn", "key": "eventtype", "values": ["x"]}
        assert self.wants(advanced_filters=(passing,))
        assert not self.wants(advanced_filters=(passing, failing))


def test_a_cloud_events_own_names_can_be_asked_for() -> None:
    cloud = {"specversion": "1.0", "id": "1", "source": "/monitors/m", "type": "Drift", "region": "west", "data": {"n": 3}}
    event = accept(cloud, "t", "any", datetime.now(UTC))
    for key, value in (("source", "/monitors/m"), ("type", "drift"), ("eventType", "Drift"), ("region", "west"), ("id", "1")):
        assert wants(SubscriptionConfig(name="s", topics=("t",), function="f", advanced_filters=(
            AdvancedFilter(operator="StringIn", key=key, values=(value,)),)), event), key


@pytest.mark.parametrize("body", [
    {"operator": "StringLike", "key": "k", "values": ["x"]},
    {"operator": "StringIn", "key": "k"},
    {"operator": "StringIn", "key": "k", "value": "x"},
    {"operator": "StringIn", "key": "k", "values": [3]},
    {"operator": "StringIn", "key": "k", "values": ["x" * 513]},
    {"operator": "StringIn", "key": "k", "values": ["x"] * 26},
    {"operator": "StringIn", "key": "", "values": ["x"]},
    {"operator": "NumberIn", "key": "k", "values": ["3"]},
    {"operator": "NumberIn", "key": "k", "values": [True]},
    {"operator": "NumberInRange", "key": "k", "values": [3, 4]},
    {"operator": "NumberInRange", "key": "k", "values": [[3, 4, 5]]},
    {"operator": "NumberLessThan", "key": "k", "values": [3]},
    {"operator": "NumberLessThan", "key": "k", "value": "3"},
    {"operator": "BoolEquals", "key": "k", "value": "true"},
    {"operator": "IsNotNull", "key": "k", "value": 1},
])
def test_what_azure_would_not_take_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        AdvancedFilter.model_validate(body)
