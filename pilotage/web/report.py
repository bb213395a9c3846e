"""The gates' report: one page that holds everything it shows, to be read in a browser, mailed, or kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from pilotage.domain.gates import GateResult, overall
from pilotage.web.plots import draw

_ORDER = {"failed": 0, "errored": 1, "inconclusive": 2, "passed": 3}


def render_report(about: Mapping[str, Any], results: Sequence[GateResult]) -> str:
    """HTML. `about`: title, and facts (label -> text) above the gates; results with their figures."""
    ordered = sorted(results, key=lambda result: (not result.blocks, _ORDER[result.outcome.value], result.gate))
    return templates().get_template("report.html").render(
        title=about["title"], facts=about["facts"], verdict=overall(results).value, results=ordered, draw=draw, rows=evidence_rows)


def evidence_rows(evidence: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Evidence as lines of a table: nested names are joined by dots, lists of values by commas."""
    found: list[tuple[str, str]] = []

    def walk(name: str, value: Any) -> None:
        if isinstance(value, dict) and value:
            for key, item in value.items():
                walk(f"{name}.{key}", item)
        elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
            for number, item in enumerate(value, start=1):
                walk(f"{name}[{number}]", item)
        elif isinstance(value, list):
            found.append((name, ", ".join(_text(item) for item in value) or "none"))
        else:
            found.append((name, _text(value)))

    for key, item in evidence.items():
        walk(str(key), item)
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "not told" if value is None or value == {} else str(value)


@cache
def templates() -> Environment:
    return Environment(loader=PackageLoader("pilotage.web"), autoescape=select_autoescape(), undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True)
