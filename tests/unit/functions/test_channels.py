"""Channels over HTTP and by command: how each fares, and a card to try one; never a URL."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner, Result

from pilotage import bootstrap
from pilotage.cli import app
from pilotage.notify import Channels
from tests.support.desk import Desk
from tests.support.http_host import serving
from tests.support.receivers import Posts, listening
from tests.support.routes import Answer, DurableClient, ask


@pytest.fixture
def posts() -> Iterator[Posts]:
    with listening(Posts()) as found:
        yield found


@pytest.fixture
def told(desk: Desk, posts: Posts) -> Desk:
    """An app with a channel that works, one of two addresses of which the second is dead, and one that nobody has tried."""
    urls = {"team": posts.url, "both": [posts.url, "json://127.0.0.1:9/s3cret-path"], "quiet": posts.url}
    use(desk, urls)
    return desk


def use(desk: Desk, urls: dict[str, Any]) -> None:
    made = desk.app()
    bootstrap.use(type(made)(**{**vars(made), "notifier": Channels(None, SecretStr(json.dumps(urls)) if urls else None)}))


def try_channel(desk: Desk, channel: str, role: str = "Operator") -> Answer:
    return ask("try_channel", None, method="POST", token=desk.actor(f"who-{role}", role), body={}, channel=channel)


def test_a_test_card_goes_to_every_address_and_what_came_of_it_is_kept(told: Desk, posts: Posts) -> None:
    assert try_channel(told, "team").value == {"channel": "team", "told": ["team"], "failed": {}}
    [card] = posts.bodies
    assert card["title"] == "Pilotage: a test of the channel team"
    assert "There is nothing to do." in card["message"]
    assert "token" not in card["message"], "nothing can be decided by it"
    answer = try_channel(told, "both")
    assert (answer.status, answer.value["told"], list(answer.value["failed"])) == (200, ["both/1"], ["both/2"])
    listed = ask("list_channels", None, token=told.actor("rita", "Reader"))
    found = {item.pop("name"): item for item in listed.value["items"]}
    at = told.clock.now().isoformat(timespec="seconds")
    assert {name: item["state"] for name, item in found.items()} == {
        "both/1": "ok", "both/2": "failing", "quiet": "never used", "team": "ok"}
    assert found["both/2"] == {
        "channel": "both", "state": "failing", "last_ok": None, "failing_since": at, "failures": 1, "last_error_at": at,
        "last_error": "the channel both/2: it did not accept the message, or did not answer"}
    assert "s3cret" not in json.dumps([listed.value, answer.value])


def test_the_last_failure_is_told_when_it_is_over_and_a_channel_that_nobody_configured_is_told_as_such(told: Desk, posts: Posts) -> None:
    posts.status = 503
    assert try_channel(told, "team").value["failed"] == {"team": "the channel team: it answered 503"}
    posts.status = 200
    try_channel(told, "team")
    told.ledger.channels.fares("gone", "2026-01-05T09:00:00+00:00", "there is no channel gone: add it to PILOTAGE_NOTIFY_CHANNELS")
    found = {item["name"]: item for item in ask("list_channels", None, token=told.actor("rita", "Reader")).value["items"]}
    assert (found["team"]["state"], found["team"]["failing_since"], found["team"]["last_error"]) == (
        "ok", None, "the channel team: it answered 503")
    assert (found["gone"]["state"], found["gone"]["failures"]) == ("not configured", 1)


@pytest.mark.parametrize(("channel", "role", "status", "says"), [
    ("nobody", "Operator", 404, "there is no channel nobody; configured are: both, quiet, team"),
    ("team", "Operator.a-team", 403, "this takes the app role Pilotage.Operator"),
    ("team", "Reader", 403, "this takes the app role Pilotage.Operator"),
], ids=["unknown", "one team's operator", "reader"])
def test_who_may_not_and_what_is_not_there(told: Desk, posts: Posts, channel: str, role: str, status: int, says: str) -> None:
    answer = try_channel(told, channel, role)
    assert (answer.status, says in answer.value["error"]["message"]) == (status, True)
    assert posts.bodies == []


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_the_commands(told: Desk, posts: Posts, monkeypatch: pytest.MonkeyPatch) -> None:
    told.actor("olive", "Operator")
    monkeypatch.setenv("PILOTAGE_TOKEN", "olive")
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(DurableClient(told.orchestrator)) as address:
        monkeypatch.setenv("FUNCTIONS_URL", address)
        fine, broken = run("channels", "test", "team"), run("channels", "test", "both")
        shown, values = run("channels"), run("channels", "--json")
        unknown = run("channels", "test", "a/b")
        use(told, {})
        told.rows.contents.clear()
        none = run("channels")
    assert (fine.exit_code, fine.output) == (0, "team: told\n")
    assert broken.exit_code == 1
    assert "both/1: told\nboth/2: not told: the channel both/2: it did not accept" in broken.output
    assert all(text in shown.output for text in ("team", "never used", "failing", "2026-01-05 09:00:00"))
    assert [item["name"] for item in json.loads(values.output)["items"]] == ["both/1", "both/2", "quiet", "team"]
    assert (unknown.exit_code, "there is no channel a/b" in unknown.stderr) == (1, True)
    assert "no channel is configured: set PILOTAGE_NOTIFY_CHANNELS" in none.output
