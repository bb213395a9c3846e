"""A promotion as its readers see it: the index row, and what its passport tells."""

from __future__ import annotations

from typing import Any

from pilotage.bootstrap import App
from pilotage.deciding import waiting_for
from pilotage.domain.approval import tally
from pilotage.domain.names import rollback_id
from pilotage.domain.passport import Entry, verify_chain
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.plan import Plan
from pilotage.messages import ApprovalRequest, PromotionRow

_INTERNAL = {"schema_", "sequence", "submitters"}


def summary(row: PromotionRow) -> dict[str, Any]:
    """One line of a list."""
    return {**row.model_dump(mode="json", exclude=_INTERNAL), "terminal": PromotionPhase(row.phase).terminal}


def explain(this: App, row: PromotionRow, entries: list[Entry] | None = None) -> dict[str, Any]:
    """Everything that the ledger knows of a promotion: {..., "steps", "gates", "plan", "approval", "rollbacks", "passport"}.

    `entries` of its passport, where the caller has read them.
    """
    entries = this.ledger.passports.entries(row.id) if entries is None else entries
    return {
        **summary(row),
        "submitters": [submitter.model_dump(mode="json") for submitter in row.submitters],
        "steps": [_step(entry) for entry in entries],
        "gates": _last(entries, "staging.gates").get("results", []),
        "plan": _last(entries, "plan").get("plan"),
        "approval": _approval(this, row),
        "rollbacks": _rollbacks(this, row.id),
        "passport": {"entries": len(entries), "head": entries[-1].digest if entries else None, "problems": verify_chain(entries)},
    }


def gate_results(this: App, promotion: str) -> list[dict[str, Any]]:
    """The gates' results as the passport has them; empty before there are any."""
    found: list[dict[str, Any]] = _last(this.ledger.passports.entries(promotion), "staging.gates").get("results", [])
    return found


def proposed_plan(this: App, promotion: str) -> Plan | None:
    """The newest plan in the passport; None before there is one."""
    found = _last(this.ledger.passports.entries(promotion), "plan").get("plan")
    return Plan.model_validate(found) if found else None


def counted(this: App, request: ApprovalRequest) -> dict[str, Any]:
    """What the votes on a request come to so far, or came to."""
    closed = this.ledger.approvals.closed(request)
    found = closed.tally if closed else tally(request.ballot, this.ledger.approvals.votes(request))
    return found.model_dump(mode="json")


def _step(entry: Entry) -> dict[str, Any]:
    return entry.model_dump(mode="json", include={"sequence", "at", "kind", "step", "phase", "data"})


def _last(entries: list[Entry], step: str) -> dict[str, Any]:
    return next((entry.data for entry in reversed(entries) if entry.step == step and entry.kind == "outcome"), {})


def _approval(this: App, row: PromotionRow) -> dict[str, Any] | None:
    """What was asked last: {"stage", "round", "plan_hash", "rule", "opened_at", "expires_at", "changed", "tally", "outcome", ...}."""
    request = this.ledger.approvals.current(row.id)
    if request is None:
        return None
    closed = this.ledger.approvals.closed(request)
    found = closed.tally if closed else tally(request.ballot, this.ledger.approvals.votes(request))
    about = request.model_dump(mode="json", include={"stage", "round", "plan_hash", "rule", "opened_at", "expires_at", "changed"})
    review = this.ledger.voices.review_of(row.id)
    return {**about, "tally": found.model_dump(mode="json"), "outcome": closed.outcome if closed else None,
            "waiting_for": None if closed else waiting_for(request.ballot, found),
            "review": review.model_dump(mode="json") if review else None}


def _rollbacks(this: App, promotion: str) -> list[dict[str, Any]]:
    """The rollbacks that people asked for; one that the rollout asked for is among its steps."""
    found: list[dict[str, Any]] = []
    while (claim := this.ledger.claims.get(rollback_id(promotion, len(found) + 1))) is not None:
        entries = this.ledger.passports.entries(claim.instance_id)
        found.append({"id": claim.instance_id, "reason": claim.message["reason"], "actor": claim.message["actor"],
                      "at": claim.message["at"], "steps": [_step(entry) for entry in entries],
                      "result": _last(entries, "rollback") or None})
    return found
