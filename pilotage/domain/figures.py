"""Plots as data: what a gate wants to show, without saying how it is drawn (`pilotage.gates.report` draws)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pilotage.domain.assets import Frozen


class Histogram(Frozen):
    """How often values fall between neighbouring edges, per series."""

    kind: Literal["histogram"] = "histogram"
    title: str
    unit: str = ""
    edges: list[float]
    """n + 1 rising values."""
    series: dict[str, list[int]]
    """Name -> n counts."""
    marks: dict[str, float] = {}
    """Label -> value: limits and percentiles, drawn as lines."""


class Interval(Frozen):
    """A value with its confidence interval."""

    label: str
    value: float
    low: float
    high: float
    note: str = ""
    """Such as the number of rows."""


class Intervals(Frozen):
    """Values side by side with their intervals: cohorts, slices, champion and challenger."""

    kind: Literal["intervals"] = "intervals"
    title: str
    unit: str = ""
    rows: list[Interval]
    marks: dict[str, float] = {}


class Line(Frozen):
    label: str
    points: list[tuple[float, float]]


class Lines(Frozen):
    """Curves over a common axis."""

    kind: Literal["lines"] = "lines"
    title: str
    x_label: str = ""
    y_label: str = ""
    lines: list[Line]
    marks: dict[str, float] = {}
    """Label -> y value."""


Figure = Annotated[Histogram | Intervals | Lines, Field(discriminator="kind")]
