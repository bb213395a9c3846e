"""Traffic arithmetic and the order of versions."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.rollout import check_sum, is_older, normal, split, version_order

NAMES = st.text(alphabet="abcdef0123456789-", min_size=1, max_size=8)


@st.composite
def splits(draw: st.DrawFn) -> dict[str, int]:
    """A split as an endpoint may have it: nothing, or shares that sum to 100, some of them perhaps 0."""
    names = draw(st.lists(NAMES, unique=True, max_size=6))
    if not names:
        return {}
    cuts = sorted(draw(st.lists(st.integers(0, 100), min_size=len(names) - 1, max_size=len(names) - 1)))
    return dict(zip(names, [b - a for a, b in zip([0, *cuts], [*cuts, 100], strict=True)], strict=True))


@pytest.mark.parametrize(("last_good", "share", "wanted"), [
    ({}, 10, {"green": 100}),
    ({"blue": 0}, 10, {"green": 100}),
    ({"blue": 100}, 10, {"blue": 90, "green": 10}),
    ({"blue": 100}, 100, {"green": 100}),
    ({"a": 70, "b": 30}, 50, {"a": 35, "b": 15, "green": 50}),
    ({"a": 50, "b": 50}, 1, {"a": 50, "b": 49, "green": 1}),
    ({"a": 99, "b": 1}, 60, {"a": 40, "green": 60}),
    ({"a": 34, "b": 33, "c": 33}, 20, {"a": 27, "b": 27, "c": 26, "green": 20}),
    ({"green": 40, "blue": 60}, 25, {"blue": 75, "green": 25}),
    ({"green": 100}, 10, {"green": 100}),
])
def test_a_step_shares_the_rest_in_its_proportions(last_good: dict[str, int], share: int, wanted: dict[str, int]) -> None:
    assert split(last_good, "green", share) == wanted


@given(splits(), st.integers(1, 100))
def test_a_step_always_sums_to_a_hundred(last_good: dict[str, int], share: int) -> None:
    moved = split(last_good, "green", share)
    check_sum(moved)
    assert sum(moved.values()) == 100
    assert moved == normal(moved)
    assert set(moved) <= {*last_good, "green"}


@given(splits(), st.integers(1, 99))
def test_who_served_before_keeps_its_proportion_to_less_than_a_point(last_good: dict[str, int], share: int) -> None:
    before = {name: part for name, part in last_good.items() if part and name != "green"}
    moved = split(last_good, "green", share)
    if before:
        assert moved["green"] == share
        total = sum(before.values())
        for name, part in before.items():
            assert abs(moved.get(name, 0) - part * (100 - share) / total) < 1
        # Who had more never ends with less.
        ordered = sorted(before, key=lambda name: before[name])
        assert all(moved.get(a, 0) <= moved.get(b, 0) for a, b in pairwise(ordered) if before[a] < before[b])


@given(splits(), st.integers(1, 100), st.randoms())
def test_the_order_in_which_a_split_is_read_does_not_matter(last_good: dict[str, int], share: int, random: object) -> None:
    shuffled = dict(reversed(list(last_good.items())))
    assert split(shuffled, "green", share) == split(last_good, "green", share)


@given(splits())
def test_zeros_carry_no_meaning(traffic: dict[str, int]) -> None:
    assert normal({**traffic, "zero": 0}) == normal(traffic) == normal(normal(traffic))
    check_sum(traffic)


@pytest.mark.parametrize("traffic", [{"a": 99}, {"a": 101}, {"a": 50, "b": 51}, {"a": 150, "b": -50}, {"a": -1, "b": 1}])
def test_other_sums_are_refused(traffic: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="sum to 0 or 100"):
        check_sum(traffic)


VERSIONS = st.one_of(st.integers(0, 10**20).map(str), st.text(max_size=6),
                     st.sampled_from(["1.2.0", "v2", "²", "\u0661", "01", "2024-01-01"]))


@pytest.mark.parametrize(("version", "live", "older"), [
    ("9", "10", True), ("10", "9", False), ("10", "10", False), ("1.9", "1.10", False), ("a", "b", False), ("1", "b", False),
    ("²", "3", False), ("01", "2", True),
])
def test_only_numbers_can_be_older(version: str, live: str, older: bool) -> None:
    assert is_older(version, live) is older


@given(st.lists(VERSIONS))
def test_versions_have_one_order(versions: list[str]) -> None:
    """Any texts at all can be sorted, numbers by value and first, and `is_older` agrees with that order."""
    ordered = sorted(versions, key=version_order)
    for one, other in pairwise(ordered):
        assert not is_older(other, one)


@given(VERSIONS, VERSIONS, VERSIONS)
def test_being_older_is_a_strict_order(a: str, b: str, c: str) -> None:
    assert not is_older(a, a)
    assert not (is_older(a, b) and is_older(b, a))
    assert is_older(a, c) or not (is_older(a, b) and is_older(b, c))
