"""Traffic rules: what Azure accepts, and how requests are shared out."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.azure_ml import traffic
from emulator.azure_ml.errors import BadRequest

DEPLOYMENTS = {"blue", "green", "red"}


@pytest.mark.parametrize(
    ("live", "mirror"),
    [
        ({}, {}),
        ({"blue": 100}, {}),
        ({"blue": 0}, {}),
        ({"blue": 90, "green": 10}, {}),
        ({"blue": 34, "green": 33, "red": 33}, {}),
        ({"BLUE": 100}, {}),
        ({"blue": 100}, {"green": 50}),
        ({"blue": 100, "green": 0}, {"green": 10}),
        ({"blue": 100}, {"green": 10, "red": 0}),
        ({}, {"green": 10}),
    ],
)
def test_what_is_accepted(live: dict[str, int], mirror: dict[str, int]) -> None:
    traffic.check(live, mirror, DEPLOYMENTS)


@pytest.mark.parametrize(
    ("live", "mirror", "says"),
    [
        ({"blue": 90}, {}, "sum to 90"),
        ({"blue": 90, "green": 20}, {}, "sum to 110"),
        ({"blue": 101, "green": -1}, {}, "from 0 to 100"),
        ({"blue": 99.5, "green": 0.5}, {}, "whole number"),
        ({"blue": True}, {}, "whole number"),
        ({"grey": 100}, {}, "not a deployment"),
        ({"grey": 0}, {}, "not a deployment"),
        ({"blue": 100}, {"green": 51}, "At most 50"),
        ({"blue": 100}, {"green": 10, "red": 10}, "one deployment only"),
        ({"blue": 100}, {"blue": 10}, "live and mirrored"),
        ({"blue": 100}, {"grey": 10}, "not a deployment"),
    ],
)
def test_what_is_refused(live: dict[str, object], mirror: dict[str, object], says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        traffic.check(live, mirror, DEPLOYMENTS)


@given(st.integers(1, 99), st.integers())
def test_only_deployments_with_traffic_are_picked(share: int, seed: int) -> None:
    generator = random.Random(seed)
    picked = {traffic.pick({"blue": share, "green": 100 - share, "red": 0}, generator) for _ in range(50)}
    assert picked <= {"blue", "green"}


def test_the_split_follows_the_weights_and_repeats_with_the_seed() -> None:
    first, second = random.Random(7), random.Random(7)
    picks = [traffic.pick({"blue": 90, "green": 10}, first) for _ in range(2000)]
    assert picks == [traffic.pick({"blue": 90, "green": 10}, second) for _ in range(2000)]
    assert 1750 < Counter(picks)["blue"] < 1850


def test_without_traffic_nothing_is_picked() -> None:
    assert traffic.pick({}, random.Random(1)) is None
    assert traffic.pick({"blue": 0}, random.Random(1)) is None


def test_the_mirror_gets_its_share() -> None:
    generator = random.Random(7)
    mirrored = [traffic.mirror_to({"green": 20}, generator) for _ in range(2000)]
    assert 340 < mirrored.count("green") < 460
    assert traffic.mirror_to({"green": 0}, generator) is None
