"""What could not be handled: kept with its reason, and Event Grid's own dead letters."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from pilotage.ledger.dead_letters import read_dead_letters
from pilotage.ledger.rejected import PAYLOAD_LIMIT
from tests.support.crashes import Stores
from tests.support.memory import START, MemoryRecords


def test_a_rejection_is_kept_once_a_day() -> None:
    stores = Stores()
    for hours in (0, 1, 2):
        stores.ledger.rejected.add("event", "unknown type", b'{"id":1}', START + timedelta(hours=hours))
    [kept] = stores.ledger.rejected.list()
    assert (kept.kind, kept.reason, kept.payload) == ("event", "unknown type", '{"id":1}')
    assert kept.received_at == "2026-01-05T09:00:00.000+00:00"
    assert kept.payload_bytes == 8
    stores.ledger.rejected.add("event", "another reason", b'{"id":1}', START)
    stores.ledger.rejected.add("alert", "unknown type", b'{"id":1}', START)
    assert len(stores.ledger.rejected.list()) == 3


def test_a_large_payload_is_cut_and_bytes_that_are_no_text_are_replaced() -> None:
    ledger = Stores().ledger
    ledger.rejected.add("event", "too large", b"\xff" + b"x" * 2 * PAYLOAD_LIMIT, START)
    [kept] = ledger.rejected.list()
    assert len(kept.payload) == PAYLOAD_LIMIT
    assert kept.payload.startswith("\ufffdxxx")
    assert kept.payload_bytes == 2 * PAYLOAD_LIMIT + 1
    assert len(json.dumps(kept.payload)) < 3 * PAYLOAD_LIMIT


@pytest.mark.parametrize(("limit", "expected"), [(0, ""), (1, "7"), (3, "765"), (4, "7654"), (99, "76543210")])
def test_the_newest_come_first(limit: int, expected: str) -> None:
    ledger = Stores().ledger
    for number in range(8):  # three a day
        ledger.rejected.add("event", str(number), b"{}", START + timedelta(hours=8 * number - 9))
    assert [rejection.reason for rejection in ledger.rejected.list(limit)] == list(expected)


GRID = {
    "id": "e1", "topic": "/subscriptions/s/workspaces/mlw-dev", "subject": "models/m:1",
    "eventType": "Microsoft.MachineLearningServices.ModelRegistered", "data": {"modelName": "m"},
    "deadLetterReason": "MaxDeliveryAttemptsExceeded", "deliveryAttempts": 30, "lastDeliveryOutcome": "NotFound",
    "publishTime": "2026-01-05T09:00:00Z", "lastDeliveryAttemptTime": "2026-01-05T10:00:00Z",
}
CLOUD = {
    "specversion": "1.0", "id": "e2", "source": "/subscriptions/s/workspaces/mlw-dev", "type": "T", "data": {},
    "deadletterreason": "TimeToLiveExceeded", "deliveryattempts": 4, "lastdeliveryoutcome": "Busy",
    "lastdeliveryattempttime": "2026-01-06T10:00:00Z",
}


def test_dead_letters_are_read_in_both_schemas() -> None:
    records = MemoryRecords()
    records.create("MLW-DEV/MODEL-EVENTS/2026/1/5/9/a.json", json.dumps([GRID]).encode())
    records.create("MLW-DEV/MODEL-EVENTS/2026/1/6/9/b.json", json.dumps([CLOUD]).encode())
    first, second = read_dead_letters(records)
    assert (first.event_id, first.event_type, first.reason, first.attempts) == ("e2", "T", "TimeToLiveExceeded", 4)
    assert (second.event_id, second.reason, second.attempts, second.outcome) == ("e1", "MaxDeliveryAttemptsExceeded", 30, "NotFound")
    assert second.topic == "/subscriptions/s/workspaces/mlw-dev"
    assert second.event == GRID
    assert second.record == "MLW-DEV/MODEL-EVENTS/2026/1/5/9/a.json"
    assert [letter.event_id for letter in read_dead_letters(records, limit=1)] == ["e2"]


@pytest.mark.parametrize("content", [b"not json", b'["text"]', b'[{"deliveryAttempts": "many"}]', b"\xff\xfe"])
def test_a_blob_that_is_no_dead_letter_is_told_as_such(content: bytes) -> None:
    records = MemoryRecords()
    records.create("stray.txt", content)
    [letter] = read_dead_letters(records)
    assert letter.record == "stray.txt"
    assert letter.reason.startswith("unreadable")
