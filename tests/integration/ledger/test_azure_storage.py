"""The ledger in Azure Storage, through the real SDKs: the same contract as the in-memory doubles."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from pilotage.domain.assets import AssetRef
from pilotage.domain.canonical import canonical_json
from pilotage.errors import PermissionDenied, Unavailable
from pilotage.ledger import Ledger, dead_letters
from pilotage.ledger.azure import BlobRecords, TableRows
from pilotage.messages import PromotionRow
from pilotage.settings import Settings
from tests.support.memory import SIGNER
from tests.support.platform import LivePlatform
from tests.support.store_contract import RecordsContract, RowsContract, folder

__all__ = ["folder"]
pytestmark = pytest.mark.xdist_group("sdk")


class TestBlobRecords(RecordsContract):
    @pytest.fixture
    def store(self, settings: Settings) -> BlobRecords:
        return BlobRecords(settings.ledger_blob_url, settings.ledger_container)

    def test_the_container_is_made_when_the_first_record_is(self, settings: Settings) -> None:
        store = BlobRecords(settings.ledger_blob_url, f"c{uuid4().hex[:20]}")
        assert store.names("") == []
        assert store.read("a") is None
        store.delete("a")
        with ThreadPoolExecutor(4) as writers:
            assert list(writers.map(lambda n: store.create(f"r{n}", b"x"), range(4))) == [True] * 4

    def test_names_come_from_many_pages(self, settings: Settings, folder: str) -> None:
        store = BlobRecords(settings.ledger_blob_url, settings.ledger_container)
        with ThreadPoolExecutor(4) as writers:
            list(writers.map(lambda n: store.create(f"{folder}/{n:04d}", b""), range(120)))
        assert store.names(f"{folder}/") == [f"{folder}/{n:04d}" for n in range(120)]


class TestTableRows(RowsContract):
    @pytest.fixture
    def store(self, settings: Settings) -> TableRows:
        return TableRows(settings.ledger_table_url, settings.ledger_container)

    def test_the_table_is_made_when_the_first_row_is(self, settings: Settings) -> None:
        store = TableRows(settings.ledger_table_url, f"t{uuid4().hex[:20]}")
        assert store.get("kind", "key") is None
        assert store.scan("kind") == []
        with ThreadPoolExecutor(4) as writers:
            list(writers.map(lambda n: store.put("kind", f"k{n}", {"n": n}, None), range(4)))
        assert len(store.scan("kind")) == 4

    def test_a_row_that_cannot_fit_is_refused_before_it_is_sent(self, settings: Settings) -> None:
        store = TableRows(settings.ledger_table_url, settings.ledger_container)
        with pytest.raises(ValueError, match="too large"):
            store.put("kind", uuid4().hex, {"text": "x" * 500_000}, None)


@pytest.fixture
def ledger(settings: Settings) -> Ledger:
    name = f"l{uuid4().hex[:20]}"
    return Ledger(BlobRecords(settings.ledger_blob_url, name), TableRows(settings.ledger_table_url, name), signer=SIGNER)


def test_of_two_hundred_claims_at_once_one_is_created(ledger: Ledger) -> None:
    with ThreadPoolExecutor(16) as events:
        claims = list(events.map(lambda n: ledger.claims.claim("promote-1", "promotion", {"event": n}), range(200)))
    assert sum(claim.created for claim in claims) == 1
    assert len({claim.message["event"] for claim in claims}) == 1
    assert [claim.instance_id for claim in ledger.claims.pending()] == ["promote-1"]
    ledger.claims.started("promote-1")
    assert ledger.claims.pending() == []


def test_writers_of_one_row_end_with_the_latest_entry(ledger: Ledger) -> None:
    row = PromotionRow(id="promote-1", model="Air-Time", version="1", source=AssetRef(name="m", version="1", workspace="w"), policy="p",
                       phase="staging", created_at="2026-01-05T09:00:00.000+00:00", updated_at="x")
    with ThreadPoolExecutor(4) as writers:
        list(writers.map(lambda n: ledger.promotions.put(row.model_copy(update={"sequence": n})), [3, 0, 4, 1, 2]))
    found = ledger.promotions.get("promote-1")
    assert found is not None
    assert found.sequence == 4
    assert [item.id for item in ledger.promotions.list(model="air-time", phase="staging")] == ["promote-1"]


def test_promotions_are_read_newest_first_and_page_by_page(ledger: Ledger) -> None:
    for number in (2, 4, 1, 3, 0):
        ledger.promotions.put(PromotionRow(
            id=f"promote-{number}", model="Air-Time", version="1", source=AssetRef(name="m", version="1", workspace="w"), policy="p",
            team="Red" if number % 2 else None, phase="staging", created_at=f"2026-01-0{number + 1}T09:00:00.000+00:00", updated_at="x"))
    first = ledger.promotions.page(2)
    second = ledger.promotions.page(3, after=first.next)
    assert [row.id for row in (*first.rows, *second.rows)] == [f"promote-{number}" for number in (4, 3, 2, 1, 0)]
    assert second.next == ""
    assert [row.id for row in ledger.promotions.page(9, teams=["red"], after=first.next).rows] == ["promote-1"]


def test_of_rollouts_at_once_one_owns_the_endpoint(ledger: Ledger) -> None:
    with ThreadPoolExecutor(4) as rollouts:
        got = list(rollouts.map(
            lambda n: ledger.endpoints.acquire("mlw-prod", "air-time", f"p{n}", "m", "1", lambda owner: False), range(4)))
    assert sorted(answer.state for answer in got) == ["busy", "busy", "busy", "owned"]
    assert ledger.endpoints.raise_epoch("mlw-prod", "air-time", "r1").epoch == 2


def test_event_grids_dead_letters_are_read(settings: Settings) -> None:
    container = f"d{uuid4().hex[:20]}"
    letter = {"id": "e1", "eventType": "T", "deadLetterReason": "MaxDeliveryAttemptsExceeded", "deliveryAttempts": 3}
    BlobRecords(settings.ledger_blob_url, container).create("TOPIC/SUB/2026/1/5/9/a.json", canonical_json([letter]))
    [found] = dead_letters(settings.ledger_blob_url, container)
    assert (found.event_id, found.reason, found.attempts) == ("e1", "MaxDeliveryAttemptsExceeded", 3)
    assert json.loads(json.dumps(found.event)) == letter
    assert dead_letters(settings.ledger_blob_url, f"d{uuid4().hex[:20]}") == []


@pytest.mark.exhaustive  # its own time-outs take ten seconds
def test_storage_that_does_not_answer_is_unavailable(azure: LivePlatform, settings: Settings) -> None:
    """The platform's proxy refuses hosts that are not its own, so this never leaves the machine."""
    for call in (lambda: BlobRecords("https://nobody.invalid", "pilotage").read("a"),
                 lambda: TableRows("https://nobody.invalid", "pilotage").get("kind", "key")):
        with pytest.raises((Unavailable, PermissionDenied)):
            call()
