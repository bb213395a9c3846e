"""Figures as SVG. Colours come from the page's style sheet, so that a plot is legible on light and on dark."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from pilotage.domain.figures import Figure, Histogram, Intervals, Lines
from pilotage.web.axes import Scale, label

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 680, 60, 20, 46, 44
HEIGHT = 266
ROW = 26


def draw(figure: Figure) -> Markup:
    """One figure, with a title and a description for those who do not see it."""
    if isinstance(figure, Histogram):
        body, height, about = _histogram(figure)
    elif isinstance(figure, Intervals):
        body, height, about = _intervals(figure)
    else:
        body, height, about = _lines(figure)
    return Markup('<svg class="plot" role="img" viewBox="0 0 {w} {h}" width="{w}" height="{h}" aria-label="{about}">{body}</svg>').format(
        w=WIDTH, h=height, about=_plain(about), body=body)


def _histogram(figure: Histogram) -> tuple[Markup, int, str]:
    across = Scale.around(list(figure.edges), LEFT, WIDTH - RIGHT, marks=list(figure.marks.values()))
    up = Scale.around([float(count) for counts in figure.series.values() for count in counts], HEIGHT - BOTTOM, TOP, zero=True)
    parts = [_axes(across, up, HEIGHT, figure.unit, "count")]
    for number, counts in enumerate(figure.series.values()):
        for low, high, count in zip(figure.edges, figure.edges[1:], counts, strict=False):
            if count:
                x, right, y = across.at(low), across.at(high), up.at(count)
                parts.append(Markup('<rect class="s{n}" x="{x}" y="{y}" width="{w}" height="{h}"/>').format(
                    n=number % 4, x=x, y=y, w=round(max(right - x - 0.5, 0.5), 1), h=round(up.at(0) - y, 1)))
    parts += _marks(across, figure.marks, HEIGHT)
    parts.append(_legend(list(figure.series)))
    totals = ", ".join(f"{name}: {sum(counts)} values" for name, counts in figure.series.items())
    return Markup("").join(parts), HEIGHT, f"{figure.title}. {totals}. {_told(figure.marks, figure.unit)}"


def _intervals(figure: Intervals) -> tuple[Markup, int, str]:
    height = TOP + BOTTOM + ROW * max(len(figure.rows), 1)
    left = LEFT + 130
    values = [value for row in figure.rows for value in (row.low, row.value, row.high)]
    across = Scale.around(values, left, WIDTH - RIGHT, marks=list(figure.marks.values()))
    parts = [_horizontal(across, height, figure.unit)]
    parts += _marks(across, figure.marks, height)
    for number, row in enumerate(figure.rows):
        y = TOP + ROW * number + ROW // 2
        parts.append(Markup(
            '<text class="name" x="{end}" y="{base}" text-anchor="end">{name}</text>'
            '<line class="range" x1="{low}" x2="{high}" y1="{y}" y2="{y}"/><circle class="value" cx="{value}" cy="{y}" r="4">'
            '<title>{name}: {text} ({low_text} to {high_text}) {note}</title></circle>').format(
                end=left - 10, base=y + 4, name=_short(row.label), low=across.at(row.low), high=across.at(row.high), y=y,
                value=across.at(row.value), text=label(row.value), low_text=label(row.low), high_text=label(row.high),
                note=_plain(row.note)))
    told = "; ".join(f"{row.label} {label(row.value)}, {label(row.low)} to {label(row.high)}" for row in figure.rows)
    return Markup("").join(parts), height, f"{figure.title}. {told}. {_told(figure.marks, figure.unit)}"


def _lines(figure: Lines) -> tuple[Markup, int, str]:
    points = [point for line in figure.lines for point in line.points]
    across = Scale.around([x for x, _ in points], LEFT, WIDTH - RIGHT)
    up = Scale.around([y for _, y in points], HEIGHT - BOTTOM, TOP, zero=True, marks=list(figure.marks.values()))
    parts = [_axes(across, up, HEIGHT, figure.x_label, figure.y_label)]
    for number, line in enumerate(figure.lines):
        path = " ".join(f"{across.at(x)},{up.at(y)}" for x, y in line.points)
        parts.append(Markup('<polyline class="l{n}" points="{path}"/>').format(n=number % 4, path=path))
    for name, value in figure.marks.items():
        parts.append(Markup('<line class="mark" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/><text class="marked" x="{x2}" y="{above}" '
                            'text-anchor="end">{name}</text>').format(
            x1=LEFT, x2=WIDTH - RIGHT, y=up.at(value), above=up.at(value) - 4, name=_plain(f"{name} {label(value)}")))
    parts.append(_legend([line.label for line in figure.lines]))
    return Markup("").join(parts), HEIGHT, f"{figure.title}. {_told(figure.marks, figure.y_label)}"


def _axes(across: Scale, up: Scale, height: int, x_label: str, y_label: str) -> Markup:
    parts = [_horizontal(across, height, x_label)]
    parts += [Markup('<line class="grid" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/><text class="tick" x="{end}" y="{base}" '
                     'text-anchor="end">{text}</text>').format(
        x1=LEFT, x2=WIDTH - RIGHT, y=up.at(value), end=LEFT - 6, base=up.at(value) + 4, text=label(value)) for value in up.ticks]
    parts.append(Markup('<text class="axis" x="6" y="16">{}</text>').format(y_label))
    return Markup("").join(parts)


def _horizontal(across: Scale, height: int, unit: str) -> Markup:
    base = height - BOTTOM
    parts = [Markup('<line class="axis-line" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>').format(x1=across.start, x2=across.end, y=base)]
    parts += [Markup('<text class="tick" x="{x}" y="{y}" text-anchor="middle">{text}</text>').format(
        x=across.at(value), y=base + 16, text=label(value)) for value in across.ticks]
    parts.append(Markup('<text class="axis" x="{x}" y="{y}" text-anchor="end">{unit}</text>').format(x=across.end, y=height - 8, unit=unit))
    return Markup("").join(parts)


def _marks(across: Scale, marks: dict[str, float], height: int) -> list[Markup]:
    found = []
    for place, (name, value) in enumerate(marks.items()):
        far = " →" if value > across.high else " ←" if value < across.low else ""
        found.append(_upright(across.at(value), f"{name} {label(value)}{far}", place, height))
    return found


def _upright(x: float, text: str, place: int, height: int) -> Markup:
    # Labels of neighbouring marks would cover each other: they take turns on three lines.
    right = x < WIDTH * 0.75
    return Markup('<line class="mark" x1="{x}" x2="{x}" y1="{top}" y2="{base}"/><text class="marked" x="{at}" y="{y}" '
                  'text-anchor="{anchor}">{text}</text>').format(
        x=x, top=TOP - 6, base=height - BOTTOM, at=x + 4 if right else x - 4, y=TOP - 34 + 12 * (place % 3),
        anchor="start" if right else "end", text=_plain(text))


def _legend(names: Sequence[str]) -> Markup:
    if len(names) < 2:
        return Markup("")
    return Markup("").join(Markup(
        '<rect class="s{n}" x="{x}" y="{y}" width="10" height="10"/><text class="tick" x="{tx}" y="{ty}">{name}</text>').format(
            n=number % 4, x=LEFT + 150 * number, y=HEIGHT - 14, tx=LEFT + 14 + 150 * number, ty=HEIGHT - 5, name=_short(name))
        for number, name in enumerate(names[:4]))


def _plain(text: str) -> str:
    """Labels come from data: what can't be shown can't be part of XML either."""
    return "".join(character if character.isprintable() else " " for character in text)


def _told(marks: dict[str, float], unit: str) -> str:
    return ", ".join(f"{name} {label(value)} {unit}".strip() for name, value in marks.items())


def _short(text: str, limit: int = 24) -> str:
    text = _plain(text)
    return text if len(text) <= limit else text[: limit - 1] + "…"
