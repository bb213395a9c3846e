"""Which waiver covers which failure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pilotage.domain.assets import Submitter
from pilotage.domain.gates import GateOutcome, GateResult, overall
from pilotage.domain.policy import ApprovalRule
from pilotage.domain.waivers import WaiverRecord, apply_waivers

NOW = datetime(2026, 1, 5, 9, tzinfo=UTC)
RULE = ApprovalRule(approvers=["group:ml-leads", "user:oid-hal"])
ADA = Submitter(role="registrant", display_name="Ada", object_id="oid-ada")


def result(gate: str = "responsible_ai", outcome: str = "failed") -> GateResult:
    return GateResult(gate=gate, outcome=GateOutcome(outcome), message="")


def waiver(**changes: Any) -> WaiverRecord:
    usual = {"id": "w1", "policy": "air-time", "model": "air-time", "version": "2", "gate": "responsible_ai", "approver": "oid-grace",
             "groups": ["ml-leads"], "reason": "known and accepted", "given_at": "2026-01-04T00:00:00+00:00",
             "expires": "2026-01-06T00:00:00+00:00"}
    return WaiverRecord.model_validate(usual | changes)


def applied(given: WaiverRecord, of: GateResult | None = None, *, rule: ApprovalRule | None = RULE, submitters: Any = (ADA,)) -> GateResult:
    return apply_waivers([of or result()], [given], model="air-time", version="2", rule=rule, submitters=list(submitters), at=NOW)[0]


def test_a_valid_waiver_lets_the_stage_pass_and_is_told() -> None:
    found = applied(waiver())
    assert found.waived is not None
    assert (found.waived.approver, found.waived.reason) == ("oid-grace", "known and accepted")
    assert found.outcome is GateOutcome.FAILED, "the verdict itself stands"
    assert overall([found]) is GateOutcome.PASSED
    assert applied(waiver(approver="oid-hal", groups=[])).waived is not None


@pytest.mark.parametrize("given", [
    waiver(version="3"), waiver(model="other"), waiver(gate="champion"), waiver(expires="2026-01-05T09:00:00+00:00"),
    waiver(given_at="2026-01-05T10:00:00+00:00"), waiver(groups=["marketing"]), waiver(approver="oid-ada"), waiver(approver="OID-ADA"),
])
def test_any_other_waiver_covers_nothing(given: WaiverRecord) -> None:
    assert applied(given).waived is None


@pytest.mark.parametrize("of", [result("security"), result("champion"), result(outcome="errored"), result(outcome="inconclusive"),
                                result(outcome="passed")])
def test_only_a_failed_waivable_gate_is_waived(of: GateResult) -> None:
    assert applied(waiver(gate=of.gate), of).waived is None


def test_who_cannot_be_told_apart_from_the_submitter_waives_nothing() -> None:
    unknown = Submitter(role="training_job_owner", display_name="somebody", object_id=None)
    assert applied(waiver(), submitters=(unknown,)).waived is None
    assert applied(waiver(), rule=None).waived is None, "a policy without approvers has nobody who could"
