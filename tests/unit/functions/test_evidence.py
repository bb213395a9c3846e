"""The gates' report, and waivers: what is shown, who may pass over what, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage.domain.assets import Submitter
from pilotage.domain.figures import Interval, Intervals
from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.domain.phase import PromotionPhase
from pilotage.messages import PromotionRow
from tests.support.desk import Desk, policy
from tests.support.routes import Answer, ask
from tests.unit.functions.test_promotions import passport

WAIVER = {"gate": "responsible_ai", "reason": "the cohort is being relabelled", "expires": "2026-02-01T00:00:00Z"}
GRACE: dict[str, Any] = {"groups": ("ml-leads",)}


def _judged(desk: Desk, *, team: str | None = None) -> tuple[PromotionRow, list[GateResult]]:
    """A promotion that two gates have judged, one of them against it."""
    row = desk.promotion(PromotionPhase.FAILED, team=team, submitters=[
        Submitter(role="registrant", display_name="Ada Lovelace", object_id="oid-ada")])
    figure = Intervals(title="mae by <origin>", unit="minutes", rows=[Interval(label="<JFK>", value=9, low=8, high=10)], marks={"limit": 8})
    results = [desk.ledger.gates.keep(result, row.id) for result in (
        GateResult(gate="smoke", outcome=GateOutcome.PASSED, message="2 sample requests answered", evidence={"statuses": {"200": 2}}),
        GateResult(gate="responsible_ai", outcome=GateOutcome.FAILED, message="<script>alert(1)</script> is worse", figures=[figure]))]
    passport(desk, row.id, ("fact", "accepted", {"policy": policy(team=team).wire()}),
             ("outcome", "staging.gates", {"results": [result.model_dump(mode="json") for result in results]}))
    return row, results


def _waive(desk: Desk, row: PromotionRow, token: str, **changes: Any) -> Answer:
    return ask("waive", method="POST", token=token, promotion=row.id, body=WAIVER | changes)


def test_the_report_is_a_page_that_loads_and_runs_nothing(desk: Desk) -> None:
    row, _ = _judged(desk)
    answer = ask("get_report", token=desk.actor("olive", "Reader"), promotion=row.id)
    assert answer.status == 200
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    page = answer.value
    assert "<svg" in page
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "&lt;JFK&gt;" in page
    assert page.index("responsible_ai") < page.index("smoke"), "what stops it comes first"


def test_the_report_as_values_has_the_figures(desk: Desk) -> None:
    row, results = _judged(desk)
    answer = ask("get_report", token=desk.actor("olive", "Reader"), promotion=row.id, query={"format": "json"})
    told = {result["gate"]: result for result in answer.value["results"]}
    assert told["responsible_ai"]["figures"][0]["rows"][0]["label"] == "<JFK>"
    assert told["responsible_ai"]["report"] == results[1].report
    assert told["smoke"]["evidence"] == {"statuses": {"200": 2}}


def test_evidence_that_was_changed_is_not_shown_as_if_it_were_whole(desk: Desk) -> None:
    row, results = _judged(desk)
    name = f"evidence/gates/{results[1].report.removeprefix('sha256:')}.json"
    desk.records.contents[name] = desk.records.contents[name].replace(b'"value":9', b'"value":5')
    answer = ask("get_report", token=desk.actor("olive", "Reader"), promotion=row.id, query={"format": "json"})
    changed = next(result for result in answer.value["results"] if result["gate"] == "responsible_ai")
    assert changed["figures"] == []
    assert "not what its digest says" in changed["evidence"]["figures"]


def test_a_report_before_any_gate_says_so(desk: Desk) -> None:
    row = desk.promotion(PromotionPhase.RESOLVING)
    assert "No gate has told its result yet" in ask("get_report", token=desk.actor("olive", "Reader"), promotion=row.id).value
    answer = ask("get_report", token=desk.actor("olive", "Reader"), promotion=row.id, query={"format": "pdf"})
    assert (answer.status, answer.message) == (400, "format: 'pdf' is neither html nor json")


def test_a_waiver_is_recorded_once_with_who_why_and_until_when(desk: Desk) -> None:
    row, _ = _judged(desk)
    grace = desk.actor("grace", "Approver", **GRACE)
    first, second = _waive(desk, row, grace), _waive(desk, row, grace)
    assert (first.status, second.status) == (201, 201)
    given = desk.ledger.waivers.of("air-time", "air-time", "1")
    assert [(waiver.gate, waiver.approver, waiver.groups, waiver.reason) for waiver in given] == [
        ("responsible_ai", "oid-grace", ["ml-leads"], WAIVER["reason"])]
    assert first.value["next"] == f"POST /api/promotions/{row.id}/retry"


@pytest.mark.parametrize(("changes", "status", "says"), [
    ({"gate": "smoke"}, 403, "only responsible_ai can"),
    ({"gate": "champion"}, 404, "it has responsible_ai, smoke"),
    ({"gate": "Responsible AI"}, 400, "gate"),
    ({"reason": "ok"}, 400, "reason"),
    ({"expires": "tomorrow"}, 400, "is not a time"),
    ({"expires": "2026-02-01T00:00:00"}, 400, "has no zone"),
    ({"expires": "2020-02-01T00:00:00Z"}, 400, "must be in the future"),
    ({"expires": "2027-02-01T00:00:00Z"}, 400, "within 90 days"),
    ({"approver": "oid-somebody"}, 400, "approver is unknown"),
])
def test_what_is_no_waiver_is_refused_with_the_field(desk: Desk, changes: dict[str, str], status: int, says: str) -> None:
    row, _ = _judged(desk)
    answer = _waive(desk, row, desk.actor("grace", "Approver", **GRACE), **changes)
    assert answer.status == status
    assert says in answer.message
    assert desk.ledger.waivers.of("air-time", "air-time", "1") == []


@pytest.mark.parametrize(("name", "roles", "groups", "says"), [
    ("olive", ("Operator",), ("ml-leads",), "takes the app role Pilotage.Approver"),
    ("eve", ("Approver",), ("marketing",), "the policy does not name you"),
    ("ada", ("Approver",), ("ml-leads",), "this model's registrant"),
])
def test_only_an_approver_of_the_policy_who_did_not_submit_the_model_waives(
        desk: Desk, name: str, roles: tuple[str, ...], groups: tuple[str, ...], says: str) -> None:
    row, _ = _judged(desk)
    answer = _waive(desk, row, desk.actor(name, *roles, groups=groups))
    assert answer.status == 403
    assert says in answer.message
    assert desk.ledger.waivers.of("air-time", "air-time", "1") == []
