"""The evidence card: what it says, in every form, and that a stranger's text stays text."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.notices import DECISIONS, WHY
from pilotage.notify.card import LONGEST, VALUE, card, plain
from pilotage.ports import Notification

LINK = "https://p.example/api/ui/approvals/promote-1?token=a.b-c_d"
NOTE = Notification(
    kind="awaiting_approval", title="air-time:2 awaits approval", why=WHY["awaiting_approval"], text="Gates passed: smoke, metric:mae",
    promotion="promote-1", link=LINK, link_token="a.b-c_d", facts={"serves now": "air-time:1 100 %", "plan": "sha256:00"},
    gates={"in all": "2 passed", "metric:mae": "passed: mae 7.9 is within 10"}, outlook={"cost": "2.40 during the rollout"})


def test_the_forms_say_the_same() -> None:
    found = card(NOTE)
    assert found.plain() == f"""{WHY['awaiting_approval']}

Gates passed: smoke, metric:mae

Look at it and decide: {LINK}

What:
- serves now: air-time:1 100 %
- plan: sha256:00

Gates:
- in all: 2 passed
- metric:mae: passed: mae 7.9 is within 10

Time and cost:
- cost: 2.40 during the rollout"""
    assert f"[Look at it and decide]({LINK})\n\n**What**\n\n- **serves now:** air-time:1 100 %\n- **plan:** sha256:00" in found.markdown()
    assert f'<p><a href="{LINK}">Look at it and decide</a></p>\n<h3>What</h3><ul><li><b>serves now:</b> air-time:1' in found.html()


def test_what_is_not_told_leaves_no_empty_part() -> None:
    bare = card(Notification(kind="decided", title="t", text="", promotion="p"))
    assert (bare.plain(), bare.markdown(), bare.html()) == ("", "", "")


def test_every_kind_says_why_now_and_those_that_ask_are_among_them() -> None:
    assert set(DECISIONS) < set(WHY)
    assert all(WHY.values())


HOSTILE = {
    "markdown": "[click](https://evil.example) **bold** `code` # head | cell",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)> &lt;b&gt;",
    "calls": "@everyone @here <!channel> <@U123> @channel",
    "hidden": "right\u202eleft\u200b\x1b[31m\nnext\u2028line",
    "address": "ask eve@evil.example",
    "link": "https://evil.example/a www.evil.example HTTP://EVIL.example",
}


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_strangers_text_makes_no_markup_no_link_and_calls_nobody(text: str) -> None:
    found = card(NOTE.model_copy(update={"title": text, "text": text, "facts": {text: text}, "gates": {text: text}}))
    for form in (found.title, found.plain(), found.markdown(), found.html()):
        rest = form.replace(LINK, "")
        assert not re.search(r"https?://|www\.|@(everyone|here|channel)|[\u202e\u2028\x1b]|eve@", rest, re.IGNORECASE)
    tags = Tags()
    tags.feed(found.html())
    assert {tag for tag, _ in tags.found} <= {"p", "a", "h3", "ul", "li", "b"}
    assert [attrs for tag, attrs in tags.found if attrs] == [[("href", LINK)]]
    assert len(re.findall(r"(?<!\\)\]\(", found.markdown())) == 1, "one link: ours"
    assert not re.search(r"(?<!\\)`", found.markdown())


@given(st.text(max_size=2 * VALUE))
def test_plain_text_is_one_short_line_and_stays_as_it_is_when_made_plain_again(text: str) -> None:
    shown = plain(text, LONGEST)
    assert len(shown) <= LONGEST
    assert len(shown.splitlines()) <= 1
    assert not set("<>\x00\ufeff") & set(shown)
