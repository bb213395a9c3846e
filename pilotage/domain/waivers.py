"""Waivers: a named approver's word that a gate's failure may be passed over, for a reason and until a day."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pilotage.domain.approval import conflict_of_interest, named
from pilotage.domain.assets import Frozen, Submitter
from pilotage.domain.gates import GateOutcome, GateResult, Waiver
from pilotage.domain.policy import ApprovalRule

WAIVABLE = frozenset({"responsible_ai"})
"""Gates whose failure people may answer for. A reordered column or a poisoned pickle is nobody's to waive."""
LONGEST_DAYS = 90
"""A waiver is an exception: what should hold for longer belongs in the policy."""


class WaiverRecord(Frozen):
    """A waiver as it was given. Written once."""

    id: str
    policy: str
    model: str
    version: str
    gate: str
    """What the result is called, such as responsible_ai."""
    approver: str
    """Entra object id of who gave it, from a verified token."""
    groups: list[str] = []
    """Groups of the token that the policy's approval rule names."""
    reason: str
    given_at: str
    expires: str


def apply_waivers(results: Sequence[GateResult], waivers: Sequence[WaiverRecord], *, model: str, version: str, rule: ApprovalRule | None,
                  submitters: Sequence[Submitter], at: datetime) -> list[GateResult]:
    """The results, those that a valid waiver covers marked with it. Only a gate that failed can be waived.

    A waiver counts when the policy's approval rule names who gave it, who is none of the model's submitters, while it lasts.
    """
    return [_waived(result, waivers, model, version, rule, submitters, at) for result in results]


def _waived(result: GateResult, waivers: Sequence[WaiverRecord], model: str, version: str, rule: ApprovalRule | None,
            submitters: Sequence[Submitter], at: datetime) -> GateResult:
    if result.outcome is not GateOutcome.FAILED or result.gate.partition(":")[0] not in WAIVABLE or rule is None:
        return result
    for waiver in sorted(waivers, key=lambda item: (item.given_at, item.id)):
        covers = (waiver.gate, waiver.model.casefold(), waiver.version.casefold()) == (result.gate, model.casefold(), version.casefold())
        valid = datetime.fromisoformat(waiver.given_at) <= at < datetime.fromisoformat(waiver.expires)
        if (covers and valid and named(rule.approvers, waiver.approver, waiver.groups)
                and conflict_of_interest(submitters, waiver.approver) is None):
            return result.model_copy(update={"waived": Waiver(
                id=waiver.id, approver=waiver.approver, reason=waiver.reason, expires=waiver.expires)})
    return result
