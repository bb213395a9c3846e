"""Query parameters, bodies and ids of management requests."""

from __future__ import annotations

from datetime import UTC, datetime

import durabletask.internal.orchestrator_service_pb2 as pb
import pytest

from emulator.functions_host.management.filters import (
    MAX_WAIT,
    BadRequest,
    Query,
    continuation,
    instance_id,
    json_body,
    just_after,
    opaque,
)


@pytest.mark.parametrize(("text", "expected"), [
    ("2026-11-23T10:00:00Z", datetime(2026, 11, 23, 10, tzinfo=UTC)), ("2026-11-23T12:00:00+02:00", datetime(2026, 11, 23, 10, tzinfo=UTC)),
    ("2026-11-23T12:00:00 02:00", datetime(2026, 11, 23, 10, tzinfo=UTC)), ("2026-11-23 10:00", datetime(2026, 11, 23, 10, tzinfo=UTC)),
    ("2026-11-23", datetime(2026, 11, 23, tzinfo=UTC))])
def test_times_are_read_in_utc(text: str, expected: datetime) -> None:
    assert Query([("createdTimeFrom", text)]).time("CREATEDTIMEFROM") == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "0001-01-01T00:00:00+14:00", "9999-12-31T23:00:00-14:00", "1"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(BadRequest, match="'createdTimeTo'"):
        Query([("createdTimeTo", text)]).time("createdTimeTo")


def test_statuses_come_repeated_or_with_commas() -> None:
    query = Query([("runtimeStatus", "Running,completed"), ("RuntimeStatus", "ContinuedAsNew,")])
    assert query.statuses() == [pb.ORCHESTRATION_STATUS_RUNNING, pb.ORCHESTRATION_STATUS_COMPLETED,
                                pb.ORCHESTRATION_STATUS_CONTINUED_AS_NEW]
    with pytest.raises(BadRequest, match="runtimeStatus"):
        Query([("runtimeStatus", "Asleep")]).statuses()


@pytest.mark.parametrize("text", ["0", "-1", "x", "1.5", "2147483648", "9" * 40, "٣"])
def test_top_is_a_positive_int32(text: str) -> None:
    with pytest.raises(BadRequest, match="'top'"):
        Query([("top", text)]).page_size()


def test_absent_and_empty_parameters_have_defaults() -> None:
    query = Query([("showInput", ""), ("top", "")])
    assert (query.boolean("showInput", True), query.page_size(), query.time("createdTimeFrom"), query.seconds("timeout")) == (True, 100,
        None, None)
    assert Query([("timeout", "1e300")]).seconds("timeout") == MAX_WAIT


@pytest.mark.parametrize("body", [b"{", b"NaN", b"[Infinity]", b"1e999", b"\xff", b"[" * 100_000, b"9" * 5000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequest, match="Invalid JSON content"):
        json_body(body)


def test_json_passes_whole() -> None:
    assert json_body(b"") is None
    assert json_body(b' {"a": [1, null, "\\ud800"]} ') == '{"a":[1,null,"\\ud800"]}'


@pytest.mark.parametrize("text", ["@x", "a/b", "a\\b", "a#b", "a?b", "a\nb", "a\x7fb", "x" * 101])
def test_ids_the_extension_refuses_are_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        instance_id(text)
    assert instance_id("Zürich-1@x") == "Zürich-1@x"


def test_a_continuation_token_is_its_own_only() -> None:
    assert continuation(opaque("17")) == "17"
    assert continuation(None) is None
    for token in ("x", "cGFnZTo=", "MTc="):
        with pytest.raises(BadRequest, match="x-ms-continuation-token"):
            continuation(token)


def test_the_last_moment_has_nothing_after_it() -> None:
    assert just_after(datetime.max.replace(tzinfo=UTC)).ToDatetime(tzinfo=UTC) == datetime.max.replace(tzinfo=UTC)
