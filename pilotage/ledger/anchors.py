"""Digests of closed passports that are owed to the registry's models: noted before the first try, gone when they are there."""

from __future__ import annotations

from typing import Any

from pilotage.ledger.outbox import Outbox
from pilotage.ports import Clock, Records


class Anchors:
    """What a promotion could not put there in its own time, a later sweep does."""

    def __init__(self, markers: Records, clock: Clock) -> None:
        self._outbox = Outbox(markers, clock, "outbox/anchor/")

    def owe(self, promotion: str, target: dict[str, Any], digest: str) -> None:
        """`target`: the AssetRef of the registry's version."""
        self._outbox.promise(promotion, {"promotion": promotion, "target": target, "digest": digest}, lambda: True)

    def settle(self, promotion: str) -> None:
        self._outbox.done(promotion)

    def owed(self) -> list[dict[str, Any]]:
        """[{"promotion", "target", "digest"}], as they were noted."""
        return [about for about, _ in self._outbox.pending(lambda about: about)]
