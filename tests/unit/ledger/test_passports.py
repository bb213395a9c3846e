"""Passports and last-good states: written once, read in order."""

from __future__ import annotations

import pytest

from pilotage.domain.passport import GENESIS, Entry, verify_chain
from pilotage.errors import Conflict
from pilotage.ledger import Ledger
from pilotage.messages import Cursor
from tests.support.crashes import Stores, crash_points

PASSPORT = "promote-air-time-1-0a1b2c3d4e5f-1"


def _entry(sequence: int, previous: str = GENESIS, step: str = "accepted") -> Entry:
    return Entry(passport=PASSPORT, sequence=sequence, at="2026-01-05T09:00:00.000+00:00", kind="fact", step=step,
                 phase="accepted", data={"n": sequence}, previous=previous)


def _write(ledger: Ledger, count: int) -> list[Entry]:
    entries: list[Entry] = []
    for number in range(count):
        entries.append(_entry(number, entries[-1].digest if entries else GENESIS))
        ledger.passports.append(entries[-1])
    return entries


def test_entries_come_back_in_order_and_chained() -> None:
    ledger = Stores().ledger
    written = _write(ledger, 12)
    assert ledger.passports.entries(PASSPORT) == written
    assert verify_chain(ledger.passports.entries(PASSPORT)) == []


def test_an_entry_can_be_written_again_but_not_otherwise() -> None:
    ledger = Stores().ledger
    _write(ledger, 2)
    ledger.passports.append(_entry(0))
    with pytest.raises(Conflict):
        ledger.passports.append(_entry(0, step="rewritten"))
    assert ledger.passports.entries(PASSPORT)[0].step == "accepted"


def test_the_tail_is_where_the_next_entry_goes() -> None:
    ledger = Stores().ledger
    assert ledger.passports.tail(PASSPORT) == Cursor()
    entries = _write(ledger, 11)
    assert ledger.passports.tail(PASSPORT) == Cursor(sequence=11, previous=entries[-1].digest)


def test_passports_do_not_run_into_each_other() -> None:
    ledger = Stores().ledger
    _write(ledger, 1)
    ledger.passports.append(_entry(0).model_copy(update={"passport": f"{PASSPORT}0"}))
    assert len(ledger.passports.entries(PASSPORT)) == 1


def test_an_entry_survives_a_crash_at_its_write() -> None:
    for where, stores in crash_points(lambda ledger: None, lambda ledger: ledger.passports.append(_entry(0))):
        stores.ledger.passports.append(_entry(0))
        assert stores.ledger.passports.entries(PASSPORT) == [_entry(0)], where


def test_the_first_last_good_state_wins() -> None:
    ledger = Stores().ledger
    assert ledger.last_good.get(PASSPORT) is None
    first = {"traffic": {"v1": 100}, "keep": "PT24H", "live": None}
    assert ledger.last_good.record(PASSPORT, first) == first
    # A repeat comes after the first change of traffic: what it read is not what served before.
    assert ledger.last_good.record(PASSPORT, {"traffic": {"v1": 90, "v2": 10}}) == first
    assert ledger.last_good.get(PASSPORT) == first
