"""Channels: told once each, failures visible, and no URL or token where it does not belong."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from activities.telling import notify
from pilotage import bootstrap
from pilotage.domain.phase import PromotionPhase
from pilotage.errors import InvalidInput, Unavailable
from pilotage.notify import Channels
from pilotage.notify.card import card
from pilotage.notify.channels import read_channels
from pilotage.ports import Notification
from tests.support.desk import Desk

NOTE = Notification(kind="awaiting_approval", title="air-time:1\nawaits " + "x" * 200, text="Gates passed: smoke", promotion="promote-1",
                    link="https://p/api/ui/approvals/promote-1?token=secret-token", link_token="secret-token", facts={"plan": "sha256:00"})


class Posts:
    """A server that keeps what is posted to it, and answers with `status`."""

    def __init__(self) -> None:
        self.status, self.bodies = 200, []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(outer.status)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"json://127.0.0.1:{self.server.server_port}/s3cret-path"


@pytest.fixture
def posts() -> Iterator[Posts]:
    found = Posts()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def channels(**urls: str | list[str]) -> Channels:
    return Channels(None, SecretStr(json.dumps(urls)))


def test_apprise_sends_the_card(posts: Posts) -> None:
    channels(team=posts.url).send(NOTE, "team")
    [body] = posts.bodies
    assert body["title"].startswith("air-time:1 awaits xxx")
    assert len(body["title"]) == 120
    for said in ("your decision is asked for", "Gates passed: smoke", "plan: sha256:00", NOTE.link):
        assert said in body["message"]


def test_a_channel_that_refuses_is_unavailable_without_a_word_of_its_url(posts: Posts, caplog: pytest.LogCaptureFixture) -> None:
    posts.status = 500
    with caplog.at_level(logging.DEBUG), pytest.raises(Unavailable) as caught:
        channels(team=posts.url).send(NOTE, "team")
    assert str(caught.value) == "the channel team did not accept it"
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
            assert str(caught.value) == 'it must be JSON such as {"ml-team": "msteams://..."}, names to URLs or lists of URLs'
            assert caught.value.__cause__ is None


def test_who_is_told() -> None:
    both = Channels(SecretStr("https://hooks.example"), SecretStr('{"default": "json://a", "team": ["json://b", "json://c"]}'))
    assert both.names([]) == ["webhook", "default"]
    assert both.names(["team", "team", "gone"]) == ["webhook", "team", "gone"]
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
        with pytest.raises(Unavailable, match="the channel other did not accept it"):
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


def test_a_card_of_every_kind_says_why_now() -> None:
    for kind in ("awaiting_approval", "plan_changed", "reminder", "escalated", "decided", "superseded", "waiting_window", "review_due"):
        assert card(NOTE.model_copy(update={"kind": kind}))[1].splitlines()[0]
