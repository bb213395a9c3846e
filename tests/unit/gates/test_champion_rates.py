"""The champion gate's error rates on a small seeded simulation; `python -m bench champion` is the large one."""

from __future__ import annotations

import pytest

from bench.champion import classification, rates, regression, slices_failing
from pilotage.domain.gates import GateOutcome

WORLDS = {"tails": regression("mae", 3, draws=200_000), "classes": classification("accuracy", (0.5, 0.5))}


@pytest.mark.parametrize("world", WORLDS.values(), ids=WORLDS)
def test_a_worse_challenger_seldom_passes_and_a_better_one_seldom_fails(world) -> None:  # type: ignore[no-untyped-def]
    def of(quality: float, threshold: float) -> dict[GateOutcome, float]:
        return rates(world, 400, quality, threshold, trials=60, seed=3, resamples=300)

    assert of(-1.0, -1.0)[GateOutcome.PASSED] <= 0.1
    assert of(-2.0, -1.0)[GateOutcome.PASSED] <= 0.02
    assert of(0.0, 0.0)[GateOutcome.FAILED] <= 0.1
    better = of(1.0, -1.0)
    assert better[GateOutcome.PASSED] >= 0.8
    assert better[GateOutcome.FAILED] == 0


def test_many_slices_do_not_fail_by_chance() -> None:
    assert slices_failing(WORLDS["classes"], 10, 60, trials=20, seed=2, corrected=True) <= 0.15
