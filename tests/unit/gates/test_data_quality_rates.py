"""How often honest splits are called leaky: one table, split at random, in worlds where rows are equal or near by chance.

`-s -m ''` runs all and prints the figures of docs/gates/data-quality.md."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from pilotage.domain.gates import GateOutcome
from tests.unit.gates.test_data_quality import judged

World = Callable[[random.Random, int], dict[str, Any]]
WORLDS: dict[str, World] = {
    "wide": lambda draw, at: {"a": round(draw.gauss(0, 1), 4), "b": round(draw.gauss(0, 1), 4), "c": round(draw.gauss(0, 1), 4)},
    "one dense number": lambda draw, at: {"a": round(draw.gauss(0, 1), 5)},
    "a number and a category": lambda draw, at: {"a": round(draw.expovariate(1), 4), "c": draw.choice("abcd")},
    "few values": lambda draw, at: {"a": draw.randint(0, 30), "c": draw.choice("abcd")},
    "numbered rows": lambda draw, at: {"id": at, "a": round(draw.gauss(0, 1), 4), "b": draw.randint(0, 9)},
}


@pytest.mark.parametrize("splits", [5, pytest.param(40, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", WORLDS)
def test_honest_splits_pass_and_leaky_ones_fail(name: str, splits: int) -> None:
    found: dict[str, Counter[GateOutcome]] = {"honest": Counter(), "leaky": Counter()}
    # How often equal rows are no leak is for `overlap` to tell: here the nearly equal ones decide.
    given: dict[str, Any] = {"key": ["id"]} if name == "numbered rows" else {"max_exact_overlap": 0.01}
    for seed in range(splits):
        draw = random.Random(f"{name}{seed}")
        rows = [WORLDS[name](draw, at) for at in range(1500)]
        draw.shuffle(rows)
        found["honest"][judged(rows[:400], None, rows[400:], **given).outcome] += 1
        # A third of the holdout was trained on.
        found["leaky"][judged(rows[:400], None, rows[267:], **given).outcome] += 1
    print(name, {split: dict(counted) for split, counted in found.items()})
    assert found["honest"][GateOutcome.PASSED] >= splits - 1
    assert name == "few values" or found["leaky"][GateOutcome.FAILED] == splits
