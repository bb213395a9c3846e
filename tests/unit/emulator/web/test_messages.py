"""What the mailbox's page brings out of a message, whatever it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from emulator.services import Services
from emulator.web import views
from emulator.web.messages import content, linked, messages


@pytest.mark.parametrize(("text", "links"), [
    ("nothing here", []), ("see https://a.example/x?y=1.", ["https://a.example/x?y=1"]), ("(http://a.example)", ["http://a.example"]),
    ("javascript:alert(1) data:text/html,x", []), ('https://a.example/"onclick="x', ["https://a.example/"]),
    ("one https://a.example/1, two https://b.example/2!", ["https://a.example/1", "https://b.example/2"]),
], ids=["none", "full stop", "bracket", "script", "quote", "two"])
def test_only_addresses_of_pages_become_links_and_no_word_is_lost(text: str, links: list[str]) -> None:
    found = linked(text)
    assert "".join(piece for piece, _ in found) == text
    assert [link for _, link in found if link] == links


def test_what_is_no_object_or_has_other_fields_is_shown_as_far_as_it_goes() -> None:
    assert content("plain")["text"] == [("plain", "")]
    assert content([1])["whole"] == "[\n  1\n]"
    odd: dict[str, Any] = {"title": {"a": 1}, "subject": "s", "message": "m", "x": {},
                           "facts": {"n": 1, "list": [1], "none": None, "": "e"}}
    found = content(odd)
    assert (found["title"], found["text"]) == ("s", [("m", "")])
    assert found["sections"] == {"title": {"a": [("1", "")]}, "facts": {"n": [("1", "")], "": [("e", "")]}}


def test_the_newest_of_a_channel_come_first_and_every_channel_is_counted() -> None:
    kept = [{"number": number, "channel": "even" if number % 2 == 0 else "odd", "received": "2026-01-05T09:00:00+00:00", "body": {}}
            for number in range(1, 2 * views.SHOWN + 4)]
    services = cast(Services, SimpleNamespace(mailbox=SimpleNamespace(messages=lambda: kept)))
    found = messages(services, "odd")
    assert (found["items"][0]["number"], len(found["items"]), found["more"]) == (2 * views.SHOWN + 3, views.SHOWN, 2)
    assert (found["channels"], found["total"]) == ({"even": views.SHOWN + 1, "odd": views.SHOWN + 2}, 2 * views.SHOWN + 3)
    assert messages(services, "gone")["items"] == []
