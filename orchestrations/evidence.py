"""Writing the passport: entries are numbered, timed and chained here, in the orchestration.

An entry is written before the next step begins. Only one orchestration appends at a time: a
sub-orchestration takes the cursor in its input and gives it back in its result.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from durabletask import task

from activities.names import Activity
from orchestrations.steps import PATIENT, Steps, call
from pilotage.domain.passport import CLOSING, Entry
from pilotage.domain.phase import PromotionPhase
from pilotage.messages import Cursor, PromotionRequest, PromotionRow


def now(ctx: task.OrchestrationContext) -> datetime:
    """The orchestration's time, aware."""
    moment = ctx.current_utc_datetime
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")


class Evidence:
    """The writing end of one passport, with the index row that follows it."""

    def __init__(
        self, ctx: task.OrchestrationContext, passport: str, cursor: Cursor, phase: PromotionPhase,
        row: PromotionRow | None = None,
    ) -> None:
        self._ctx, self._passport, self.cursor, self.phase, self.row = ctx, passport, cursor, phase, row

    def enter(self, phase: PromotionPhase, message: str = "", **changes: Any) -> Steps:
        """Move to a phase: the entry says so, and lists show it."""
        self.phase = phase
        yield from self.write("fact", "phase", {"message": message} if message else {}, message=message, **changes)

    def intent(self, step: str, data: dict[str, Any] | None = None) -> Steps:
        """Say what is about to be done, before it is done."""
        yield from self.write("intent", step, data)

    def outcome(self, step: str, data: dict[str, Any] | None = None, **changes: Any) -> Steps:
        """Say what came of it, before anything else is done."""
        yield from self.write("outcome", step, data, **changes)

    def fact(self, step: str, data: dict[str, Any] | None = None) -> Steps:
        yield from self.write("fact", step, data)

    def close(self) -> Steps:
        """The last entry: how many there are and up to which. Nothing is written after it."""
        yield from self.write(CLOSING, "closed", {"count": self.cursor.sequence, "head": self.cursor.previous})

    def write(self, kind: str, step: str, data: dict[str, Any] | None = None, **changes: Any) -> Steps:
        at = iso(now(self._ctx))
        entry = Entry(passport=self._passport, sequence=self.cursor.sequence, at=at, kind=kind, step=step,
                      phase=self.phase.value, data=data or {}, previous=self.cursor.previous)
        payload: dict[str, Any] = {"entry": entry.model_dump(mode="json")}
        if self.row is not None:
            self.row = self.row.model_copy(
                update={**changes, "phase": self.phase.value, "sequence": entry.sequence, "updated_at": at})
            payload["row"] = self.row.wire()
        yield from call(self._ctx, Activity.RECORD_ENTRY, payload, PATIENT)
        self.cursor = Cursor(sequence=entry.sequence + 1, previous=entry.digest)
        self._ctx.set_custom_status({"phase": self.phase.value, "step": step, "kind": kind, "sequence": entry.sequence})

    def resume(self, cursor: Cursor) -> None:
        """Take the cursor back from a sub-orchestration that wrote meanwhile."""
        self.cursor = cursor

    def recover(self) -> Steps:
        """Read where the passport ends: a sub-orchestration died without giving its cursor back."""
        tail = yield from call(self._ctx, Activity.PASSPORT_TAIL, {"passport": self._passport}, PATIENT)
        self.cursor = Cursor.read(tail)


def first_row(request: PromotionRequest, at: str) -> PromotionRow:
    """The index row of a promotion that has just started."""
    policy = request.parsed_policy()
    return PromotionRow(
        id=request.id, model=request.source.name, version=request.source.version, source=request.source,
        policy=policy.name, team=policy.team, phase=PromotionPhase.ACCEPTED.value, attempt=request.attempt,
        created_at=request.trigger.at, updated_at=at, workspace=policy.production.workspace,
        endpoint=policy.production.target.endpoint, previous=request.previous, trigger=request.trigger.kind,
    )
