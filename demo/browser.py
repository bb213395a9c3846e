"""A person with a browser: opens the announced link, signs in, reads the plan, and decides by its form."""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from demo.errors import NotObserved

if TYPE_CHECKING:
    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync"]
"""For a browser without a window, in a container or not; it visits this machine only."""
_BUTTONS = {"approve": "Approve this plan", "reject": "Reject"}


class WouldNotStart(Exception):
    """What is installed under a browser's name is none that can be driven, such as a stub of a distribution."""


def installed() -> Path | None:
    """A Chromium on this machine that can be driven, or None."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    return Path(found) if found and find_spec("playwright") else None


def decide(chromium: Path, link: str, username: str, password: str, decision: str, reason: str) -> tuple[str, str]:
    """The heading of the page that was decided on, and what it said then.

    Raises WouldNotStart, and NotObserved with what was on the page instead.
    """
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=str(chromium), headless=True, args=ARGUMENTS)
        except Error as error:
            raise WouldNotStart(str(error).splitlines()[0]) from error
        try:
            # The platform signs its certificate itself.
            page = browser.new_context(ignore_https_errors=True).new_page()
            try:
                page.goto(link)
                page.get_by_label("Username").fill(username)
                page.get_by_label("Password").fill(password)
                page.get_by_role("button", name="Sign in", exact=True).click()
                page.get_by_label("Reason (required to reject)").fill(reason)
                title = page.get_by_role("heading", level=1).inner_text()
                page.get_by_role("button", name=_BUTTONS[decision], exact=True).click()
                return title, page.get_by_role("status").inner_text()
            except Error as error:
                raise NotObserved(f"the page could not be used ({str(error).splitlines()[0]}); it shows: {_shown(page)}") from error
        finally:
            browser.close()


def _shown(page: Page) -> str:
    from playwright.sync_api import Error

    try:
        return page.locator("body").inner_text(timeout=1000)[:500]
    except Error:
        return "nothing"
