"""The index of promotions follows the passports, in whatever order the writes arrive."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import pytest

from pilotage.domain.assets import AssetRef
from pilotage.ledger import Ledger
from pilotage.messages import PromotionRow
from tests.support.crashes import Stores, crash_points
from tests.support.interleaving import Turns, every_order
from tests.support.memory import SIGNER, MemoryRows

ID = "promote-air-time-1-0a1b2c3d4e5f-1"


def _row(sequence: int, phase: str = "staging", **changes: object) -> PromotionRow:
    row = PromotionRow(id=ID, model="Air-Time", version="1", source=AssetRef(name="Air-Time", version="1", workspace="mlw-dev"),
                       policy="air-time", phase=phase, sequence=sequence, created_at="2026-01-05T09:00:00.000+00:00",
                       updated_at=f"2026-01-05T09:00:{sequence + 1:02d}.000+00:00", message=f"entry {sequence}")
    return row.model_copy(update=changes)


def _kept(ledger: Ledger) -> PromotionRow | None:
    """Without the way it took, which the ledger adds."""
    row = ledger.promotions.get(ID)
    return row and row.model_copy(update={"phases": []})


@pytest.mark.parametrize("order", list(itertools.permutations([-1, 0, 1, 2])))
def test_the_latest_entry_wins_in_any_order(order: tuple[int, ...]) -> None:
    ledger = Stores().ledger
    for sequence in order:
        ledger.promotions.put(_row(sequence))
    assert _kept(ledger) == _row(2)


def test_the_latest_entry_wins_among_writers_at_once() -> None:
    def attempt(turns: Turns, schedule: Sequence[int]) -> None:
        stores = Stores()
        ledger = Ledger(stores.records, turns.watch(stores.rows), stores.clock, signer=SIGNER)
        ended = turns.run([lambda s=s: ledger.promotions.put(_row(s)) for s in (3, 4)], schedule)
        assert [end.error for end in ended] == [None] * 2
        assert _kept(stores.ledger) == _row(4)

    assert every_order(attempt) > 10


def test_a_row_survives_a_crash_at_its_write() -> None:
    for where, stores in crash_points(lambda ledger: ledger.promotions.put(_row(0)), lambda ledger: ledger.promotions.put(_row(1))):
        stores.ledger.promotions.put(_row(1))
        assert _kept(stores.ledger) == _row(1), where


def test_a_first_row_survives_a_crash_and_is_there_once_whenever_it_is_said_to_have_begun() -> None:
    for where, stores in crash_points(lambda ledger: None, lambda ledger: ledger.promotions.put(_row(0))):
        assert len(stores.ledger.promotions.list()) <= 1, where
        stores.ledger.promotions.put(_row(1, created_at="2026-01-05T09:30:00.000+00:00"))
        [row] = stores.ledger.promotions.list()
        assert stores.ledger.promotions.get(ID) == row, where
        assert (row.sequence, row.id) == (1, ID), where


def test_lists_are_filtered_and_newest_first() -> None:
    ledger = Stores().ledger
    for number, (model, phase, policy) in enumerate([("a", "staging", "p"), ("B", "failed", "p"), ("a", "failed", "Q")]):
        ledger.promotions.put(_row(0, phase, id=f"promote-{9 - number}", model=model, policy=policy,
                                   created_at=f"2026-01-0{number + 1}T00:00:00.000+00:00"))
    assert [row.id for row in ledger.promotions.list()] == ["promote-7", "promote-8", "promote-9"]
    assert [row.id for row in ledger.promotions.list(model="A")] == ["promote-7", "promote-9"]
    assert [row.id for row in ledger.promotions.list(model="b", phase="failed")] == ["promote-8"]
    assert [row.id for row in ledger.promotions.list(policy="q")] == ["promote-7"]
    assert ledger.promotions.list(phase="succeeded") == []


def test_pages_follow_one_another_though_newer_ones_come_meanwhile_and_phases_change() -> None:
    """Every promotion is on exactly one page: those that came after the first was read are on none."""
    ledger, day = Stores().ledger, "2026-01-05T09:{:02d}:00.000+00:00"
    for number in range(7):
        ledger.promotions.put(_row(0, id=f"p-{number}", created_at=day.format(number // 2)))  # pairs of one time
    shown = ledger.promotions.page(3)
    seen = [row.id for row in shown.rows]
    for number in range(8):  # each moves on, and says another time; one is new
        ledger.promotions.put(_row(number + 1, "failed", id=f"p-{number}", created_at=day.format(30 + number)))
    while shown.next:
        shown = ledger.promotions.page(3, after=shown.next)
        seen += [row.id for row in shown.rows]
    assert seen == ["p-6", "p-4", "p-5", "p-2", "p-3", "p-0", "p-1"]
    assert [row.id for row in ledger.promotions.page(3).rows] == ["p-7", "p-6", "p-4"]


def test_a_page_is_of_some_teams_and_reads_no_more_than_it_shows() -> None:
    read: list[int] = []

    class Counted(MemoryRows):
        def scan(self, table: str, where: dict[str, str] | None = None, limit: int = 1000, after: str = "") -> list[dict[str, Any]]:
            found = super().scan(table, where, limit, after)
            read.append(len(found))
            return found

    stores = Stores(rows=Counted())
    for number in range(60):
        stores.ledger.promotions.put(_row(0, id=f"p-{number:02d}", team=("Red", "blue", None)[number % 3], policy="pQ"[number % 2],
                                          created_at=f"2026-01-05T09:{number:02d}:00.000+00:00"))

    def ids(**about: Any) -> list[str]:
        return [row.id for row in stores.ledger.promotions.page(3, **about).rows]

    assert ids() == ["p-59", "p-58", "p-57"]
    assert ids(teams=["red"]) == ["p-57", "p-54", "p-51"]
    assert ids(teams=["red", "blue"]) == ["p-58", "p-57", "p-55"]
    assert ids(teams=["red", "blue"], policy="q") == ["p-57", "p-55", "p-51"]
    assert ids(teams=["green"]) == ids(teams=[]) == []
    assert max(read) == 4


def test_a_row_tells_the_way_it_took() -> None:
    ledger = Stores().ledger
    for sequence, phase in enumerate(["accepted", "accepted", "staging", "awaiting_approval", "staging"]):
        ledger.promotions.put(_row(sequence, phase))
    ledger.promotions.put(_row(2, "failed"))  # late: a newer one has been written
    assert ledger.promotions.force_phase(ID, "staging", "terminated", "gone", "2026-01-06T00:00:00.000+00:00")
    row = ledger.promotions.get(ID)
    assert row is not None
    assert [(mark.phase, mark.at[8:19]) for mark in row.phases] == [
        ("accepted", "05T09:00:01"), ("staging", "05T09:00:03"), ("awaiting_approval", "05T09:00:04"), ("staging", "05T09:00:05"),
        ("terminated", "06T00:00:00")]
    for sequence in range(5, 205):
        ledger.promotions.put(_row(sequence, ("queued", "rolling_out")[sequence % 2]).model_copy(update={"updated_at": f"{sequence}"}))
    row = ledger.promotions.get(ID)
    assert row is not None
    assert (len(row.phases), row.phases[-1].at) == (60, "204")


def test_filters_follow_the_row() -> None:
    ledger = Stores().ledger
    ledger.promotions.put(_row(0, "staging"))
    ledger.promotions.put(_row(1, "failed"))
    assert ledger.promotions.list(phase="staging") == []
    assert ledger.promotions.force_phase(ID, "failed", "terminated", "gone", "2026-01-06T00:00:00.000+00:00")
    assert [row.id for row in ledger.promotions.list(phase="terminated")] == [ID]


def test_the_newest_promotion_of_a_case_is_found() -> None:
    ledger = Stores().ledger
    for number in (1, 2):
        ledger.promotions.put(_row(0, id=f"promote-{number}", case="drift-1", created_at=f"2026-01-0{number}T00:00:00.000+00:00"))
    ledger.promotions.put(_row(0, id="promote-3", case=None, created_at="2026-01-03T00:00:00.000+00:00"))
    found = ledger.promotions.by_case("drift-1")
    assert found is not None
    assert found.id == "promote-2"
    assert ledger.promotions.by_case("drift-2") is None


def test_a_forced_phase_stays_until_the_promotion_speaks_again() -> None:
    ledger = Stores().ledger
    ledger.promotions.put(_row(3, "rolling_out"))
    forced = (ID, "rolling_out", "terminated", "its orchestration ended", "2026-01-06T00:00:00.000+00:00")
    assert ledger.promotions.force_phase(*forced) is True
    assert ledger.promotions.force_phase(*forced) is True, "a repeat finds its own change"
    assert ledger.promotions.force_phase(ID, "rolling_out", "failed", "another", "2026-01-07T00:00:00.000+00:00") is False
    row = ledger.promotions.get(ID)
    assert row is not None
    assert (row.phase, row.message, row.sequence) == ("terminated", "its orchestration ended", 3)
    ledger.promotions.put(_row(3, "rolling_out"))
    assert ledger.promotions.get(ID) == row, "the entry that was overruled does not come back"
    ledger.promotions.put(_row(4, "succeeded"))
    assert _kept(ledger) == _row(4, "succeeded")


def test_rolled_back_is_final() -> None:
    """The rollback may be over before the promotion has written its last entries."""
    ledger = Stores().ledger
    ledger.promotions.put(_row(3, "rolling_out"))
    assert ledger.promotions.force_phase(ID, "rolling_out", "rolled_back", "it was too slow", "2026-01-06T00:00:00.000+00:00")
    for sequence, phase in ((4, "rolling_out"), (5, "succeeded")):
        ledger.promotions.put(_row(sequence, phase, deployment="v1-00"))
        row = ledger.promotions.get(ID)
        assert row is not None
        assert (row.phase, row.message, row.sequence, row.deployment) == ("rolled_back", "it was too slow", sequence, "v1-00")
    ledger.promotions.put(_row(6, "rolled_back", message="and this is why"))
    row = ledger.promotions.get(ID)
    assert row is not None
    assert (row.phase, row.message) == ("rolled_back", "and this is why"), "of the same it may say more"


def test_nothing_is_forced_on_what_is_not_there() -> None:
    assert Stores().ledger.promotions.force_phase(ID, "staging", "terminated", "", "") is False
