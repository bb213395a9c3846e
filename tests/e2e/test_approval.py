"""Approval by its public door: who may, who may not, and what time does."""

from __future__ import annotations

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import expect

from emulator.testing import wait_for
from tests.support import browser as chromium
from tests.support.journey import Journey

pytestmark = pytest.mark.xdist_group("e2e")
Lines = Callable[[str], Journey]


def test_nobody_approves_without_both_tokens_or_their_own_model(journey: Lines) -> None:
    line = journey("rejected")
    line.register("1")
    promotion = line.started("1")
    line.reach(promotion, "awaiting_approval")
    message = line.announcement(promotion)
    body = {"decision": "approve", "token": message["link_token"]}
    path = f"/api/approvals/{promotion}/decision"
    assert line.call("POST", path, token="", json=body).status_code == 401
    assert line.call("POST", path, token="not-a-token", json=body).status_code == 401
    assert line.call("POST", path, json={"decision": "approve"}).status_code == 403, "the link's token is missing"
    assert line.call("POST", path, json={**body, "token": message["link_token"][:-4] + "AAAA"}).status_code == 403
    assert line.decide(message, "rita").status_code == 403, "a reader does not approve"
    assert line.decide(message, "ada").status_code == 403, "the registrant does not approve, though she is a lead"
    assert line.call("POST", "/api/approvals/promote-none/decision", json=body).status_code == 404
    assert line.decide(message, "grace", "reject", reason="").status_code == 400, "a rejection needs its reason"

    _reject_on_the_page(line, promotion, message["link"])
    found = line.reach(promotion, "rejected")
    assert "too slow on Mondays" in found["message"]
    assert line.decide(message, "linus").status_code == 410, "it is over"
    # What is secret stays where it was made: not in the ledger's account of the promotion.
    assert message["link_token"] not in str(found)


def _reject_on_the_page(line: Journey, promotion: str, link: str) -> None:
    """The announced link in a browser: sign in as anybody would, read, decide by keyboard."""
    # Outside of a session the headers of App Service Authentication are nobody's: also with a real token in them.
    forged = {"X-MS-TOKEN-AAD-ACCESS-TOKEN": line.platform.user_token("grace"), "X-MS-CLIENT-PRINCIPAL-NAME": "grace"}
    path = link.removeprefix(line.platform.env["FUNCTIONS_URL"])
    answer = httpx.get(link, headers=forged, timeout=60, trust_env=False)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/.auth/login/aad?post_login_redirect_uri=")
    with chromium.browser() as browser, chromium.page(browser, viewport=chromium.PHONE, color_scheme="dark") as page:
        page.goto(link)
        assert chromium.violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    with chromium.browser() as browser, chromium.page(browser) as page:
        page.goto(link)
        expect(page).to_have_title("Sign in · Local platform")
        assert chromium.violations(page) == []
        page.keyboard.type("grace")
        page.keyboard.press("Tab")
        page.keyboard.type("grace")
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text(f"{line.line}:1 for mlw-prod/{line.line}")
        assert page.url.endswith(path)
        page.get_by_label("Reason (required to reject)").focus()
        page.keyboard.type("too slow on Mondays")
        page.get_by_role("button", name="Reject").focus()
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_have_text("Your rejection is recorded.")


def test_an_approval_expires_in_virtual_time(journey: Lines) -> None:
    line = journey("expired")
    line.register("1")
    promotion = line.started("1")
    line.reach(promotion, "awaiting_approval")
    line.announcement(promotion)
    card = wait_for("the team's card", lambda: next(
        (message for message in line.platform.mailbox("team") if line.line in message["title"]), None))
    assert f"Look at it and decide: {line.platform.env['FUNCTIONS_URL']}/api/ui/approvals/{promotion}?token=" in card["message"]
    channels = {item["name"]: item["state"] for item in line.call("GET", "/api/channels").json()["items"]}
    assert {"default": "ok", "webhook": "ok"}.items() <= channels.items()
    line.platform.advance("P3D")
    found = line.reach(promotion, "expired")
    assert "0 of 1 approvals" in found["message"]


@pytest.mark.parametrize(("method", "path", "role_needed"), [
    ("GET", "/api/promotions", "rita"), ("GET", "/api/promotions/none", "rita"), ("POST", "/api/promotions", "olive"),
    ("POST", "/api/promotions/none/retry", "olive"), ("POST", "/api/promotions/none/rollback", "olive"), ("POST", "/api/alerts", "olive"),
])
def test_every_route_wants_a_token_and_a_role(journey: Lines, method: str, path: str, role_needed: str) -> None:
    line = journey("straight")
    options = {"json": {}} if method == "POST" else {}
    assert line.call(method, path, token="", **options).status_code == 401
    if role_needed == "olive":
        assert line.call(method, path, token=line.platform.user_token("rita"), **options).status_code == 403
    allowed = line.call(method, path, token=line.platform.user_token(role_needed), **options)
    assert allowed.status_code not in (401, 403)

