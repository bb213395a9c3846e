"""The gates' report in Chromium: legible in light and dark, on a desk and on a phone, by keyboard; it loads and runs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from pilotage.domain.gates import GateOutcome, GateResult, Waiver
from pilotage.web import render_report
from tests.support import browser as chromium
from tests.unit.web.test_report import FIGURES

pytestmark = pytest.mark.xdist_group("report-page")
WAIVER = Waiver(id="w", approver="0b6d5f6e", reason="the cohort is being relabelled", expires="2026-12-31T00:00:00+00:00")
RESULTS = [
    GateResult(gate="smoke", outcome=GateOutcome.PASSED, message="20 sample requests answered", evidence={"statuses": {"200": 20}}),
    GateResult(gate="performance", outcome=GateOutcome.INCONCLUSIVE, message="p95 is near its limit", figures=FIGURES, severity="warn"),
    GateResult(gate="responsible_ai", outcome=GateOutcome.FAILED, message="mae of JFK is too high", figures=FIGURES[2:3], waived=WAIVER),
    GateResult(gate="champion", outcome=GateOutcome.FAILED, message="worse by 3.1", carried_from="promote-air-time-1",
               inputs={"h": "sha256:1"}),
]


@pytest.fixture(scope="module")  # no longer: playwright's loop runs in this thread as long as it lasts
def in_browser() -> Iterator[Browser]:
    with chromium.browser() as found:
        yield found


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    page: Path = tmp_path_factory.mktemp("report") / "report.html"
    page.write_text(render_report({"title": "Gates of air-time:2", "facts": {"promotion": "promote-air-time-2"}}, RESULTS))
    return page.as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [chromium.DESKTOP, chromium.PHONE], ids=["desk", "phone"])
def test_everybody_can_read_it(in_browser: Browser, address: str, scheme: Literal["light", "dark"], size: dict[str, int]) -> None:
    with chromium.page(in_browser, color_scheme=scheme, viewport=size) as page:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        _open_all(page)
        assert chromium.violations(page) == []
        assert asked == [address], "it loads nothing"
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "only plots scroll sideways"


def test_what_stops_the_promotion_comes_first_and_is_found_by_role(in_browser: Browser, address: str) -> None:
    with chromium.page(in_browser) as page:
        page.goto(address)
        assert page.get_by_role("heading", level=2).all_inner_texts() == ["champion", "responsible_ai", "performance", "smoke"]
        expect(page.get_by_role("region", name="responsible_ai")).to_contain_text("Waived by 0b6d5f6e until 2026-12-31")
        expect(page.get_by_role("region", name="champion")).to_contain_text("Carried over from promote-air-time-1")
        expect(page.get_by_role("img", name="Latency.")).to_be_visible()


def test_the_evidence_opens_by_keyboard(in_browser: Browser, address: str) -> None:
    with chromium.page(in_browser) as page:
        page.goto(address)
        evidence = page.get_by_role("region", name="smoke").get_by_role("group")
        evidence.locator("summary").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("cell", name="20", exact=True)).to_be_visible()


def _open_all(page: Page) -> None:
    for details in page.locator("details").all():
        details.locator("summary").click()
