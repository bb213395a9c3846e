"""Channels: told once each, failures visible, and no URL or token where it does not belong."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from activities.telling import notify
from emulator.certificates import ensure
from pilotage import bootstrap
from pilotage.domain.notices import WHY
from pilotage.domain.phase import PromotionPhase
from pilotage.errors import InvalidInput, PilotageError, Throttled, Unavailable
from pilotage.notify import Channels
from pilotage.notify.channels import read_channels
from pilotage.ports import Notification
from tests.support.desk import Desk
from tests.support.receivers import Letters, Posts, listening

NOTE = Notification(kind="awaiting_approval", title="air-time:1\nawaits " + "x" * 200, why=WHY["awaiting_approval"],
                    text="Gates passed: smoke", promotion="promote-1", gates={"in all": "1 passed", "smoke": "passed: **bold** air_time"},
                    link="https://p/api/ui/approvals/promote-1?token=secret-token", link_token="secret-token", facts={"plan": "sha256:00"})


@pytest.fixture
def posts() -> Iterator[Posts]:
    with listening(Posts()) as found:
        yield found


def channels(**urls: str | list[str]) -> Channels:
    return Channels(None, SecretStr(json.dumps(urls)))


def test_a_json_channel_gets_plain_text(posts: Posts) -> None:
    channels(team=posts.url).send(NOTE, "team")
    [body] = posts.bodies
    assert body["title"].startswith("air-time:1 awaits xxx")
    assert len(body["title"]) == 120
    for said in ("your decision is asked for", "Gates passed: smoke", "plan: sha256:00", NOTE.link, "- smoke: passed: **bold** air_time"):
        assert said in body["message"]


def test_a_webhook_of_slacks_kind_gets_markdown_in_which_names_stay_names(posts: Posts) -> None:
    channels(team=f"mmost://127.0.0.1:{posts.port}/t0ken123?format=markdown").send(NOTE, "team")
    [body] = posts.bodies
    assert posts.paths == ["/hooks/t0ken123"]
    assert f"[Look at it and decide]({NOTE.link})" in body["text"]
    assert r"- **smoke:** passed: \*\*bold\*\* air\_time" in body["text"]


def test_teams_gets_an_adaptive_card_with_markdown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificates = ensure(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates.authority))
    with listening(Posts((str(certificates.chain), str(certificates.key)))) as posts:
        channels(team=f"workflows://127.0.0.1:{posts.port}/w0rkfl0w/s1gnature").send(NOTE, "team")
    [body] = posts.bodies
    [attached] = body["attachments"]
    assert attached["contentType"] == "application/vnd.microsoft.card.adaptive"
    shown = json.dumps(attached["content"]["body"])
    assert f"[Look at it and decide]({NOTE.link})" in shown
    assert "air-time:1 awaits" in shown
    assert "**Gates**" in shown


def test_a_letter_is_html() -> None:
    with listening(Letters()) as post:
        channels(team=f"mailto://127.0.0.1:{post.port}/?from=pilotage@example.com&to=team@example.com").send(NOTE, "team")
    [letter] = post.letters
    assert (letter["To"], str(letter["Subject"])[:17]) == ("team@example.com", "air-time:1 awaits")
    body = letter.get_body(preferencelist=("html",))
    assert body is not None
    assert f'<a href="{NOTE.link}">Look at it and decide</a>' in body.get_content()
    assert "<li><b>smoke:</b> passed: **bold** air_time</li>" in body.get_content()


@pytest.mark.parametrize(("status", "error", "says"), [
    (500, Unavailable, "the channel team: it answered 500"), (404, Unavailable, "the channel team: it answered 404"),
    (429, Throttled, "the channel team: it asks for fewer messages"), (307, Unavailable, "the channel team: it answered 307"),
], ids=["500", "404", "429", "redirect"])
def test_a_channel_that_refuses_says_how_without_a_word_of_its_url(
    posts: Posts, caplog: pytest.LogCaptureFixture, status: int, error: type[PilotageError], says: str
) -> None:
    posts.status = status
    with caplog.at_level(logging.DEBUG), pytest.raises(error) as caught:
        channels(team=f"{posts.url}?redirect=yes").send(NOTE, "team")
    assert str(caught.value) == says
    assert posts.paths == ["/s3cret-path"], "a redirect would carry the link to a stranger"
    assert not any("s3cret" in record.getMessage() or "secret-token" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(("urls", "channel", "says"), [
    ({"team": "json://x"}, "other", "there is no channel other"), ({"team": "nosuchkind://x"}, "team", "of no kind that is known"),
])
def test_a_channel_that_is_none_says_what_to_do(urls: dict[str, Any], channel: str, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        channels(**urls).send(NOTE, channel)


@given(st.text(max_size=40).filter(lambda text: text.strip() != "{}"))
def test_what_is_no_set_of_channels_is_told_without_being_shown(text: str) -> None:
    for content in (text, json.dumps(text), json.dumps({"team": text})):
        if "://" not in text:
            with pytest.raises(ValueError) as caught:
                read_channels(SecretStr(content))
            assert str(caught.value) == 'it must be JSON such as {"ml-team": "workflows://..."}, names (without /) to URLs or lists of URLs'
            assert caught.value.__cause__ is None


def test_who_is_told() -> None:
    both = Channels(SecretStr("https://hooks.example"), SecretStr('{"default": "json://a", "team": ["json://b", "json://c"]}'))
    assert both.names([]) == ["webhook", "default"]
    assert both.names(["team", "team", "gone"]) == ["webhook", "team/1", "team/2", "gone"]
    assert both.known() == {"webhook": ["webhook"], "default": ["default"], "team": ["team/1", "team/2"]}
    with pytest.raises(ValueError, match="names \\(without /\\)"):
        read_channels(SecretStr('{"team/1": "json://a"}'))
    assert Channels(None, None).names([]) == []


def test_each_channel_is_told_once_and_one_that_fails_holds_no_other_up(posts: Posts) -> None:
    desk = Desk()
    desk.promotion(PromotionPhase.AWAITING_APPROVAL, id="promote-1")
    down = Posts()
    down.server.server_close()
    app = desk.app()
    bootstrap.use(type(app)(**{**vars(app), "notifier": channels(team=posts.url, other=down.url)}))
    payload = {"kind": "decided", "promotion": "promote-1", "title": "t", "text": "x", "facts": {}, "key": "k",
               "channels": ["other", "team", "gone"]}
    for _ in range(3):
        with pytest.raises(Unavailable, match="the channel other: it did not accept the message, or did not answer"):
            notify(payload)
    assert len(posts.bodies) == 1, "repeats tell nobody twice"
    health = {item["name"]: item for item in desk.ledger.channels.health()}
    assert (health["other"]["failures"], health["team"]["failures"], health["gone"]["failures"]) == (3, 0, 3)
    assert health["other"]["since"]
    bootstrap.use(type(app)(**{**vars(app), "notifier": channels(team=posts.url, other=posts.url)}))
    assert notify(payload)["channels"] == {"other": "told", "team": "told before", "gone":
                                           "failed: there is no channel gone: add it to PILOTAGE_NOTIFY_CHANNELS"}
    assert {item["name"]: item["failures"] for item in desk.ledger.channels.health()} == {"gone": 4, "other": 0, "team": 0}
    bootstrap.use(None)
