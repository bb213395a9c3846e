"""Scales of plots: round numbers for ticks, and values as places on the canvas."""

from __future__ import annotations

import math
from dataclasses import dataclass


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) within low..high, about so many."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    step = _round_up((high - low) / about)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _round_up(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= step * 0.999)


def label(value: float) -> str:
    """A number as short as it can be told: 15000 -> 15k, 1500 -> 1500, 0.00012 -> 0.00012."""
    if value == 0:
        return "0"
    if abs(value) >= 10_000:
        for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= size:
                return f"{value / size:.3g}{letter}"
    return f"{value:.4g}" if abs(value) >= 1000 else f"{value:.3g}"


@dataclass(frozen=True)
class Scale:
    """A range of values on a range of pixels."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def around(cls, values: list[float], start: float, end: float, *, zero: bool = False, marks: list[float] | None = None) -> Scale:
        """A scale that shows all finite values, with a little room; with `zero`, the origin too.

        Marks are shown where that leaves the values at least a third of the room; one that is farther away is drawn at the edge.
        """
        finite = [value for value in values if math.isfinite(value)] or [mark for mark in marks or [] if math.isfinite(mark)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        span = high - low or abs(high) or 1.0
        near = [mark for mark in marks or [] if low - 2 * span <= mark <= high + 2 * span]
        low, high = min([low, *near]), max([high, *near])
        if zero:
            low, high = min(low, 0.0), max(high, 0.0)
        room = (high - low) * 0.05 or abs(high) * 0.1 or 1.0
        return cls(low if zero and low == 0 else low - room, high + room, start, end)

    def at(self, value: float) -> float:
        """Pixels; values outside are drawn at the edge."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        return ticks(self.low, self.high)
