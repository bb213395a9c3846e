"""How often the responsible_ai gate blocks fair models, and lets biased ones through.

`-s -m ''` runs all and prints the table of docs/gates/responsible-ai.md."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from pilotage.domain.gates import GateOutcome
from tests.unit.gates.test_responsible_ai import classes, judged, line, regression, said

MODELS = 40
LONG = pytest.mark.exhaustive
FAIRNESS = [{"measure": "demographic_parity_difference", "limit": 0.2, "favourable": "yes"}]


def outcomes(seed: int, scale: int, given: dict[str, Any], worse: float) -> GateOutcome:
    """A model that serves six cohorts alike; in the first one its error is `worse` times that of the others."""
    draw = random.Random(seed)
    sizes = {name: scale * draw.randint(80, 200) for name in "abcdef"}
    if given["metric"] == "mae":
        rows = [row | {"y": round(3 * row["x"] + (row["y"] - 3 * row["x"]) * (worse if row["region"] == "a" else 1), 4)}
                for row in regression(sizes, seed)]
        return judged(rows, line(), **given).outcome
    # x is wrong for 15 % of the rows, in the first cohort for more.
    more = (worse - 1) * 0.15 / 0.7
    rows = [row | {"x": 1 - row["x"] if row["region"] == "a" and row["u"] < more else row["x"]} for row in classes(sizes, seed)]
    # Decisions about fairness are a coin's, so that selection rates vary as much as shares can.
    return judged(rows, said(lambda row: row["u"] > 0.5 if "fairness" in given else row["x"] == 1), **given).outcome


@pytest.mark.parametrize(("name", "scale", "given", "worse", "least", "most_failed", "most_passed"), [
    ("fair, mae, max_ratio 1.25", 1, {"metric": "mae", "max_ratio": 1.25}, 1, 36, 0, 40),
    ("fair, accuracy, max_ratio 1.5", 1, {"metric": "accuracy", "max_ratio": 1.5}, 1, 20, 0, 40),
    pytest.param("fair, accuracy, max_ratio 1.5, 4 x rows", 4, {"metric": "accuracy", "max_ratio": 1.5}, 1, 36, 0, 40, marks=LONG),
    ("fair, parity difference 0.2", 1, {"metric": "accuracy", "fairness": FAIRNESS}, 1, 30, 0, 40),
    pytest.param("at the limit, mae", 1, {"metric": "mae", "max_ratio": 1.0}, 1, 0, 4, 0, marks=LONG),
    pytest.param("biased 1.6, mae, max_ratio 1.25", 1, {"metric": "mae", "max_ratio": 1.25}, 1.6, 0, 40, 8, marks=LONG),
    ("biased 2, mae, max_ratio 1.25", 1, {"metric": "mae", "max_ratio": 1.25}, 2, 0, 40, 0),
    pytest.param("biased 2.5, accuracy, max_ratio 1.5", 1, {"metric": "accuracy", "max_ratio": 1.5}, 2.5, 0, 40, 6, marks=LONG),
])
def test_rates(name: str, scale: int, given: dict[str, Any], worse: float, least: int, most_failed: int, most_passed: int) -> None:
    found = Counter(outcomes(seed, scale, {"resamples": 400} | given, worse) for seed in range(MODELS))
    print(f"{name}: " + ", ".join(f"{outcome}: {found[outcome]}" for outcome in GateOutcome))
    assert least <= found[GateOutcome.PASSED] <= most_passed
    assert found[GateOutcome.FAILED] <= most_failed
