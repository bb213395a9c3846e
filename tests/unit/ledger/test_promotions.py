"""The index of promotions follows the passports, in whatever order the writes arrive."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from pilotage.domain.assets import AssetRef
from pilotage.ledger import Ledger
from pilotage.messages import PromotionRow
from tests.support.crashes import Stores, crash_points
from tests.support.interleaving import Turns, every_order
from tests.support.memory import SIGNER

ID = "promote-air-time-1-0a1b2c3d4e5f-1"


def _row(sequence: int, phase: str = "staging", **changes: object) -> PromotionRow:
    row = PromotionRow(id=ID, model="Air-Time", version="1", source=AssetRef(name="Air-Time", version="1", workspace="mlw-dev"),
                       policy="air-time", phase=phase, sequence=sequence, created_at="2026-01-05T09:00:00.000+00:00",
                       updated_at=f"2026-01-05T09:00:{sequence + 1:02d}.000+00:00", message=f"entry {sequence}")
    return row.model_copy(update=changes)


@pytest.mark.parametrize("order", list(itertools.permutations([-1, 0, 1, 2])))
def test_the_latest_entry_wins_in_any_order(order: tuple[int, ...]) -> None:
    ledger = Stores().ledger
    for sequence in order:
        ledger.promotions.put(_row(sequence))
    assert ledger.promotions.get(ID) == _row(2)


def test_the_latest_entry_wins_among_writers_at_once() -> None:
    def attempt(turns: Turns, schedule: Sequence[int]) -> None:
        stores = Stores()
        ledger = Ledger(stores.records, turns.watch(stores.rows), stores.clock, signer=SIGNER)
        ended = turns.run([lambda s=s: ledger.promotions.put(_row(s)) for s in (3, 4)], schedule)
        assert [end.error for end in ended] == [None] * 2
        assert stores.ledger.promotions.get(ID) == _row(4)

    assert every_order(attempt) > 10


def test_a_row_survives_a_crash_at_its_write() -> None:
    for where, stores in crash_points(lambda ledger: ledger.promotions.put(_row(0)), lambda ledger: ledger.promotions.put(_row(1))):
        stores.ledger.promotions.put(_row(1))
        assert stores.ledger.promotions.get(ID) == _row(1), where


def test_lists_are_filtered_and_newest_first() -> None:
    ledger = Stores().ledger
    for number, (model, phase, policy) in enumerate([("a", "staging", "p"), ("B", "failed", "p"), ("a", "failed", "Q")]):
        ledger.promotions.put(_row(0, phase, id=f"promote-{9 - number}", model=model, policy=policy,
                                   created_at=f"2026-01-0{number + 1}T00:00:00.000+00:00"))
    assert [row.id for row in ledger.promotions.list()] == ["promote-7", "promote-8", "promote-9"]
    assert [row.id for row in ledger.promotions.list(limit=1)] == ["promote-7"]
    assert [row.id for row in ledger.promotions.list(model="A")] == ["promote-7", "promote-9"]
    assert [row.id for row in ledger.promotions.list(model="b", phase="failed")] == ["promote-8"]
    assert [row.id for row in ledger.promotions.list(policy="q")] == ["promote-7"]
    assert ledger.promotions.list(phase="succeeded") == []


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
    assert ledger.promotions.get(ID) == _row(4, "succeeded")


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
