"""The control API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette

from emulator.clock import VirtualClock
from emulator.control import Control
from emulator.faults import Faults
from emulator.journal import Journal
from emulator.mailbox import LIMIT, Mailbox


class Strings:
    """The control API, and what it told others."""

    def __init__(self, state: Path) -> None:
        self.clock, self.journal = VirtualClock(state / "clock.json"), Journal()
        self.moved: list[float] = []
        self.cut: list[str] = []
        self.host_is_up = True
        self.resets = 0
        control = Control(self.clock, Faults(), self.journal, Mailbox(state / "mailbox.jsonl"), self._move, self._cut,
                          self._reset, lambda: {"requests": 0})
        self.http = httpx.AsyncClient(transport=httpx.ASGITransport(Starlette(routes=control.routes())),
                                      base_url="http://x/_emulator/")

    async def _reset(self) -> dict[str, float]:
        if not self.host_is_up:
            raise httpx.ConnectError("no")
        self.resets += 1
        return {"storage": 1.0}

    async def _move(self, offset: float) -> None:
        if not self.host_is_up:
            raise httpx.ConnectError("no")
        self.moved.append(offset)

    def _cut(self, hosts: str) -> int:
        self.cut.append(hosts)
        return 1


@pytest.fixture
async def strings(tmp_path: Path) -> AsyncIterator[Strings]:
    found = Strings(tmp_path)
    yield found
    await found.http.aclose()


async def test_health(strings: Strings) -> None:
    assert (await strings.http.get("health")).json()["status"] == "ok"


class TestClock:
    @pytest.mark.parametrize(("body", "seconds"), [
        ({"advance_seconds": 1.5}, 1.5), ({"advance": "PT1H"}, 3600), ({"advance": "P1DT2M"}, 86520), ({"advance": "PT0.5S"}, 0.5)])
    async def test_it_moves_the_platform_and_the_host(self, strings: Strings, body: dict[str, object], seconds: float) -> None:
        answer = await strings.http.post("clock", json=body)
        assert answer.json()["offset_seconds"] == strings.clock.offset_seconds == seconds
        assert strings.moved == [seconds]
        assert (await strings.http.get("clock")).json()["offset_seconds"] == seconds

    @pytest.mark.parametrize("body", [
        b"{}", b"[]", b"no", b'{"advance": "1h"}', b'{"advance": "P"}', b'{"advance": "PT"}', b'{"advance": 3}',
        b'{"advance_seconds": -1}', b'{"advance_seconds": "x"}'])
    async def test_what_is_no_time(self, strings: Strings, body: bytes) -> None:
        assert (await strings.http.post("clock", content=body)).status_code == 400
        assert strings.clock.offset_seconds == 0

    async def test_a_host_that_can_not_be_told_is_reported(self, strings: Strings) -> None:
        strings.host_is_up = False
        assert (await strings.http.post("clock", json={"advance_seconds": 1})).status_code == 502


class TestMailbox:
    async def test_what_is_posted_is_kept_in_order(self, strings: Strings) -> None:
        for channel, text in (("team", "a"), ("other", "b"), ("team", "c")):
            assert (await strings.http.post(f"mailbox/{channel}", json={"text": text})).status_code == 202
        items = (await strings.http.get("mailbox")).json()["items"]
        assert [(item["number"], item["channel"], item["body"]["text"]) for item in items] == [
            (1, "team", "a"), (2, "other", "b"), (3, "team", "c")]
        assert [item["number"] for item in (await strings.http.get("mailbox", params={"channel": "team"})).json()["items"]] == [1, 3]
        await strings.http.delete("mailbox")
        assert (await strings.http.get("mailbox")).json()["items"] == []

    async def test_it_is_bounded_by_channel_and_takes_json_only(self, strings: Strings) -> None:
        assert (await strings.http.post("mailbox/team", content=b"no")).status_code == 400
        await strings.http.post("mailbox/quiet", json="kept")
        for number in range(LIMIT + 1):
            await strings.http.post("mailbox/team", json=number)
        items = (await strings.http.get("mailbox")).json()["items"]
        assert (len(items), items[0]["body"], items[1]["body"]) == (LIMIT + 1, "kept", 1)

    async def test_it_outlives_the_platform(self, tmp_path: Path) -> None:
        path = tmp_path / "mailbox.jsonl"
        first = Mailbox(path)
        for number in (1, 2):
            first.add("team", {"n": number}, datetime.now(UTC))
        with path.open("a") as file:
            file.write('{"number": 3, "chan')  # what a process that is killed leaves
        second = Mailbox(path)
        assert [message["body"] for message in second.messages()] == [{"n": 1}, {"n": 2}]
        second.add("team", {"n": 3}, datetime.now(UTC))
        assert [message["number"] for message in Mailbox(path).messages("team")] == [1, 2, 3]
        second.clear()
        assert Mailbox(path).messages() == []

    async def test_what_came_before_it_was_written_down_anew_is_bounded_too(self, tmp_path: Path) -> None:
        path = tmp_path / "mailbox.jsonl"
        lines = [{"number": number, "channel": "a" if number % 2 else "b", "received": "2026-01-05T09:00:00+00:00", "body": number}
                 for number in range(1, 2 * LIMIT + 11)]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        for found in (Mailbox(path), Mailbox(path)):
            assert [len(found.messages(channel)) for channel in ("a", "b")] == [LIMIT, LIMIT]
            assert found.messages()[0]["number"] == 11


class TestFaults:
    async def test_they_come_and_go(self, strings: Strings) -> None:
        answer = await strings.http.post("faults", json={"path": "x", "action": "hold"})
        assert answer.status_code == 201
        (item,) = (await strings.http.get("faults")).json()["items"]
        assert (item["id"], item["hits"], item["holding"], item["action"]) == (answer.json()["id"], 0, 0, "hold")
        assert (await strings.http.delete(f"faults/{item['id']}")).status_code == 204
        assert (await strings.http.delete(f"faults/{item['id']}")).status_code == 404
        await strings.http.post("faults", json={"path": "x", "action": "hold"})
        assert (await strings.http.delete("faults")).status_code == 204
        assert (await strings.http.get("faults")).json()["items"] == []

    async def test_one_for_storage_cuts_the_connections_that_clients_keep(self, strings: Strings) -> None:
        await strings.http.post("faults", json={"path": "st.*blob", "action": "drop", "service": "storage"})
        assert strings.cut == ["st.*blob"]

    @pytest.mark.parametrize("body", [b"{}", b"no", b'{"path": "(", "action": "drop"}'])
    async def test_what_is_none(self, strings: Strings, body: bytes) -> None:
        assert (await strings.http.post("faults", content=body)).status_code == 400


async def test_the_journal_can_be_asked(strings: Strings) -> None:
    strings.journal.add(service="azure_ml", method="GET", path="/a", query=[], status=200, body=b"", caller="Ada")
    assert [item["caller"] for item in (await strings.http.get("journal", params={"path": "a", "since": "0"})).json()["items"]] == ["Ada"]
    for query in ({"path": "("}, {"since": "x"}):
        assert (await strings.http.get("journal", params=query)).status_code == 400


class TestReset:
    async def test_it_tells_what_took_how_long(self, strings: Strings) -> None:
        assert (await strings.http.post("reset")).json() == {"milliseconds": {"storage": 1.0}}
        assert strings.resets == 1

    async def test_half_of_it_is_said(self, strings: Strings) -> None:
        strings.host_is_up = False
        answer = await strings.http.post("reset")
        assert answer.status_code == 502
        assert "ask again" in answer.json()["error"]


@pytest.mark.parametrize("seconds", ["1e400", "1e300", "NaN"])
async def test_time_that_nobody_can_live_in(strings: Strings, seconds: str) -> None:
    answer = await strings.http.post("clock", content=f'{{"advance_seconds": {seconds}}}')
    assert answer.status_code == 400
    assert strings.clock.offset_seconds == 0


@pytest.mark.parametrize("body", ['{"advance_seconds": 1' + "0" * 400 + "}", '{"advance": "P' + "9" * 400 + 'D"}', "[" * 100_000],
                         ids=["a number without end", "a duration without end", "depth without end"])
async def test_time_that_no_machine_can_count(strings: Strings, body: str) -> None:
    assert (await strings.http.post("clock", content=body)).status_code == 400
    assert strings.clock.offset_seconds == 0


async def test_a_message_that_is_hardly_json_does_not_close_the_mailbox(strings: Strings) -> None:
    for body in (b'{"loss": NaN}', b'{"text": "\\ud800"}', b"[" * 900 + b"]" * 900):
        assert (await strings.http.post("mailbox/team", content=body)).status_code == 202
    assert (await strings.http.post("mailbox/team", content=b"[" * 100_000)).status_code == 400
    items = (await strings.http.get("mailbox")).json()["items"]
    assert [item["body"] for item in items[:2]] == [{"loss": "nan"}, {"text": "\ud800"}]


@pytest.mark.parametrize("rule", [
    {"headers": {"a\nb": "c"}}, {"headers": {"a": "b\r\nc: d"}}, {"headers": {"": "x"}}, {"headers": {"a": "\u20ac"}}, {"status": 100},
    {"path": "a{99999999999999999999}"}, {"action": "fail_operation", "service": "identity"},
    {"action": "stick_operation", "service": "event_grid"}, {"action": "stick_operation", "service": "storage"}])
async def test_a_fault_that_could_not_happen_is_refused(strings: Strings, rule: dict[str, object]) -> None:
    answer = await strings.http.post("faults", json={"path": "x", "action": "status", **rule})
    assert answer.status_code == 400
    assert next(iter(rule)) in answer.json()["error"] or "operations" in answer.json()["error"]
