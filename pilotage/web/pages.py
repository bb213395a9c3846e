"""Pages for people: each is rendered whole on the server from plain values, and works without a script."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pilotage.domain.phase import PromotionPhase
from pilotage.web.plots import draw
from pilotage.web.report import templates

_STATIONS = (
    ("start", ("accepted", "resolving", "registering")), ("staging", ("staging", "planning")),
    ("approval", ("awaiting_approval", "waiting_window")), ("rollout", ("queued", "rolling_out")), ("live", ("succeeded",)))
_STOPS = {"failed": 1, "inconclusive": 1, "rejected": 2, "expired": 2, "superseded": 2, "held": 3, "rolled_back": 3, "skipped": 0}


def stations(phase: str, plan_hash: str) -> list[dict[str, str]]:
    """A promotion's way as five stations: done, now, stopped or ahead. `plan_hash` tells how far one came that errored."""
    at = next((number for number, (_, phases) in enumerate(_STATIONS) if phase in phases), None)
    if at is None:
        at = _STOPS.get(phase, 3 if plan_hash else 1)
    here = "done" if phase == PromotionPhase.SUCCEEDED else "stopped" if PromotionPhase(phase).terminal else "now"
    return [{"name": name, "state": "done" if number < at else here if number == at else "ahead"}
            for number, (name, _) in enumerate(_STATIONS)]


def render_overview(view: Mapping[str, Any]) -> str:
    """`view`: rows (with stations), counts, filters, older and newest (addresses), phases, due, failing."""
    return templates().get_template("overview.html").render(title="Promotions", **view)


def render_promotion(view: Mapping[str, Any]) -> str:
    """`view`: title, about, facts, bar, times, phases, gates, plan, plan_hash, approval, steps, rollbacks, evidence,
    rollback_form, live."""
    return templates().get_template("promotion.html").render(**view)


def render_review(view: Mapping[str, Any]) -> str:
    """`view`: everything that review.html names."""
    return templates().get_template("review.html").render(draw=draw, **view)


def render_message(status: int, message: str, back: str = "") -> str:
    """A page that says one thing, such as why something was refused."""
    titles = {401: "Who are you?", 403: "This is not for you", 404: "There is no such page", 409: "Not as things stand", 410: "Too late",
              200: "Done", 202: "Done"}
    title = titles.get(status, "This did not work" if status >= 400 else "Done")
    return templates().get_template("message.html").render(title=title, message=message, back=back)


@cache
def live_script() -> str:
    return (Path(__file__).parent / "live.js").read_text(encoding="utf-8")
