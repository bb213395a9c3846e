"""The text in which a model monitor's evaluator run tells of a breach, read into numbers."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pilotage.domain.assets import Frozen

_PHRASE = re.compile(r"The signal '(?P<signal>[^']*)' has failed due to one or more features violating metric thresholds", re.IGNORECASE)
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
    """The objects of the JSON list in the text, one by one, as far as they can be read."""
    start = text.find("[")
    if start < 0:
        return []
    decoder, rows, at = json.JSONDecoder(), [], start + 1
    while (at := _skip(text, at)) < len(text) and text[at] == "{":
        try:
            row, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        rows.append(row)
    return rows


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
