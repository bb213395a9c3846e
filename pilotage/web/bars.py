"""A promotion's phases as a bar: widths by time, and the same in words for those who do not see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pilotage.domain.durations import Stretch, told

WIDTH = 1000
_LEAST = 12.0
"""Of the width: so that a phase of a second beside a day can be seen."""


def bar(found: Sequence[Stretch], phase: str) -> dict[str, Any]:
    """{"segments": [{"part", "x", "width", "told"}], "told"}. `phase`: the one that it is in, told last where it took no time yet."""
    seconds = [stretch.took.total_seconds() for stretch in found]
    total = sum(seconds)
    shares = [max(WIDTH * value / total if total else 0.0, _LEAST) for value in seconds]
    scale = WIDTH / (sum(shares) or 1)
    segments: list[dict[str, Any]] = []
    x = 0.0
    for stretch, share in zip(found, shares, strict=True):
        about = f"{words(stretch.phase)} {told(stretch.took)}"
        segments.append({"part": stretch.part, "x": round(x, 1), "width": round(share * scale, 1), "told": about})
        x += share * scale
    last = [words(phase)] if not found or found[-1].phase != phase else []
    return {"segments": segments, "told": ", then ".join([*(str(segment["told"]) for segment in segments), *last])}


def words(phase: str) -> str:
    return phase.replace("_", " ")
