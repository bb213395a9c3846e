"""Faults between a client and a service, seen from the client."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path

import httpx
import pytest
from pydantic import ValidationError

from emulator.faults import FaultRule, Faults, InvalidFaults, service_of
from tests.support.fault_bench import Bench
from tests.support.subscriber import until


async def test_without_a_fault_all_goes_through(bench: Bench) -> None:
    answer = await bench.put()
    assert (answer.status_code, answer.json()) == (201, {"fail": None})
    assert bench.done == ["a"]


async def test_a_streaming_answer_goes_through(bench: Bench) -> None:
    assert (await bench.http.get("/stream")).content == b"part" * 3


class TestStatus:
    async def test_before_it_has_no_effect(self, bench: Bench) -> None:
        bench.fault(action="status", status=429, headers={"Retry-After": "7"}, code="TooMany", message="slow down")
        answer = await bench.put()
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")
        assert answer.json() == {"error": {"code": "TooMany", "message": "slow down"}}
        assert bench.done == []

    async def test_after_the_effect_is_there(self, bench: Bench) -> None:
        bench.fault(action="status", when="after", body={"own": "words"})
        answer = await bench.put()
        assert (answer.status_code, answer.json()) == (503, {"own": "words"})
        assert bench.done == ["a"]

    async def test_it_counts(self, bench: Bench) -> None:
        number = bench.fault(action="status", count=2, skip=1)
        assert [(await bench.put()).status_code for _ in range(5)] == [201, 503, 503, 201, 201]
        assert bench.faults.list()[0] | {"id": number, "hits": 2} == bench.faults.list()[0]


class TestDrop:
    @pytest.mark.parametrize(("when", "done"), [("before", []), ("after", ["a"])])
    async def test_the_connection_breaks_without_an_answer(self, bench: Bench, when: str, done: list[str]) -> None:
        bench.fault(action="drop", when=when)
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            await bench.put()
        await until(lambda: bench.done == done)
        assert (await bench.put("b")).status_code == 201
        assert [entry.status for entry in bench.journal.entries()] == [0, 201]


class TestHold:
    @pytest.mark.parametrize(("when", "held"), [("before", []), ("after", ["a"])])
    async def test_until_it_is_released(self, bench: Bench, when: str, held: list[str]) -> None:
        number = bench.fault(action="hold", when=when)
        asking = asyncio.create_task(bench.put())
        await until(lambda: bench.faults.list()[0]["holding"])
        assert bench.done == held
        assert (await bench.put("b")).status_code == 201
        assert bench.faults.remove(number)
        assert (await asking).status_code == 201
        assert sorted(bench.done) == ["a", "b"]
        assert not bench.faults.remove(number)

    async def test_who_goes_away_while_held_has_asked_for_nothing(self, bench: Bench) -> None:
        bench.fault(action="hold")
        with contextlib.suppress(httpx.ReadTimeout):
            await bench.http.put("/things/a", json={"name": "a"}, timeout=0.2)
        await until(lambda: not bench.faults.list()[0]["holding"])
        bench.faults.clear()
        await bench.put("b")
        assert bench.done == ["b"]


async def test_a_delay(bench: Bench) -> None:
    bench.fault(action="delay", delay_seconds=0.1)
    before = time.monotonic()
    assert (await bench.put()).status_code == 201
    assert time.monotonic() - before >= 0.1


async def test_a_failing_operation_is_told_to_the_service(bench: Bench) -> None:
    bench.fault(action="fail_operation", code="OutOfCapacity", message="no machines")
    assert (await bench.put()).json() == {"fail": {"code": "OutOfCapacity", "message": "no machines"}}
    assert (await bench.put()).json() == {"fail": None}


@pytest.mark.parametrize("status", [204, 304])
async def test_a_status_that_has_no_body(bench: Bench, status: int) -> None:
    bench.fault(action="status", status=status, headers={"Retry-After": "3"})
    answer = await bench.put()
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (status, b"", "3")
    assert "content-length" not in answer.headers
    assert (await bench.put("b")).status_code == 201  # the connection is in order


@pytest.mark.parametrize(("path", "service"), [
    ("/topics/alerts/api/events", "event_grid"),
    ("/subscriptions/s/resourceGroups/g/providers/Microsoft.EventGrid/topics/t", "event_grid"),
    ("/subscriptions/s/providers/microsoft.eventgrid/topicTypes", "event_grid"),
    ("/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/providers/Microsoft.EventGrid/"
     "eventSubscriptions/e", "event_grid"),
    ("/subscriptions/s/resourceGroups/g/providers/Microsoft.MachineLearningServices/workspaces/w/models/topics", "azure_ml"),
    ("/msi/token", "identity"), ("/tenant/oauth2/v2.0/token", "identity"), ("/endpoints/e/score", "azure_ml")])
def test_the_service_that_answers_a_path(path: str, service: str) -> None:
    assert service_of(path) == service


class TestMatching:
    async def test_method_path_and_service(self, bench: Bench) -> None:
        bench.fault(action="status", method="GET", count=9)
        bench.fault(action="status", path="^/other", count=9)
        bench.fault(action="status", service="identity", path="", count=9)
        bench.fault(action="status", service="storage", path="", count=9)
        assert (await bench.put()).status_code == 201
        assert (await bench.http.get("/msi/token")).status_code == 503

    async def test_any_case(self, bench: Bench) -> None:
        bench.fault(action="status", method="put", path="/THINGS/A$")
        assert (await bench.put("b")).status_code == 201
        assert (await bench.put("a")).status_code == 503

    async def test_the_oldest_that_is_not_used_up(self, bench: Bench) -> None:
        bench.fault(action="status", status=500)
        bench.fault(action="status", status=502)
        assert [(await bench.put()).status_code for _ in range(3)] == [500, 502, 201]

    async def test_the_control_api_is_exempt(self, bench: Bench) -> None:
        bench.fault(action="status", path="")
        assert (await bench.http.get("/_emulator/x")).status_code == 200
        assert list(bench.journal.entries()) == []

    @pytest.mark.parametrize(("path", "service"), [
        ("/topics/t/api/events", "event_grid"), ("/msi/token", "identity"), ("/tenant/v2.0/.well-known/openid-configuration", "identity"),
        ("/tenant/discovery/v2.0/keys", "identity"), ("/tenant/oauth2/v2.0/token", "identity"),
        ("/registrymanagement/v1.0/registries/r/discovery", "azure_ml"), ("/subscriptions/s/x", "azure_ml"),
        ("/metadata/endpoints", "azure_ml")])
    def test_services(self, path: str, service: str) -> None:
        assert service_of(path) == service

    @pytest.mark.parametrize("rule", [
        {"path": "(", "action": "drop"}, {"path": "x"}, {"action": "drop"}, {"path": "x", "action": "explode"},
        {"path": "x", "action": "drop", "count": 0}, {"path": "x", "action": "status", "status": 42},
        {"path": "x", "action": "drop", "colour": "red"}])
    def test_what_is_no_rule(self, rule: dict[str, object]) -> None:
        with pytest.raises(ValidationError):
            FaultRule.model_validate(rule)


async def test_the_journal_has_what_was_asked_and_answered(bench: Bench) -> None:
    bench.http.headers["authorization"] = "Bearer x"
    await bench.put("a")
    await bench.http.get("/stream?a=1&a=2&sig=hush")
    first, second = (entry.as_dict() for entry in bench.journal.entries())
    assert first["seq"] == 1
    assert (first["service"], first["method"], first["path"], first["status"]) == ("azure_ml", "PUT", "/things/a", 201)
    assert (first["body"], first["caller"]) == ({"name": "a"}, "caller of Bearer x")
    assert second["query"] == {"a": "2", "sig": "***"}


class TestFromTheFirstRequest:
    def test_the_state_folders_rules_are_in_force(self, tmp_path: Path) -> None:
        (tmp_path / "faults.json").write_text('[{"path": "/x", "action": "status"}, {"path": "/y", "action": "drop"}]')
        faults = Faults()
        faults.load(tmp_path / "faults.json")
        assert [(item["path"], item["action"]) for item in faults.list()] == [("/x", "status"), ("/y", "drop")]

    def test_without_the_file_there_are_none(self, tmp_path: Path) -> None:
        faults = Faults()
        faults.load(tmp_path / "faults.json")
        assert faults.list() == []

    @pytest.mark.parametrize("text", ["{", "{}", '[{"path": "("}]', '[{"path": "/x", "action": "explode"}]'])
    def test_what_cannot_be_read_is_refused_by_name(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "faults.json").write_text(text)
        with pytest.raises(InvalidFaults, match=r"faults\.json"):
            Faults().load(tmp_path / "faults.json")
