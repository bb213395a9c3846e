"""The platform's pages in Chromium: found by role, used by keyboard, readable by everyone, on a desk and on a phone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from emulator.testing import LivePlatform, wait_for
from tests.support import browser as chromium
from tests.support import light_model
from tests.support.azure_ml_sdk import Sdk
from tests.support.platform import ROOT

pytestmark = pytest.mark.xdist_group("emulator-page")
PAGES = ("/", "events", "orchestrations", "orchestrations/release-1", "endpoints", "jobs", "requests", "mailbox", "time")
RICHEST = ("events", "orchestrations/release-1", "time")
"""Between them these have every kind of element that there is."""
NAMES = ("Overview", "Events", "Orchestrations", "Endpoints", "Jobs", "Requests", "Mailbox", "Time and faults")
HOSTILE = "<img src=x onerror=alert(1)>"

CARD: dict[str, Any] = {
    "kind": "awaiting_approval", "title": "air-time:2 awaits approval for mlw-prod/air-time", "why": "Your decision is asked for.",
    "text": "See https://localhost/docs. Gates passed: smoke", "link": "https://localhost/review?token=t", "link_token": "t",
    "facts": {"serves now": "air-time:1 100 %", "signature": HOSTILE}, "gates": {"in all": "2 passed", "metric:mae": "passed: mae 7.9"},
    "outlook": {"cost": "2.40 during the rollout"}, "nothing": {}, "list": [1]}


def event(number: int, kind: str) -> dict[str, Any]:
    return {"id": f"page-{number}", "subject": f"orders/{number}/{HOSTILE}", "eventType": kind, "eventTime": "2026-01-01T00:00:00Z",
            "data": {"number": number, "text": HOSTILE}, "dataVersion": "1"}


class Shown:
    """A platform with a bit of everything, and the means to change it."""

    def __init__(self, platform: LivePlatform) -> None:
        self.platform = platform
        self.key = json.loads((platform.state / "functions" / "keys.json").read_text())["durabletask_extension"]

    def durable(self, method: str, path: str, **options: Any) -> Any:
        url = f"{self.platform.env['FUNCTIONS_URL']}/runtime/webhooks/durabletask/{path}"
        answer = httpx.request(method, url, headers={"x-functions-key": self.key}, timeout=30, trust_env=False, **options)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def status(self, instance: str) -> dict[str, Any]:
        return dict(self.durable("GET", f"instances/{instance}"))

    def wait_until(self, instance: str, field: str, value: Any) -> None:
        wait_for(f"{instance} with {field} {value}", lambda: True if self.status(instance)[field] == value else None)

    def url(self, page: str) -> str:
        return self.platform.env["EMULATOR_URL"] + ("/" if page == "/" else f"/_emulator/ui/{page}")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("page")
    config = folder / "platform.yaml"
    text = (ROOT / "platform.yaml").read_text().partition("subscriptions:\n")[0]
    config.write_text(text + "subscriptions:\n  - {name: orders, topics: [drift-alerts], function: heard}\n"
                      f"app:\n  path: {ROOT / 'tests' / 'support' / 'functions_apps' / 'release'}\n")
    platform = LivePlatform(folder / "state", config=config).start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in platform.variables("ada").items():
            patch.setenv(name, value)
        fill(Shown(platform), folder)
        yield Shown(platform)
    assert platform.stop() == 0


def fill(shown: Shown, folder: Path) -> None:
    platform = shown.platform
    for name in ("release", "doomed"):
        shown.durable("POST", f"orchestrators/{name}/{name}-1", json={"asked": HOSTILE})
    shown.wait_until("release-1", "customStatus", "baking")
    platform.advance("P30D")
    shown.wait_until("release-1", "customStatus", "waiting for a word")
    platform.control("POST", "/eventgrid/publish", json={"topic": "drift-alerts", "events": [event(1, "Good"), event(2, "Bad")]})
    platform.control("POST", "/mailbox/team", json={
        "title": "Approval wanted", "text": f"Model iris:1 waits.\n{HOSTILE}", "decision_url": "https://localhost/decide",
        "script": "javascript:alert(1)"})
    platform.control("POST", "/mailbox/machines", json=CARD)
    platform.fault(path="/never/asked", action="status", status=429, count=3)
    from azure.ai.ml.entities import ManagedOnlineDeployment, ManagedOnlineEndpoint, Model

    prod = Sdk(platform).prod
    prod.online_endpoints.begin_create_or_update(ManagedOnlineEndpoint(name="page-flights", auth_mode="key")).result()
    model = prod.models.create_or_update(Model(name="page-flights", version="1", type="mlflow_model",
                                               path=str(light_model.write(folder / "model"))))
    begun = [prod.online_deployments.begin_create_or_update(ManagedOnlineDeployment(
        name=name, endpoint_name="page-flights", model=model.id, instance_type="Standard_DS3_v2", instance_count=1))
        for name in ("blue", "green")]
    for deployment in begun:
        deployment.result()
    Sdk(platform).route("page-flights", blue=70, green=30)


@pytest.fixture(scope="module")  # no longer: playwright's loop runs in this thread as long as it lasts, and pytest-asyncio needs its own
def in_browser() -> Iterator[Browser]:
    with chromium.browser() as found:
        yield found


@pytest.fixture
def page(in_browser: Browser, shown: Shown) -> Iterator[Page]:
    with chromium.page(in_browser) as found:
        yield found


def opened(page: Page, url: str) -> None:
    """Go there and open the first details, as a reader would."""
    page.goto(url)
    for details in page.locator("main details").all()[:3]:
        details.locator("summary").first.click()


@pytest.mark.parametrize(("scheme", "pages"), [
    ("light", RICHEST), pytest.param("dark", RICHEST, marks=pytest.mark.exhaustive),
    pytest.param("light", PAGES, marks=pytest.mark.exhaustive), pytest.param("dark", PAGES, marks=pytest.mark.exhaustive)])
def test_every_page_is_accessible(shown: Shown, in_browser: Browser, scheme: Any, pages: tuple[str, ...]) -> None:
    with chromium.page(in_browser, color_scheme=scheme) as page:
        for name in pages:
            opened(page, shown.url(name))
            assert chromium.violations(page) == [], name


def test_every_page_fits_a_phone(shown: Shown, in_browser: Browser) -> None:
    with chromium.page(in_browser, viewport=chromium.PHONE) as page:
        for name in PAGES:
            opened(page, shown.url(name))
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} is wider than the screen"
            if name == "events":
                assert chromium.violations(page) == [], name


def test_all_pages_are_reached_from_the_root(page: Page, shown: Shown) -> None:
    page.goto(shown.url("/"))
    for name in NAMES:
        page.get_by_role("navigation").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
        expect(page.get_by_role("navigation").locator("[aria-current=page]")).to_have_text(name)


def test_by_keyboard_alone(page: Page, shown: Shown) -> None:
    page.goto(shown.url("/"))
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    page.goto(shown.url("events"))
    summary = page.locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Delivery")).to_be_visible()


class TestWhatTheyShow:
    def test_deliveries_with_their_attempts_and_events(self, page: Page, shown: Shown) -> None:
        page.goto(shown.url("events"))
        row = page.get_by_role("row", name="orders")
        expect(row).to_contain_text("heard")
        page.get_by_label("State").select_option("delivered")
        page.get_by_role("button", name="Show").click()
        (card,) = page.locator("#delivery-list details").all()
        card.locator("summary").click()
        expect(card.get_by_role("listitem")).to_contain_text("202 Success")
        expect(card.locator("pre")).to_contain_text(HOSTILE)
        assert page.locator("main img").count() == 0

    def test_an_orchestration_as_a_timeline(self, page: Page, shown: Shown) -> None:
        page.goto(shown.url("orchestrations"))
        page.get_by_role("link", name="release-1").click()
        expect(page.get_by_role("heading", level=1, name="release")).to_be_visible()
        steps = page.locator(".timeline > li")
        expect(steps.first).to_contain_text("release started")
        expect(steps.filter(has_text="activity")).to_have_count(2)
        expect(steps.filter(has_text="30 d")).to_have_count(1)
        expect(steps.last).to_contain_text("still open")
        page.goto(shown.url("orchestrations?status=Failed"))
        page.get_by_role("link", name="doomed-1").click()
        expect(page.locator(".timeline")).to_contain_text("it was bound to happen")

    def test_endpoints_with_their_traffic_and_no_keys(self, page: Page, shown: Shown) -> None:
        page.goto(shown.url("endpoints"))
        expect(page.get_by_role("img", name="Traffic: blue 70 percent, green 30 percent")).to_be_visible()
        expect(page.get_by_role("row", name="green")).to_contain_text("30 %")
        keys = Sdk(shown.platform).prod.online_endpoints.get_keys("page-flights")
        assert keys.primary_key not in page.content()

    def test_requests_by_path(self, page: Page, shown: Shown) -> None:
        page.goto(shown.url("requests"))
        page.get_by_role("searchbox").fill("onlineEndpoints/page-flights$")
        page.get_by_label("Method").select_option("PUT")
        page.get_by_role("button", name="Show").click()
        expect(page.locator("#requests summary").first).to_contain_text("PUT")
        expect(page.locator("#requests summary code").first).to_contain_text("page-flights")
        page.get_by_role("searchbox").fill("(")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("regular expression")

    def test_messages_with_their_links(self, page: Page, shown: Shown) -> None:
        page.goto(shown.url("mailbox"))
        message = page.get_by_role("article", name="Approval wanted")
        expect(message).to_contain_text("Model iris:1 waits.")
        (link,) = message.get_by_role("link").all()
        assert link.get_attribute("href") == "https://localhost/decide"

    def test_a_card_by_its_channel(self, page: Page, shown: Shown) -> None:
        page.goto(shown.url("mailbox"))
        expect(page.get_by_role("article").first).to_have_accessible_name("air-time:2 awaits approval for mlw-prod/air-time machines")
        page.get_by_label("Channel").select_option("machines")
        page.get_by_role("button", name="Show").click()
        (card,) = page.get_by_role("article").all()
        assert page.url.endswith("?channel=machines")
        assert [heading.inner_text() for heading in card.get_by_role("heading", level=3).all()] == ["Facts", "Gates", "Outlook"]
        facts = dict(zip(card.get_by_role("term").all_inner_texts(), card.get_by_role("definition").all_inner_texts(), strict=True))
        assert facts == {**CARD["facts"], **CARD["gates"], **CARD["outlook"]}
        hrefs = [link.get_attribute("href") for link in card.get_by_role("link").all()]
        assert hrefs == ["https://localhost/docs", "https://localhost/review?token=t"]
        assert page.locator("main img").count() == 0
        assert chromium.violations(page) == []


class TestWhatTheyDo:
    def test_they_follow_what_happens(self, page: Page, shown: Shown) -> None:
        """Without being loaded again, and without closing what the reader has opened."""
        page.goto(shown.url("mailbox"))
        page.get_by_text("All of message").first.click()
        page.evaluate("window.kept = true; document.activeElement.blur()")
        shown.platform.control("POST", "/mailbox/team", json={"title": "News"})
        expect(page.get_by_role("heading", name="News")).to_be_visible()
        assert page.evaluate("window.kept")
        expect(page.locator("details[open]")).to_have_count(1)

    def test_a_hidden_page_asks_nothing(self, page: Page, shown: Shown) -> None:
        page.clock.install()
        page.goto(shown.url("time"))
        hide = """hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true })
                              document.dispatchEvent(new Event('visibilitychange')) }"""
        page.evaluate(hide, True)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.clock.run_for(60_000)
        assert asked == []
        with page.expect_request(shown.url("time")):
            page.evaluate(hide, False)

    def test_time_is_advanced(self, in_browser: Browser, shown: Shown) -> None:
        with chromium.page(in_browser, may_complain=True) as page:  # of the 400 at the end
            self.advance(page, shown)

    def advance(self, page: Page, shown: Shown) -> None:
        before = shown.platform.control("GET", "/clock")["offset_seconds"]
        page.goto(shown.url("time"))
        page.get_by_role("button", name="Advance 1 hour").click()
        expect(page.locator("#now")).to_contain_text(f"{before + 3600:.0f} s ahead")
        page.get_by_label("Another duration").fill("P1DT1M")
        page.keyboard.press("Enter")
        expect(page.locator("#now")).to_contain_text(f"{before + 3600 + 86460:.0f} s ahead")
        page.get_by_label("Another duration").fill("soon")
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("is not an ISO 8601 duration")

    def test_faults_are_removed(self, page: Page, shown: Shown) -> None:
        number = shown.platform.fault(path="/by/the/page", action="drop")
        page.goto(shown.url("time"))
        page.get_by_role("button", name=f"Remove fault {number}", exact=True).click()
        expect(page.get_by_role("button", name=f"Remove fault {number}", exact=True)).to_have_count(0)
        assert number not in [item["id"] for item in shown.platform.control("GET", "/faults")["items"]]


def test_another_site_can_neither_act_nor_look(in_browser: Browser, shown: Shown) -> None:
    """A form on a stranger's page, sent by a script: the browser lets it out, the platform does not let it in."""
    before = shown.platform.control("GET", "/clock")["offset_seconds"]
    with chromium.page(in_browser, may_complain=True) as page:  # of the 403
        page.route("https://stranger.example/", lambda route: route.fulfill(content_type="text/html", body=f"""
            <form method=post action="{shown.url('actions/advance')}"><input name=advance value=P1D></form>
            <script>document.forms[0].submit()</script>"""))
        with page.expect_navigation(url=lambda url: "actions/advance" in url) as seen:
            page.goto("https://stranger.example/", wait_until="commit")
        assert seen.value is not None
        assert seen.value.status == 403
    assert shown.platform.control("GET", "/clock")["offset_seconds"] == before
    rebound = httpx.get(shown.url("/"), headers={"host": "stranger.example"}, verify=shown.platform.env["SSL_CERT_FILE"], trust_env=False)
    assert rebound.status_code == 403
