"""What the journal keeps, and what it keeps to itself."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from emulator.answers import PlainJson
from emulator.journal import BODY_LIMIT, LIMIT, Journal


def add(journal: Journal, path: str = "/p", body: bytes = b"", method: str = "GET", service: str = "azure_ml") -> None:
    journal.add(service=service, method=method, path=path, query=[], status=200, body=body, caller=None)


def bodies(*given: bytes) -> list[Any]:
    journal = Journal()
    for body in given:
        add(journal, body=body)
    return [entry.as_dict()["body"] for entry in journal.entries()]


def test_entries_can_be_narrowed() -> None:
    journal = Journal()
    add(journal, "/models/a")
    add(journal, "/Models/b", method="PUT")
    add(journal, "/other", service="identity")

    def paths(**query: Any) -> list[str]:
        return [entry.path for entry in journal.entries(**query)]

    assert paths() == ["/models/a", "/Models/b", "/other"]
    assert paths(path="^/models/") == ["/models/a", "/Models/b"]
    assert paths(method="put") == ["/Models/b"]
    assert paths(service="identity") == ["/other"]
    assert paths(since=2) == ["/other"]


def test_secrets_are_hidden_at_any_depth() -> None:
    body = {"properties": {"primaryKey": "x", "list": [{"sasUri": "x", "name": "n"}]}, "tokens": 3, "password": "x"}
    assert bodies(json.dumps(body).encode()) == [
        {"properties": {"primaryKey": "***", "list": [{"sasUri": "***", "name": "n"}]}, "tokens": 3, "password": "***"}]


def test_bodies_that_are_no_json_or_too_long_leave_their_size() -> None:
    assert bodies(b"", b"\xff\x00", b"x" * (BODY_LIMIT + 1)) == [None, "<2 bytes, not JSON>", f"<{BODY_LIMIT + 1} bytes>"]


def test_it_forgets_the_oldest() -> None:
    journal = Journal()
    for _ in range(LIMIT + 5):
        add(journal)
    numbers = [entry.number for entry in journal.entries()]
    assert (len(numbers), numbers[0], numbers[-1]) == (LIMIT, 6, LIMIT + 5)


def test_what_no_answer_could_carry_is_shown_all_the_same() -> None:
    journal = Journal()
    for body in (b'{"loss": NaN, "rate": -Infinity}', b'{"text": "\\ud800"}', b"[" * 900 + b"]" * 900, b"[" * 16000):
        add(journal, body=body)
    shown = [PlainJson(entry.as_dict()).body for entry in journal.entries()]
    assert json.loads(shown[0])["body"] == {"loss": "nan", "rate": "-inf"}
    assert json.loads(shown[1])["body"] == {"text": "\ud800"}
    assert b"deeper levels" in shown[2]
    assert json.loads(shown[3])["body"] == "<16000 bytes, not JSON>"


def test_a_list_of_secrets_is_hidden_too() -> None:
    assert bodies(b'{"keys": ["abc", "def"], "names": ["abc"], "keyVault": {"name": "kv"}}') == [
        {"keys": ["***", "***"], "names": ["abc"], "keyVault": {"name": "kv"}}]


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999999999}", "(" * 5000 + ")" * 5000])
def test_what_is_no_pattern(pattern: str) -> None:
    with pytest.raises(re.error):
        Journal().entries(pattern)
