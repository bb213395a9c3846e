"""Die at every change of an operation in turn, and see that a second run ends as one undisturbed run would have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from pilotage.ledger import Ledger
from tests.support.memory import SIGNER, Countdown, Crash, Crashing, FixedClock, MemoryRecords, MemoryRows


@dataclass
class Stores:
    """One set of stores, and ledgers over it: of processes that live, and of one that dies."""

    records: MemoryRecords = field(default_factory=MemoryRecords)
    rows: MemoryRows = field(default_factory=MemoryRows)
    clock: FixedClock = field(default_factory=FixedClock)

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.records, self.rows, self.clock, signer=SIGNER)

    def dying(self, countdown: Countdown) -> Ledger:
        return Ledger(Crashing(self.records, countdown), Crashing(self.rows, countdown), self.clock, signer=SIGNER)


def crash_points(prepare: Callable[[Ledger], None], act: Callable[[Ledger], object]) -> Iterator[tuple[str, Stores]]:
    """(where, the stores as the crash left them) for each change that `act` makes on what `prepare` made.

    A change may be lost (the process died before the request left) or made (it died before the answer came).
    """
    whole = Stores()
    prepare(whole.ledger)
    count = Countdown(at=0, before=True)
    act(whole.dying(count))
    assert count.done > 0, "the operation changes nothing: there is no crash to survive"
    for at in range(1, count.done + 1):
        for before in (True, False):
            stores = Stores()
            prepare(stores.ledger)
            try:
                act(stores.dying(Countdown(at=at, before=before)))
            except Crash:
                yield f"{'before' if before else 'after'} change {at} of {count.done}", stores
            else:
                raise AssertionError(f"the run did not reach change {at}")
