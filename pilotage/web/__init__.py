"""Pages: what people read in a browser, made from values by templates. No page asks anything of its own."""

from pilotage.web.report import render_report

__all__ = ["render_report"]
