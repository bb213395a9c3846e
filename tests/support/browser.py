"""Debian's Chromium without a window, as tests of pages use it; `scripts/chromium` installs it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, sync_playwright

from demo.browser import ARGUMENTS

CHROMIUM = Path("/usr/bin/chromium")
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser of one's own; raises AssertionError where there is no Chromium."""
    assert CHROMIUM.exists(), f"{CHROMIUM} is missing: run scripts/chromium"
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=ARGUMENTS)
        yield found
        found.close()


@contextmanager
def page(in_browser: Browser, *, may_complain: bool = False, **options: Any) -> Iterator[Page]:
    """A page in a fresh profile that takes the platform's certificate; what the browser complains of fails the test at the end."""
    given = {"viewport": DESKTOP, "locale": "en-GB", "timezone_id": "UTC", "ignore_https_errors": True, **options}
    context = in_browser.new_context(**given)
    complaints: list[str] = []
    found = context.new_page()
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    try:
        yield found
    finally:
        context.close()
    assert may_complain or complaints == []


def violations(of: Page) -> list[str]:
    """What axe-core finds wrong with the page's accessibility: rule, and the elements."""
    found = Axe().run(of).response["violations"]
    return [f"{item['id']}: {', '.join(str(node['target']) for node in item['nodes'])}" for item in found]
