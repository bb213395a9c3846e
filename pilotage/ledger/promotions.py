"""The index of promotions: one row each, written after the passport entry it reflects."""

from __future__ import annotations

from pilotage.domain.phase import PromotionPhase
from pilotage.ledger.changes import Row, change
from pilotage.messages import PromotionRow
from pilotage.ports import Rows

_TABLE = "promotions"
_ALL = 100_000


class Promotions:
    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def put(self, row: PromotionRow) -> None:
        """Bring the index up to a passport entry; a row of a later entry is left as it is.

        Rolled back is final: a promotion whose last entries come after its rollback can't say otherwise, only more of it.
        """
        def decide(current: Row | None) -> Row | None:
            if current is not None and current["sequence"] >= row.sequence:
                return None
            if current is not None and current["phase"] == PromotionPhase.ROLLED_BACK != row.phase:
                return {**row.wire(), "phase": current["phase"], "message": current["message"]}
            return row.wire()

        change(self._rows, _TABLE, row.id, decide, _columns)

    def get(self, promotion: str) -> PromotionRow | None:
        found = self._rows.get(_TABLE, promotion)
        return PromotionRow.read(found[0]) if found else None

    def list(
        self, model: str | None = None, phase: str | None = None, policy: str | None = None, limit: int | None = None
    ) -> list[PromotionRow]:
        """Newest first; model and policy names are compared without case."""
        where = {"model": model and model.casefold(), "phase": phase, "policy": policy and policy.casefold()}
        found = self._rows.scan(_TABLE, {name: value for name, value in where.items() if value}, _ALL)
        rows = [PromotionRow.read(value) for value in found]
        rows.sort(key=lambda row: (row.created_at, row.id), reverse=True)
        return rows if limit is None else rows[:limit]

    def by_case(self, case: str) -> PromotionRow | None:
        """The newest promotion of a version that a drift incident's retraining made."""
        rows = [PromotionRow.read(value) for value in self._rows.scan(_TABLE, {"case": case}, _ALL)]
        return max(rows, key=lambda row: (row.created_at, row.id), default=None)

    def force_phase(self, promotion: str, expected_phase: str, phase: str, message: str, at: str) -> bool:
        """Say what the promotion itself no longer says; False when it has moved on from `expected_phase`.

        The sequence stays: an entry that the promotion writes after all has the last word, unless it is rolled back.
        """
        forced = {"phase": phase, "message": message, "updated_at": at}
        row = change(self._rows, _TABLE, promotion, lambda current: (
            {**current, **forced} if current is not None and current["phase"] == expected_phase else None), _columns)
        return row is not None and all(row[name] == value for name, value in forced.items())


def _columns(row: Row) -> dict[str, str]:
    return {"model": row["model"].casefold(), "phase": row["phase"], "policy": row["policy"].casefold(), "case": row["case"] or ""}
