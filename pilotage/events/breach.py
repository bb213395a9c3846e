"""The text in which a model monitor's evaluator run tells of a breach, read into numbers."""

from __future__ import annotations

import ast
import json
import math
import re
from typing import Any

from pilotage.domain.assets import Frozen

_PHRASE = re.compile(r"The signal '(?P<signal>[^']*)' has failed due to one or more features violating metric thresholds", re.IGNORECASE)
_QUOTED = re.compile(r"""'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*\"""")
_DECODER = json.JSONDecoder()
SHOWN = 50
"""Violations that are kept; their number is told in full."""


class Breach(Frozen):
    """A signal over its thresholds."""

    signal: str
    summary: str
    metrics: dict[str, Any]
    """{"violations": [{"feature", "metric", "value", "threshold"}], "violations_total": n}."""


def read_breach(text: str) -> Breach | None:
    """Read the tag's value; None when it does not tell of a breach.

    The phrase is what Azure documents for subscription filters; the list after it may be cut off where tags
    have a limit, so what can't be read of it leaves the breach standing, with fewer numbers.
    """
    match = _PHRASE.search(text)
    if match is None:
        return None
    signal = match["signal"].strip() or "monitor"
    rows = _rows(text[match.end():])
    violations = [
        {"feature": str(row.get("group", ""))[:128], "metric": str(row.get("metric_name", ""))[:128],
         "value": read_number(row.get("metric_value")), "threshold": read_number(row.get("threshold_value"))}
        for row in rows
    ]
    named = ", ".join(str(row["group"])[:128] for row in rows[:5] if row.get("group"))
    summary = f"{signal}: {len(rows)} features over their thresholds" + (f" ({named}{', ...' if len(rows) > 5 else ''})" if named else "")
    return Breach(signal=signal, summary=summary if rows else f"{signal}: features over their thresholds",
                  metrics={"violations": violations[:SHOWN], "violations_total": len(rows)})


def _rows(text: str) -> list[dict[str, Any]]:
    """The objects of the list in the text, one by one, as far as they can be read.

    Documented is a JSON list; Azure's component prints a Python list of JSON texts: `['{"group": ...}']`.
    """
    start = text.find("[")
    if start < 0:
        return []
    rows: list[dict[str, Any]] = []
    at = start + 1
    while (at := _skip(text, at)) < len(text) and (found := _row(text, at)) is not None:
        rows.append(found[0])
        at = found[1]
    return rows


def _row(text: str, at: int) -> tuple[dict[str, Any], int] | None:
    """The object that begins at a place, and where it ends; None when none does that can be read."""
    try:
        if text[at] == "{":
            return _DECODER.raw_decode(text, at)
        if (quoted := _QUOTED.match(text, at)) is not None:
            row = json.loads(ast.literal_eval(quoted[0]))
            return (row, quoted.end()) if isinstance(row, dict) else None
    except (ValueError, SyntaxError, RecursionError):
        pass
    return None


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in ", \t\r\n":
        at += 1
    return at


def read_number(value: Any) -> float | None:
    """A finite number, also where Azure writes it as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
