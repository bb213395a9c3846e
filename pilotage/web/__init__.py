"""Pages for people. Jinja2 is loaded by what renders, not by a start."""

from __future__ import annotations

from pilotage.web.bars import bar
from pilotage.web.pages import live_script, render_message, render_overview, render_promotion, render_review, stations
from pilotage.web.report import render_report

__all__ = ["bar", "live_script", "render_message", "render_overview", "render_promotion", "render_report", "render_review", "stations"]
