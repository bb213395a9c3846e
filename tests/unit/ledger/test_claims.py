"""Claims: one record an instance, whatever happens between the writes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pytest

from pilotage.ledger import Ledger
from pilotage.ledger.outbox import ABANDONED_AFTER
from tests.support.crashes import Stores, crash_points
from tests.support.interleaving import Turns, every_order
from tests.support.memory import SIGNER, Crash

ID = "promote-air-time-1-0a1b2c3d4e5f-1"


def test_the_first_claim_wins_and_later_ones_are_given_it() -> None:
    ledger = Stores().ledger
    first = ledger.claims.claim(ID, "promotion", {"event": "first"})
    second = ledger.claims.claim(ID, "promotion", {"event": "second"})
    assert first.created
    assert not second.created
    assert second.message == {"event": "first"}
    assert ledger.claims.get(ID) == second


def test_a_claim_is_pending_until_it_is_started() -> None:
    ledger = Stores().ledger
    ledger.claims.claim(ID, "promotion", {"event": "first"})
    assert [claim.instance_id for claim in ledger.claims.pending()] == [ID]
    ledger.claims.started(ID)
    assert ledger.claims.pending() == []
    ledger.claims.started(ID)
    ledger.claims.claim(ID, "promotion", {"event": "late duplicate"})
    assert ledger.claims.pending() == [], "a duplicate of what runs already promises no start"


def test_a_claim_survives_a_crash_at_every_write() -> None:
    def claim(ledger: Ledger) -> None:
        ledger.claims.claim(ID, "promotion", {"event": "first"})

    points = list(crash_points(lambda ledger: None, claim))
    assert len(points) == 4
    for where, stores in points:
        if stores.ledger.claims.get(ID) is not None:
            assert [c.instance_id for c in stores.ledger.claims.pending()] == [ID], f"{where}: claimed, and nobody would start it"
        again = stores.ledger.claims.claim(ID, "promotion", {"event": "redelivered"})
        assert [c.instance_id for c in stores.ledger.claims.pending()] == [ID], where
        assert again.message in ({"event": "first"}, {"event": "redelivered"}), where


def test_a_marker_whose_claim_never_came_is_dropped_after_an_hour() -> None:
    [(_, stores)] = [point for point in crash_points(lambda ledger: None, lambda ledger: ledger.claims.claim(ID, "promotion", {}))
                     if point[0].startswith("before change 2")]
    stores.clock.advance(ABANDONED_AFTER)
    assert stores.ledger.claims.pending() == []
    assert stores.records.names("outbox/") != []
    stores.clock.advance(timedelta(seconds=1))
    assert stores.ledger.claims.pending() == []
    assert stores.records.names("outbox/") == []


@pytest.mark.parametrize("writers", [2])
def test_of_claims_at_once_one_is_created_and_all_are_given_it(writers: int) -> None:
    def attempt(turns: Turns, schedule: Sequence[int]) -> None:
        stores = Stores()
        ledger = Ledger(turns.watch(stores.records), stores.rows, stores.clock, signer=SIGNER)
        ended = turns.run([lambda n=n: ledger.claims.claim(ID, "promotion", {"event": n}) for n in range(writers)], schedule)
        claims = [end.result for end in ended]
        assert [end.error for end in ended] == [None] * writers
        assert sum(claim.created for claim in claims) == 1
        assert {claim.message["event"] for claim in claims} == {next(c.message["event"] for c in claims if c.created)}
        assert [claim.instance_id for claim in stores.ledger.claims.pending()] == [ID]

    assert every_order(attempt) > 50


@pytest.mark.parametrize("dies", [True, False])
def test_a_claim_is_never_left_without_its_marker_while_an_old_one_is_dropped(dies: bool) -> None:
    """An earlier try left an old marker; the timer drops it just while a redelivery writes the claim (and then dies)."""
    def attempt(turns: Turns, schedule: Sequence[int]) -> None:
        stores = Stores()
        stores.records.create(f"outbox/start/{ID}", b'{"at":"2026-01-05T07:00:00+00:00","about":{"instance":"%s"}}' % ID.encode())
        ledger = Ledger(turns.watch(stores.records), stores.rows, stores.clock, signer=SIGNER)

        def redeliver() -> None:
            ledger.claims.claim(ID, "promotion", {"event": "redelivered"})
            if dies:
                raise Crash
            ledger.claims.started(ID)

        redelivery, timer = turns.run([redeliver, ledger.claims.pending], schedule)
        assert timer.error is None
        assert isinstance(redelivery.error, Crash) is dies
        assert stores.ledger.claims.get(ID) is not None
        if dies:
            assert [claim.instance_id for claim in stores.ledger.claims.pending()] == [ID]

    assert every_order(attempt) > 100


@pytest.mark.parametrize("count", [201])
def test_a_pass_of_the_timer_takes_a_bounded_batch(count: int) -> None:
    ledger = Stores().ledger
    for number in range(count):
        ledger.claims.claim(f"promote-{number:04d}", "promotion", {})
    batch = ledger.claims.pending()
    assert len(batch) == 200
    for claim in batch:
        ledger.claims.started(claim.instance_id)
    assert len(ledger.claims.pending()) == count - 200
