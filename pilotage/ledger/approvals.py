"""Approval requests and votes. A vote is a record; the event that follows it only wakes the orchestration."""

from __future__ import annotations

import json
from dataclasses import dataclass

from pilotage.domain.approval import Vote
from pilotage.domain.canonical import canonical_json, short_hash
from pilotage.errors import Conflict
from pilotage.ledger.documents import create_first, plan_key, read_json
from pilotage.ledger.outbox import Outbox
from pilotage.messages import ApprovalRequest
from pilotage.ports import Clock, Records


@dataclass(frozen=True)
class Wake:
    """A vote whose orchestration may not have been woken yet."""

    promotion: str
    stage: str
    plan_hash: str
    attempt: int
    voter: str

    @property
    def key(self) -> str:
        return f"{self.promotion}/{short_hash(self.stage, self.plan_hash, str(self.attempt), self.voter)}"

    @classmethod
    def of(cls, vote: Vote) -> Wake:
        return cls(vote.promotion, vote.stage, vote.plan_hash, vote.attempt, vote.voter.casefold())


class Approvals:
    def __init__(self, records: Records, clock: Clock) -> None:
        self._records = records
        self._outbox = Outbox(records, clock, "outbox/wake/")

    def open(self, request: ApprovalRequest) -> None:
        """Put a plan before its voters; the same request again is fine. Raises Conflict when another is there."""
        # The cursor says where the passport stood, not what is asked: it is no part of the request.
        value = request.model_dump(mode="json", by_alias=True, exclude={"cursor"})
        name = f"approvals/{request.promotion}/{request.stage}/{request.attempt}-{plan_key(request.plan_hash)}.json"
        self._records.create(name, canonical_json(value))

    def current(self, promotion: str, stage: str = "production") -> ApprovalRequest | None:
        """The request that was opened last."""
        found = [self._records.read(name) for name in self._records.names(f"approvals/{promotion}/{stage}/")]
        requests = [ApprovalRequest.read(json.loads(content)) for content in found if content is not None]
        return max(requests, key=lambda request: (request.attempt, request.opened_at), default=None)

    def vote(self, vote: Vote) -> bool:
        """Record a vote: True when it is new, False when this voter said the same before.

        Raises Conflict when they said otherwise: a vote is final.
        """
        name = _vote_name(vote)
        stored = read_json(self._records, name)
        created = False

        def write() -> bool:
            nonlocal stored
            stored, created = create_first(self._records, name, vote.model_dump(mode="json"))
            return created

        if stored is None:
            wake = Wake.of(vote)
            created = self._outbox.promise(wake.key, vars(wake), write)
        first = Vote.model_validate(stored)
        if (first.decision, first.reason) != (vote.decision, vote.reason):
            raise Conflict(f"{vote.voter} has voted {first.decision.value} on this plan already; a vote is final")
        return created

    def votes(self, promotion: str, stage: str, plan_hash: str, attempt: int) -> list[Vote]:
        """Every vote on exactly this plan, in the order of the voters' ids."""
        names = self._records.names(f"votes/{promotion}/{stage}/{plan_key(plan_hash)}/{attempt}/")
        found = [self._records.read(name) for name in names]
        return [Vote.model_validate(json.loads(content)) for content in found if content is not None]

    def pending_wakes(self) -> list[Wake]:
        """Votes whose orchestration is not known to have been woken."""
        return [Wake(**about) for about, _ in self._outbox.pending(
            lambda about: self._records.read(_wake_name(Wake(**about))))]

    def woken(self, vote: Wake | Vote) -> None:
        """The event has been raised."""
        self._outbox.done((Wake.of(vote) if isinstance(vote, Vote) else vote).key)


def _vote_name(vote: Vote) -> str:
    return _wake_name(Wake.of(vote))


def _wake_name(wake: Wake) -> str:
    return f"votes/{wake.promotion}/{wake.stage}/{plan_key(wake.plan_hash)}/{wake.attempt}/{wake.voter}.json"
