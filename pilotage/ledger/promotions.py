"""The index of promotions: one row each, written after the passport entry it reflects.

A row's key begins with the time of its promotion counted downwards, so that reading in the order of keys is newest first. A second
table says from when each promotion is: it is written once, before the row, and thus decides the row's key for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from pilotage.domain.phase import PromotionPhase
from pilotage.ledger.changes import Row, change
from pilotage.messages import PromotionPage, PromotionRow
from pilotage.ports import Rows

_TABLE = "promotions"
_BEGINNINGS = "promotion-beginnings"
_ALL = 100_000
MARKS = 60
"""Phases that a row tells of."""
_FAR = 10**17
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Promotions:
    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def put(self, row: PromotionRow) -> None:
        """Bring the index up to a passport entry; a row of a later entry is left as it is.

        Rolled back is final: a promotion whose last entries come after its rollback can't say otherwise, only more of it.
        """
        # A row that is there was written under the beginning, so only the first write of a promotion has to ask for it.
        if self._bring_up(row, begins=False) is None:
            self._bring_up(row.model_copy(update={"created_at": self._since(row)}), begins=True)

    def _bring_up(self, row: PromotionRow, *, begins: bool) -> Row | None:
        """The row as it then stands; None where there is none, and `begins` does not let it be made."""

        def decide(current: Row | None) -> Row | None:
            if current is None and not begins:
                return None
            if current is not None and current["sequence"] >= row.sequence:
                return None
            if current is not None and current["phase"] == PromotionPhase.ROLLED_BACK != row.phase:
                return {**row.wire(), "phase": current["phase"], "message": current["message"], "phases": current["phases"]}
            return {**row.wire(), "phases": _way(current, row.phase, row.updated_at)}

        return change(self._rows, _TABLE, _key(row.created_at, row.id), decide, _columns)

    def get(self, promotion: str) -> PromotionRow | None:
        began = self._rows.get(_BEGINNINGS, promotion)
        found = self._rows.get(_TABLE, _key(began[0]["created_at"], promotion)) if began else None
        return PromotionRow.read(found[0]) if found else None

    def page(
        self, size: int, *, model: str | None = None, phase: str | None = None, policy: str | None = None,
        teams: Sequence[str] | None = None, after: str = "",
    ) -> PromotionPage:
        """As `list`, so many of them and from a page's `next` on; of some teams only (folded), where they are given.

        The store filters, and sends one row more than a page holds: for each team.
        """
        where = _where(model, phase, policy)
        asked = [where] if teams is None else [{**where, "team": team} for team in sorted(set(teams))]
        found = sorted((row for filters in asked for row in self._scan(filters, size + 1, after)), key=_key_of)
        return PromotionPage(rows=found[:size], next=_key_of(found[size - 1]) if len(found) > size else "")

    def by_case(self, case: str) -> PromotionRow | None:
        """The newest promotion of a version that a drift incident's retraining made."""
        return next(iter(self._scan({"case": case}, 1, "")), None)

    def force_phase(self, promotion: str, expected_phase: str, phase: str, message: str, at: str) -> bool:
        """Say what the promotion itself no longer says; False when it has moved on from `expected_phase`.

        The sequence stays: an entry that the promotion writes after all has the last word, unless it is rolled back.
        """
        began = self._rows.get(_BEGINNINGS, promotion)
        if began is None:
            return False
        forced: Row = {"phase": phase, "message": message, "updated_at": at}
        row = change(self._rows, _TABLE, _key(began[0]["created_at"], promotion), lambda current: (
            {**current, **forced, "phases": _way(current, phase, at)}
            if current is not None and current["phase"] == expected_phase else None), _columns)
        return row is not None and all(row[name] == value for name, value in forced.items())

    def _since(self, row: PromotionRow) -> str:
        """From when the promotion is, as whoever wrote of it first has said."""
        found = change(self._rows, _BEGINNINGS, row.id, lambda current: None if current else {"created_at": row.created_at})
        return str((found or {"created_at": row.created_at})["created_at"])

    def _scan(self, where: dict[str, str], limit: int, after: str) -> list[PromotionRow]:
        return [PromotionRow.read(value) for value in self._rows.scan(_TABLE, where, limit, after)]

    # The last one: behind it, the annotation `list` would be this method.
    def list(self, model: str | None = None, phase: str | None = None, policy: str | None = None) -> list[PromotionRow]:
        """All, newest first; model and policy names are compared without case."""
        return self._scan(_where(model, phase, policy), _ALL, "")


def _way(current: Row | None, phase: str, at: str) -> list[dict[str, str]]:
    """The phases so far and this one. A hold that is looked at for months may enter phases often: the newest tell enough."""
    marks: list[dict[str, str]] = current["phases"] if current else []
    return marks if marks and marks[-1]["phase"] == phase else [*marks, {"phase": phase, "at": at}][-MARKS:]


def _where(model: str | None, phase: str | None, policy: str | None) -> dict[str, str]:
    where = {"model": model and model.casefold(), "phase": phase, "policy": policy and policy.casefold()}
    return {name: value for name, value in where.items() if value}


def _key_of(row: PromotionRow) -> str:
    return _key(row.created_at, row.id)


def _key(created_at: str, promotion: str) -> str:
    """Newest first; of one microsecond, by id."""
    since = (datetime.fromisoformat(created_at).astimezone(UTC) - _EPOCH) // timedelta(microseconds=1)
    return f"{_FAR - since:017d}.{promotion}"


def _columns(row: Row) -> dict[str, str]:
    return {"model": row["model"].casefold(), "phase": row["phase"], "policy": row["policy"].casefold(), "case": row["case"] or "",
            "team": (row["team"] or "").casefold()}
