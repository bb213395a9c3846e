"""Who may change a production endpoint's traffic: one owner, at an epoch that only grows.

An owner works under the epoch it was given. A rollback raises the epoch without asking, so whoever owned
the endpoint finds out at its next check. Every method can be repeated after a crash and answers the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pilotage.domain.names import endpoint_key
from pilotage.domain.rollout import is_older
from pilotage.errors import StaleEpoch
from pilotage.ledger.changes import Row, change
from pilotage.messages import EndpointRow, LiveModel, Retained
from pilotage.ports import Rows

_TABLE = "endpoints"
_ALL = 10_000
REMEMBERED = 50
"""Displaced owners and released epochs that a row remembers: a repeat comes within minutes, not rollouts."""


@dataclass(frozen=True)
class Acquired:
    """The answer to who asked for an endpoint."""

    state: Literal["owned", "busy", "older"]
    epoch: int
    owner: str | None
    live: LiveModel | None


class Endpoints:
    def __init__(self, rows: Rows) -> None:
        self._rows = rows

    def acquire(
        self, workspace: str, endpoint: str, promotion: str, model: str, version: str, owner_ended: Callable[[str], bool]
    ) -> Acquired:
        """Become the owner unless somebody else is (`busy`), or a newer version of the model serves (`older`).

        An owner that `owner_ended` says is over has only left its name behind. Raises StaleEpoch when a rollback
        has displaced this promotion: it must not come back by the queue.
        """
        def decide(row: EndpointRow) -> EndpointRow | None:
            if row.owner == promotion:
                return None
            if promotion in row.displaced:
                raise StaleEpoch(f"a rollback took {workspace}/{endpoint} from {promotion}; retry the promotion to try again")
            if row.owner is not None and not owner_ended(row.owner):
                return None
            if _is_older(row.live, model, version):
                return None
            return row.model_copy(update={"owner": promotion, "epoch": row.epoch + 1})

        row = self._change(workspace, endpoint, decide)
        if row.owner == promotion:
            return Acquired("owned", row.epoch, row.owner, row.live)
        older = _is_older(row.live, model, version) and (row.owner is None or owner_ended(row.owner))
        return Acquired("older" if older else "busy", row.epoch, row.owner, row.live)

    def check(self, workspace: str, endpoint: str, owner: str, epoch: int) -> None:
        """Raise StaleEpoch unless the owner still has the endpoint, at this epoch."""
        row = self.get(workspace, endpoint)
        if row is None or (row.owner, row.epoch) != (owner, epoch):
            now = f"{row.owner or 'nobody'} at epoch {row.epoch}" if row else "nobody"
            raise StaleEpoch(f"{workspace}/{endpoint} belongs to {now}, not to {owner} at epoch {epoch}")

    def raise_epoch(self, workspace: str, endpoint: str, rollback: str, promotion: str | None = None) -> EndpointRow:
        """Take the endpoint for a rollback, from whoever has it; once a rollback.

        A rollback that a newer one displaced gets the row as it is, and its next check tells it. The promotion that
        is rolled back never gets the endpoint again, also when its turn in the queue was still to come.
        """
        def decide(row: EndpointRow) -> EndpointRow | None:
            if row.rollback == rollback or rollback in row.displaced:
                return None
            gone = [name for name in (row.owner, row.rollback, promotion) if name is not None and name not in row.displaced]
            return row.model_copy(update={
                "owner": rollback, "rollback": rollback, "epoch": row.epoch + 1, "displaced_owner": row.owner,
                "displaced": [*row.displaced, *dict.fromkeys(gone)][-REMEMBERED:]})

        return self._change(workspace, endpoint, decide)

    def release(
        self, workspace: str, endpoint: str, owner: str, epoch: int, live: LiveModel | None, retain: list[Retained]
    ) -> bool:
        """Give the endpoint up; False, and nothing changed, when a newer epoch has taken it.

        `live` is what serves from now on (None: nothing that a promotion brought). `retain` is added to what is
        kept already.
        """
        def decide(row: EndpointRow) -> EndpointRow | None:
            if (row.owner, row.epoch) != (owner, epoch):
                return None
            kept = {item.deployment: item for item in (*row.retained, *retain)}
            if live is not None:
                kept.pop(live.deployment, None)
            return row.model_copy(update={
                "owner": None, "live": live, "retained": list(kept.values()), "released": [*row.released, epoch][-REMEMBERED:]})

        return epoch in self._change(workspace, endpoint, decide).released

    def drop_retained(self, workspace: str, endpoint: str, deployment: str) -> None:
        """A kept deployment is gone."""
        def decide(row: EndpointRow) -> EndpointRow | None:
            left = [item for item in row.retained if item.deployment != deployment]
            return None if len(left) == len(row.retained) else row.model_copy(update={"retained": left})

        self._change(workspace, endpoint, decide)

    def get(self, workspace: str, endpoint: str) -> EndpointRow | None:
        found = self._rows.get(_TABLE, endpoint_key(workspace, endpoint))
        return EndpointRow.read(found[0]) if found else None

    def all(self) -> list[EndpointRow]:
        """Every endpoint a rollout ever asked for, by workspace and name."""
        rows = [EndpointRow.read(value) for value in self._rows.scan(_TABLE, limit=_ALL)]
        return sorted(rows, key=lambda row: (row.workspace.casefold(), row.endpoint.casefold()))

    def _change(self, workspace: str, endpoint: str, decide: Callable[[EndpointRow], EndpointRow | None]) -> EndpointRow:
        blank = EndpointRow(workspace=workspace, endpoint=endpoint)

        def step(current: Row | None) -> Row | None:
            wanted = decide(EndpointRow.read(current) if current else blank)
            return wanted.wire() if wanted else None

        row = change(self._rows, _TABLE, endpoint_key(workspace, endpoint), step)
        return EndpointRow.read(row) if row else blank


def _is_older(live: LiveModel | None, model: str, version: str) -> bool:
    return live is not None and live.model.casefold() == model.casefold() and is_older(version, live.version)
