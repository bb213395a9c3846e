"""The report's page: every figure drawn, everything escaped, legible without colours."""

from __future__ import annotations

import math
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.figures import Figure, Histogram, Interval, Intervals, Line, Lines
from pilotage.domain.gates import GateOutcome, GateResult, Waiver
from pilotage.web import render_report
from pilotage.web.axes import Scale, label, ticks
from pilotage.web.plots import draw
from pilotage.web.report import evidence_rows

FIGURES: list[Figure] = [
    Histogram(title="Latency", unit="ms", edges=[0, 10, 20], series={"requests": [3, 5]}, marks={"p95": 12.5}),
    Histogram(title="Empty", edges=[0, 1], series={"a": [0], "b": [0]}),
    Intervals(title="mae by origin", unit="minutes", rows=[Interval(label="JFK", value=8, low=7, high=9)], marks={"limit": 10}),
    Intervals(title="None", rows=[]),
    Lines(title="p95", x_label="s", y_label="ms", lines=[Line(label="p95", points=[(0, 1), (1, 3)])], marks={"limit": 2}),
]


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.title)
def test_a_figure_is_well_formed_and_says_what_it_shows(figure: Figure) -> None:
    root = ElementTree.fromstring(str(draw(figure)))
    assert root.get("role") == "img"
    assert (root.get("aria-label") or "").startswith(figure.title)


FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)


@given(st.lists(FINITE, min_size=1, max_size=8), st.dictionaries(st.text(max_size=8), FINITE, max_size=3))
def test_any_numbers_stay_on_the_canvas(values: list[float], marks: dict[str, float]) -> None:
    rows = [Interval(label="x", value=value, low=value, high=value) for value in values]
    for element in ElementTree.fromstring(str(draw(Intervals(title="t", rows=rows, marks=marks)))).iter():
        for name in ("x", "x1", "x2", "cx"):
            place = float(element.get(name) or 0)
            assert -10 <= place <= 690


@given(FINITE, FINITE)
def test_a_scale_keeps_order_and_its_ticks_lie_within(first: float, second: float) -> None:
    scale = Scale.around([first, second], 0, 100)
    assert (scale.at(first) <= scale.at(second)) is (first <= second) or math.isclose(scale.at(first), scale.at(second))
    assert all(scale.low - 1e-6 * abs(scale.low) <= tick <= scale.high + 1e-6 * abs(scale.high) for tick in scale.ticks)


@pytest.mark.parametrize(("low", "high", "expected"), [(0, 10, [0, 2, 4, 6, 8, 10]), (0.1, 0.52, [0.1, 0.2, 0.3, 0.4, 0.5]), (5, 5, [5])])
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (1234, "1234"), (15000, "15k"), (2_500_000, "2.5M"), (0.00012, "0.00012")])
def test_numbers_are_short(value: float, text: str) -> None:
    assert label(value) == text


def test_everything_is_told_and_nothing_is_markup() -> None:
    hostile = "<img src=x onerror=alert(1)>"
    result = GateResult(
        gate="responsible_ai", outcome=GateOutcome.FAILED, message=hostile, evidence={hostile: {hostile: [hostile]}},
        inputs={"h": "sha256:1"},
        carried_from="promote-1", waived=Waiver(id="w", approver="oid-grace", reason=hostile, expires="2026-12-31"),
        figures=[Intervals(title=hostile, rows=[Interval(label=hostile, value=1, low=0, high=2, note=hostile)], marks={hostile: 1})])
    page = render_report({"title": hostile, "facts": {hostile: hostile}}, [result])
    assert "<img" not in page
    assert "onerror" in page
    assert "Waived by oid-grace" in page
    assert "Carried over from promote-1" in page


def test_evidence_becomes_lines() -> None:
    assert evidence_rows({"p95_ms": 12.3456789, "statuses": {"200": 3}, "ok": True, "none": None, "items": [{"a": 1}], "list": [1, 2]}) == [
        ("p95_ms", "12.3457"), ("statuses.200", "3"), ("ok", "yes"), ("none", "not told"), ("items[1].a", "1"), ("list", "1, 2")]
