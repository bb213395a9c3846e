"""The pages in Chromium: by role and keyboard, in light and dark, on a desk and on a phone; and what they refuse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, cast

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from pilotage import bootstrap
from pilotage.domain.access import Actor
from pilotage.domain.approval import Decision
from tests.support import browser as chromium
from tests.support.http_host import serving
from tests.support.memory import StaticIdentity
from tests.support.routes import DurableClient
from tests.support.scene import Scene, policy

pytestmark = pytest.mark.xdist_group("pages")
HOSTILE = "<script>document.title='owned'</script>"
APPROVAL = {"quorum": 2, "approvers": ["group:ml-leads"], "expires": "P3D", "break_glass": {"approvers": ["group:on-call"]}}
PEOPLE = {
    "grace": Actor(object_id="oid-grace", roles=["Pilotage.Approver", "Pilotage.Operator"], groups=["ml-leads"]),
    "linus": Actor(object_id="oid-linus", roles=["Pilotage.Approver"], groups=["ml-leads"]),
    "ada": Actor(object_id="oid-ada", roles=["Pilotage.Approver"], groups=["ml-leads"]),
    "rita": Actor(object_id="oid-rita", roles=["Pilotage.Reader"]),
}


@dataclass
class House:
    """A scene with one version live and one put before its voters, and the address of its pages."""

    scene: Scene
    address: str
    live: str
    asked: str

    def goes_on(self, until: Callable[[], bool] = lambda: False) -> None:
        """Let the orchestrations run; they run on the scene's own app, and leave none behind."""
        self.scene.hub.run(until)
        bootstrap.use(self.scene.app(identity=StaticIdentity(PEOPLE)))

    @property
    def link(self) -> str:
        message = next(m for m in reversed(self.scene.notifier.sent) if m.promotion == self.asked and m.link_token)
        return f"{self.address}/api/ui/approvals/{self.asked}?token={message.link_token}"


@pytest.fixture(scope="module")  # no longer: playwright's loop runs in this thread as long as it lasts
def in_browser() -> Iterator[Browser]:
    with chromium.browser() as found:
        yield found


@pytest.fixture
def house() -> Iterator[House]:
    scene = Scene(policy(**{"stages.1.approval": APPROVAL}))
    scene.register("1")
    live = scene.start("1")
    scene.hub.run(lambda: "fact approval.announced" in scene.steps(live))
    for voter in ("oid-grace", "oid-linus"):
        scene.vote(live, voter, reason=HOSTILE)
    scene.hub.run()
    assert scene.phase(live) == "succeeded"
    scene.register("2")
    asked = scene.start("2")
    scene.hub.run(lambda: "fact approval.announced" in scene.steps(asked))
    bootstrap.use(scene.app(identity=StaticIdentity(PEOPLE)))
    with serving(DurableClient(cast(Any, scene.hub))) as address:
        yield House(scene, address, live, asked)
    bootstrap.use(None)


def sign_in(page: Page, house: House, who: str) -> None:
    page.context.add_cookies([{"name": "who", "value": who, "url": house.address}])


@pytest.mark.parametrize(("scheme", "size"), [
    ("light", chromium.DESKTOP), ("dark", chromium.PHONE), pytest.param("dark", chromium.DESKTOP, marks=pytest.mark.exhaustive),
    pytest.param("light", chromium.PHONE, marks=pytest.mark.exhaustive)], ids=["desk-light", "phone-dark", "desk-dark", "phone-light"])
def test_everybody_can_use_them(
    in_browser: Browser, house: House, scheme: Literal["light", "dark"], size: dict[str, int], tmp_path: Any
) -> None:
    addresses = {"overview": f"{house.address}/api/ui", "promotion": f"{house.address}/api/ui/promotions/{house.live}",
                 "review": house.link, "refusal": f"{house.address}/api/ui/promotions/nope"}
    for name, address in addresses.items():
        # Chromium complains of every answer that is a refusal.
        with chromium.page(in_browser, may_complain=name == "refusal", color_scheme=scheme, viewport=size) as page:
            sign_in(page, house, "grace")
            page.goto(address)
            for summary in page.locator("summary").all():
                summary.click()
            page.screenshot(path=tmp_path / f"{name}.png", full_page=True)
            assert chromium.violations(page) == [], name
            assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name}: only tables scroll sideways"
            assert page.title() != "owned"


def test_a_plan_is_approved_by_keyboard_and_the_quorum_decides(in_browser: Browser, house: House) -> None:
    with chromium.page(in_browser) as page:
        sign_in(page, house, "grace")
        page.goto(house.link)
        expect(page.get_by_role("heading", level=1)).to_have_text("air-time:2 for mlw-prod/air-time")
        expect(page.get_by_role("row", name="version (changed)")).to_contain_text("(changed)")
        page.get_by_label("Reason (required to reject)").focus()
        page.keyboard.type("the gates say so")
        page.keyboard.press("Tab")
        page.keyboard.type("CHG0042")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        expect(page.get_by_role("status")).to_have_text("Your approval is recorded.")
        expect(page.get_by_role("region", name="Your decision")).to_contain_text("approve by oid-grace")
        expect(page.get_by_role("region", name="Your decision")).to_contain_text("CHG0042")
    with chromium.page(in_browser) as page:
        sign_in(page, house, "linus")
        page.goto(house.link)
        page.get_by_role("button", name="Approve this plan").click()
        expect(page.get_by_role("status")).to_have_text("Your approval is recorded.")
        house.goes_on()
        page.reload()
        expect(page.get_by_role("region", name="Your decision")).to_contain_text("is over: approved")
    assert house.scene.phase(house.asked) == "succeeded"
    (vote, _) = house.scene.last(house.asked, "approval")["votes"]
    assert (vote["voter"], vote["reason"], vote["reference"]) == ("oid-grace", "the gates say so", "CHG0042")


def test_a_vote_is_withdrawn_and_becomes_a_rejection_with_its_reason(in_browser: Browser, house: House) -> None:
    with chromium.page(in_browser, may_complain=True) as page:
        sign_in(page, house, "grace")
        page.goto(house.link)
        page.get_by_role("button", name="Approve this plan").click()
        page.get_by_role("button", name="Withdraw my vote").click()
        expect(page.get_by_role("status")).to_have_text("Your vote is withdrawn.")
        page.get_by_role("button", name="Reject").click()
        expect(page.get_by_role("main")).to_contain_text("reason is missing: say why you reject")
        page.go_back()
        page.get_by_label("Reason (required to reject)").fill("not in summer")
        page.get_by_role("button", name="Reject").click()
        expect(page.get_by_role("status")).to_have_text("Your rejection is recorded.")
    house.goes_on()
    assert house.scene.phase(house.asked) == "rejected"


def test_who_may_not_decide_reads_why_and_may_comment(in_browser: Browser, house: House) -> None:
    for who, why in (("ada", "the voter is this model's registrant"), ("rita", "a decision takes the app role Pilotage.Approver")):
        with chromium.page(in_browser) as page:
            sign_in(page, house, who)
            page.goto(house.link)
            expect(page.get_by_role("region", name="Your decision")).to_contain_text(why)
            expect(page.get_by_role("button", name="Approve this plan")).to_have_count(0)
            page.get_by_role("textbox", name="Comment").fill(f"{who}: {HOSTILE}")
            page.get_by_role("button", name="Comment").click()
            expect(page.get_by_role("region", name="Comments")).to_contain_text(HOSTILE)


def test_production_is_taken_back_from_the_promotions_page(in_browser: Browser, house: House) -> None:
    with chromium.page(in_browser) as page:
        sign_in(page, house, "rita")
        page.goto(f"{house.address}/api/ui/promotions/{house.live}")
        expect(page.get_by_text("Roll back")).to_have_count(0)
    with chromium.page(in_browser) as page:
        sign_in(page, house, "grace")
        page.goto(f"{house.address}/api/ui")
        page.get_by_role("link", name="air-time:1").click()
        page.get_by_text("Roll back air-time:1").click()
        page.get_by_label("Why").fill("customers complain")
        page.get_by_role("button", name="Roll back now").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("air-time:1")
        house.goes_on(lambda: house.scene.phase(house.live) == "rolled_back")
        page.reload()
        expect(page.get_by_role("region", name=re.compile("^Rollback"))).to_contain_text("asked for by oid-grace: customers complain")
    assert house.scene.traffic() == {}


def test_the_overview_brings_itself_up_to_date_and_filters(in_browser: Browser, house: House) -> None:
    with chromium.page(in_browser) as page:
        sign_in(page, house, "rita")
        page.goto(f"{house.address}/api/ui")
        expect(page.get_by_role("status")).to_contain_text("1 awaiting approval")
        house.scene.vote(house.asked, "oid-grace", Decision.REJECT, reason="no")
        house.goes_on()
        page.evaluate("refresh()")  # what the script does every few seconds
        expect(page.get_by_role("status")).to_contain_text("1 rejected")
        page.get_by_label("Phase").select_option("succeeded")
        page.get_by_role("button", name="Show").click()
        expect(page.get_by_role("link", name="air-time:2")).to_have_count(0)
        expect(page.get_by_role("link", name="air-time:1")).to_be_visible()


def test_the_overview_is_read_page_by_page_and_its_filters_stay(in_browser: Browser, house: House) -> None:
    row = house.scene.ledger.promotions.get(house.live)
    assert row is not None
    for number in range(60):
        house.scene.ledger.promotions.put(row.model_copy(update={
            "id": f"later-{number}", "version": f"9{number:02d}", "created_at": f"2026-02-01T09:{number:02d}:00.000+00:00"}))
    with chromium.page(in_browser) as page:
        sign_in(page, house, "rita")
        page.goto(f"{house.address}/api/ui?phase=succeeded")
        expect(page.get_by_role("status")).to_have_text("50 promotions on this page; 50 succeeded")
        expect(page.get_by_role("link", name="Newest")).to_have_count(0)
        page.get_by_role("link", name="Older").click()
        expect(page.get_by_role("link", name="air-time:900")).to_be_visible()
        expect(page.get_by_role("link", name="air-time:1", exact=True)).to_be_visible()
        expect(page.get_by_role("link", name="air-time:2", exact=True)).to_have_count(0)  # another phase
        expect(page.get_by_role("link", name="Older")).to_have_count(0)
        assert chromium.violations(page) == []
        page.get_by_role("link", name="Newest").click()
        expect(page.get_by_role("link", name="air-time:959")).to_be_visible()


def test_a_promotions_page_tells_where_its_time_went(in_browser: Browser, house: House) -> None:
    with chromium.page(in_browser) as page:
        sign_in(page, house, "rita")
        page.goto(f"{house.address}/api/ui/promotions/{house.live}")
        time = page.get_by_role("region", name="Time")
        told = re.compile("staging .*, then .*rolling out 30 min.*, then succeeded$")
        expect(time.get_by_role("img")).to_have_attribute("aria-label", told)
        expect(time).to_contain_text(re.compile(r"in all\s*40 min.*baking\s*40 min", re.DOTALL))
        expect(time.get_by_role("row", name=re.compile("^awaiting approval"))).to_contain_text("waiting for people")


# --- what forms refuse ----------------------------------------------------------------------------------

def _ticket(house: House, who: str) -> str:
    shown = httpx.get(house.link, cookies={"who": who}).text
    found = re.search(r'name="form" value="([^"]+)"', shown)
    assert found
    return found[1]


@pytest.mark.parametrize(("who", "changes", "headers", "status"), [
    ("linus", {}, {}, 403),                                             # shown to somebody else
    ("grace", {"form": "ticket-0"}, {}, 403),                           # forged
    ("grace", {}, {"Sec-Fetch-Site": "cross-site"}, 403),               # sent by another site
    ("grace", {}, {"Origin": "https://evil.example"}, 403),
    ("grace", {"decision": "comment", "text": "x"}, {}, 403),           # shown for something else
    ("grace", {"decision": "maybe"}, {}, 400),
    (None, {}, {}, 401),
])
def test_a_form_that_is_not_ours_is_refused(
    house: House, who: str | None, changes: dict[str, str], headers: dict[str, str], status: int
) -> None:
    form = {"form": _ticket(house, "grace"), "decision": "approve"} | changes
    answer = httpx.post(house.link, data=form, headers=headers, cookies={"who": who} if who else {})
    assert answer.status_code == status, answer.text
    assert answer.headers["Content-Type"].startswith("text/html")
    asked = house.scene.ledger.approvals.current(house.asked)
    assert asked is not None
    assert house.scene.ledger.approvals.votes(asked) == []


def test_a_form_is_good_once_and_a_session_opens_no_route_of_the_api(house: House) -> None:
    form = {"form": _ticket(house, "grace"), "decision": "approve"}
    cookies = {"who": "grace"}
    assert httpx.post(house.link, data=form, cookies=cookies).status_code == 303
    assert httpx.post(house.link, data=form, cookies=cookies).status_code == 303, "the same again is one decision"
    replay = httpx.post(house.link, data=form | {"decision": "withdraw"}, cookies=cookies)
    assert (replay.status_code, "sent already" in replay.text) == (409, True)
    assert [(kept.status, kept.attempted) for kept in house.scene.ledger.voices.refusals(house.asked)] == [(409, "withdraw")]
    api = httpx.post(f"{house.address}/api/promotions/{house.live}/rollback", json={"reason": "x"}, cookies=cookies)
    assert (api.status_code, api.json()["error"]["code"]) == (403, "forbidden")
    house.scene.clock.advance(timedelta(hours=2))
    late = httpx.post(house.link, data={"form": form["form"], "decision": "reject", "reason": "x"}, cookies=cookies)
    assert late.status_code in (409, 410)
