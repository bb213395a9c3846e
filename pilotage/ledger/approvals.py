"""Approval requests, votes, and how each approval ended.

A vote is a record; the event that follows it only wakes the orchestration. Which acts came in time is decided by one
row with an etag: an act is taken in, or the approval is closed, but never both at once. So whoever votes at the very
moment of the end is told whether the vote counts, and it does exactly then.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

from pilotage.domain.approval import Decision, Tally, Vote, standing, tally
from pilotage.domain.canonical import canonical_json, short_hash
from pilotage.domain.names import child_id
from pilotage.errors import Conflict, Gone
from pilotage.ledger.changes import Row, change
from pilotage.ledger.documents import create_first, plan_key, read_json
from pilotage.ledger.outbox import Outbox
from pilotage.messages import ApprovalRequest, Closed, approval_step
from pilotage.ports import Clock, Records, Rows

_TABLE = "ballots"


@dataclass(frozen=True)
class Wake:
    """An act whose orchestration may not have been woken yet."""

    promotion: str
    stage: str
    plan_hash: str
    round: int
    voter: str
    number: int = 0

    @property
    def key(self) -> str:
        return f"{self.promotion}/{short_hash(self.stage, self.plan_hash, str(self.round), self.voter, str(self.number))}"

    @property
    def instance(self) -> str:
        """The orchestration that waits for it."""
        return child_id(self.promotion, approval_step(self.stage, self.round))

    @classmethod
    def of(cls, vote: Vote) -> Wake:
        return cls(vote.promotion, vote.stage, vote.plan_hash, vote.round, vote.voter.casefold(), vote.number)


class Approvals:
    def __init__(self, records: Records, rows: Rows, clock: Clock, markers: Records) -> None:
        self._records, self._rows = records, rows
        self._outbox = Outbox(markers, clock, "outbox/wake/")

    # --- requests -----------------------------------------------------------------------------------

    def open(self, request: ApprovalRequest) -> None:
        """Put a plan before its voters; the same request again is fine. Raises Conflict when another is there."""
        # The cursor says where the passport stood, not what is asked: it is no part of the request.
        value = request.model_dump(mode="json", by_alias=True, exclude={"cursor"})
        self._records.create(f"approvals/{request.promotion}/{_plan(request)}.json", canonical_json(value))

    def requests(self, promotion: str) -> list[ApprovalRequest]:
        """Everything that was put to the vote, oldest first."""
        found = [self._records.read(name) for name in self._records.names(f"approvals/{promotion}/")]
        requests = [ApprovalRequest.read(json.loads(content)) for content in found if content is not None]
        return sorted(requests, key=lambda request: (request.opened_at, request.stage == "production", request.round))

    def current(self, promotion: str, stage: str | None = None) -> ApprovalRequest | None:
        """The request that was opened last, of any stage or of this one."""
        found = [request for request in self.requests(promotion) if stage in (None, request.stage)]
        return found[-1] if found else None

    # --- votes --------------------------------------------------------------------------------------

    def vote(self, vote: Vote) -> tuple[Vote, bool]:
        """Record an act: (as it is kept, whether it is new). The same again is one act.

        Raises Conflict when the voter has said otherwise and not withdrawn it, has used this link or form already,
        or has nothing to withdraw; Gone when the approval was closed without it.
        """
        acts = self._acts(vote)
        last = acts[-1] if acts else None
        if last is not None and vote.repeats(last):
            self._take_in(last)
            return last, False
        stands = last is not None and last.decision is not Decision.WITHDRAW
        if vote.decision is Decision.WITHDRAW and not stands:
            raise Conflict(f"{vote.voter} has no vote on this plan to withdraw")
        if vote.decision is not Decision.WITHDRAW:
            if last is not None and stands:
                self._take_in(last)
                raise Conflict(f"{vote.voter} has voted {last.decision.value} on this plan already; withdraw that vote first")
            if vote.ticket and any(act.ticket == vote.ticket for act in acts):
                raise Conflict("this link has been used for a decision already: open the page again to decide anew")
        stored, created = self._promise(vote.model_copy(update={"number": len(acts)}))
        self._take_in(stored)
        if not vote.repeats(stored):
            raise Conflict(f"{vote.voter} has decided {stored.decision.value} on this plan at the same moment")
        return stored, created

    def votes(self, request: ApprovalRequest) -> list[Vote]:
        """The acts on exactly this plan that came in time, by voter and in their order."""
        found, _ = self._row(request)
        return self._taken(request, found)

    def adopt(self, wake: Wake) -> None:
        """Take in an act whose writer died before it did. Nothing when the approval was closed without it."""
        stored = read_json(self._records, _vote_name(wake))
        if stored is not None:
            try:
                self._take_in(Vote.model_validate(stored))
            except Gone:
                return

    def pending_wakes(self) -> list[Wake]:
        """Acts whose orchestration is not known to have been woken."""
        return [Wake(**about) for about, _ in self._outbox.pending(lambda about: self._records.read(_vote_name(Wake(**about))))]

    def woken(self, vote: Wake | Vote) -> None:
        """The event has been raised."""
        self._outbox.done((Wake.of(vote) if isinstance(vote, Vote) else vote).key)

    # --- the end ------------------------------------------------------------------------------------

    def settle(self, request: ApprovalRequest, at: str, *, final: bool) -> tuple[Tally, Closed | None]:
        """Count, and close when it is decided, superseded, or (`final`) its time is over: (the tally, how it ended or None)."""
        counted, closed = Tally(state="pending"), None
        by = self.superseded_by(request.promotion)

        def decide(row: Row | None) -> Row | None:
            nonlocal counted, closed
            taken, closed = _read_row(row)
            if closed is not None:
                return None
            votes = self._taken(request, taken)
            counted = tally(request.ballot, votes)
            if counted.state == "pending" and not final and by is None:
                return None
            outcome = counted.state if counted.state != "pending" else "superseded" if by is not None else "expired"
            closed = Closed.model_validate({
                "promotion": request.promotion, "stage": request.stage, "round": request.round, "plan_hash": request.plan_hash,
                "outcome": outcome, "tally": counted, "votes": standing(votes), "by": by if outcome == "superseded" else "", "at": at})
            return {"taken": taken, "closed": closed.wire()}

        change(self._rows, _TABLE, _key(request), decide)
        if closed is None:
            return counted, None
        # The evidence that can't be changed any more; whoever looks again mends what a crash left out here.
        create_first(self._records, f"decisions/{request.promotion}/{_plan(request)}.json", closed.wire())
        return closed.tally, closed

    def closed(self, request: ApprovalRequest) -> Closed | None:
        """How it ended; None while it is open."""
        return self._row(request)[1]

    def supersede(self, promotion: str, by: str) -> str:
        """Note that a newer version asks for the same place; returns by which promotion (the first note stands)."""
        stored, _ = create_first(self._records, f"superseded/{promotion}.json", {"by": by})
        return str(stored["by"])

    def superseded_by(self, promotion: str) -> str | None:
        stored = read_json(self._records, f"superseded/{promotion}.json")
        return str(stored["by"]) if stored is not None else None

    # --- inside -------------------------------------------------------------------------------------

    def _promise(self, vote: Vote) -> tuple[Vote, bool]:
        wake = Wake.of(vote)
        kept: tuple[dict[str, Any], bool] = ({}, False)

        def write() -> bool:
            nonlocal kept
            kept = create_first(self._records, _vote_name(wake), vote.model_dump(mode="json"))
            return kept[1]

        self._outbox.promise(wake.key, asdict(wake), write)
        return Vote.model_validate(kept[0]), kept[1]

    def _take_in(self, vote: Vote) -> None:
        """Let an act count. Raises Gone when the approval was closed before."""
        name = _act(vote)

        def decide(row: Row | None) -> Row | None:
            taken, closed = _read_row(row)
            if closed is not None and name not in taken:
                raise Gone(f"the decision was taken before: {closed.outcome} at {closed.at}; your vote does not count")
            return None if name in taken else {"taken": [*taken, name], "closed": None}

        change(self._rows, _TABLE, _key(vote), decide)

    def _row(self, about: ApprovalRequest | Vote) -> tuple[list[str], Closed | None]:
        found = self._rows.get(_TABLE, _key(about))
        return _read_row(found[0] if found else None)

    def _taken(self, about: ApprovalRequest, taken: list[str]) -> list[Vote]:
        found = [read_json(self._records, f"votes/{about.promotion}/{_plan(about)}/{name}.json") for name in sorted(taken)]
        return [Vote.model_validate(value) for value in found if value is not None]

    def _acts(self, vote: Vote) -> list[Vote]:
        """Every act of this voter that was written, taken in or not."""
        names = self._records.names(f"votes/{vote.promotion}/{_plan(vote)}/{vote.voter.casefold()}/")
        found = [self._records.read(name) for name in names]
        return [Vote.model_validate(json.loads(content)) for content in found if content is not None]


def _read_row(row: Row | None) -> tuple[list[str], Closed | None]:
    if row is None:
        return [], None
    return list(row["taken"]), Closed.read(row["closed"]) if row["closed"] else None


def _key(about: ApprovalRequest | Vote) -> str:
    return f"{about.promotion}|{about.stage}|{about.round}"


def _act(about: Vote | Wake) -> str:
    return f"{about.voter.casefold()}/{about.number:03d}"


def _plan(about: ApprovalRequest | Vote | Wake) -> str:
    return f"{about.stage}/{about.round}-{plan_key(about.plan_hash)}"


def _vote_name(wake: Wake) -> str:
    return f"votes/{wake.promotion}/{_plan(wake)}/{_act(wake)}.json"
