"""The commands over real HTTP, against the app's own functions on in-memory doubles."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner, Result

from pilotage import bootstrap
from pilotage.cli import app
from pilotage.domain.passport import Entry
from pilotage.domain.phase import PromotionPhase
from pilotage.ledger.dead_letters import read_dead_letters
from tests.support.desk import Desk, registered
from tests.support.http_host import serving
from tests.support.memory import MemoryRecords
from tests.support.routes import DurableClient

PROMOTION = "promote-air-time-1-abc-1"


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    made = Desk()
    bootstrap.use(made.app())
    made.actor("olive", "Operator")
    made.actor("grace", "Approver", groups=("ml-leads",))
    monkeypatch.setenv("PILOTAGE_TOKEN", "olive")
    for name in ("PILOTAGE_LINK_TOKEN", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)
    with serving(DurableClient(made.orchestrator)) as address:
        monkeypatch.setenv("FUNCTIONS_URL", address)
        yield made
    bootstrap.use(None)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_list_shows_a_table_or_json(desk: Desk) -> None:
    desk.promotion(PromotionPhase.FAILED, message="mae 190 is over the limit 15")
    shown, told = run("promotions", "list"), run("promotions", "list", "--json")
    assert shown.exit_code == told.exit_code == 0
    assert all(text in shown.output for text in (PROMOTION, "air-time:1", "failed", "mae 190 is over the limit 15", "2026-01-05 08:30:00"))
    assert [item["id"] for item in json.loads(told.output)["items"]] == [PROMOTION]


def test_list_filters_and_says_when_nothing_matches(desk: Desk) -> None:
    desk.promotion(PromotionPhase.FAILED)
    assert "no promotions match" in run("promotions", "list", "--phase", "staging").output
    assert PROMOTION in run("promotions", "list", "--model", "air-time", "--phase", "failed", "--policy", "air-time").output
    desk.promotion(PromotionPhase.FAILED, id="promote-b")
    assert "the newest 1; --limit shows more" in run("promotions", "list", "--limit", "1").output


def test_show_tells_steps_gates_approval_and_rollbacks(desk: Desk) -> None:
    row = desk.promotion(PromotionPhase.AWAITING_APPROVAL)
    desk.ledger.passports.append(Entry(
        passport=row.id, sequence=0, at="2026-01-05T09:00:00.000+00:00", kind="outcome", step="staging.gates", phase="staging",
        data={"results": [{"gate": "metric:mae", "outcome": "passed", "message": "mae 8.1 is within its limit", "evidence": {}}]}))
    desk.open_approval(row)
    result = run("promotions", "show", row.id)
    assert result.exit_code == 0
    for text in (row.id, "awaiting_approval", "mlw-prod/air-time", "metric:mae", "mae 8.1 is within its limit", "staging.gates",
                 "pending: 0 of 1 by group:ml-leads, until 2026-01-08 08:00:00"):
        assert text in result.output
    assert json.loads(run("promotions", "show", row.id, "--json").output)["id"] == row.id


def test_promote_retry_and_rollback_tell_what_was_started(desk: Desk) -> None:
    promoted = run("promote", "air-time:9")
    assert (promoted.exit_code, promoted.output.split()[-1]) == (0, "started")
    assert "was started before" in run("promote", "air-time:9", "--workspace", "mlw-dev", "--policy", "air-time").output
    failed = desk.promotion(PromotionPhase.FAILED, id="promote-a")
    assert json.loads(run("retry", failed.id, "--json").output)["outcome"] == "started"
    served = desk.promotion(PromotionPhase.SUCCEEDED, id="promote-b")
    assert "rollback-promote-b-1 started" in run("rollback", served.id, "--reason", "slow").output
    assert "asked: slow" in run("promotions", "show", served.id).output
    assert desk.orchestrator.starts == 3


def test_approve_and_reject_record_votes(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    request, link = desk.open_approval(desk.promotion(PromotionPhase.AWAITING_APPROVAL), quorum=2)
    monkeypatch.setenv("PILOTAGE_TOKEN", "grace")
    result = run("approve", PROMOTION, "--link-token", link)
    assert (result.exit_code, result.output.strip()) == (0, f"recorded: approve on {PROMOTION}; the approval is pending")
    desk.actor("linus", "Approver", groups=("ml-leads",))
    monkeypatch.setenv("PILOTAGE_TOKEN", "linus")
    monkeypatch.setenv("PILOTAGE_LINK_TOKEN", link)
    assert "the approval is rejected" in run("reject", PROMOTION, "--reason", "not in summer").output
    assert len(desk.votes(request)) == 2


@pytest.mark.parametrize(("arguments", "message"), [
    (("promotions", "show", "promote-nope"), "error: there is no promotion promote-nope; GET /api/promotions lists them "
     "(`pilotage promotions list` shows what there is)"),
    (("promotions", "show", "../../secrets"), "error: there is no promotion ../../secrets"),
    (("promotions", "list", "--phase", "done"), "error: phase: 'done' is none of accepted"),
    (("promote", "air-time"), "error: 'air-time' names no version: write MODEL:VERSION"),
    (("promote", "air-time:latest"), "error: version: name a version"),
    (("retry", PROMOTION), f"error: {PROMOTION} has succeeded: only a promotion that ended without success can be retried"),
    (("approve", PROMOTION, "--link-token", "x"), "error: "),
])
def test_an_error_is_one_sentence_on_standard_error_that_says_what_to_do(desk: Desk, arguments: tuple[str, ...], message: str) -> None:
    desk.promotion(PromotionPhase.SUCCEEDED)
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(message)
    assert "Traceback" not in result.stderr


def test_a_token_that_is_refused_says_how_to_sign_in(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PILOTAGE_TOKEN", "expired")
    result = run("promotions", "list")
    assert (result.exit_code, "sign in again with `az login`, or set PILOTAGE_TOKEN" in result.stderr) == (1, True)
    assert "expired" not in result.stderr.replace("has not expired", "").replace("missing, expired or", "")


def test_an_address_where_nothing_answers_says_so(desk: Desk) -> None:
    result = run("promotions", "list", "--url", "http://127.0.0.1:9")
    assert result.stderr.startswith("error: http://127.0.0.1:9 did not answer (ConnectError): is FUNCTIONS_URL right, and the app up?")


def test_an_address_of_something_else_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FUNCTIONS_URL", f"{os.environ['FUNCTIONS_URL']}/elsewhere")
    assert "by something that is not Pilotage: is FUNCTIONS_URL the app's address?" in run("promotions", "list").stderr


def test_without_an_address_the_variable_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FUNCTIONS_URL")
    assert run("promotions", "list").stderr.startswith("error: FUNCTIONS_URL is not set: set it (or --url)")


def test_rejected_events_are_listed_from_the_ledger(desk: Desk) -> None:
    assert "nothing was rejected" in run("events", "rejected").output
    desk.ledger.rejected.add("workspace_event", "data.modelName is missing", b'{"id": 1}', desk.clock.now())
    shown = run("events", "rejected").output
    assert all(text in shown for text in ("2026-01-05 09:00:00", "workspace_event", "data.modelName is missing", '{"id": 1}'))
    assert [item["reason"] for item in json.loads(run("events", "rejected", "--json").output)["items"]] == ["data.modelName is missing"]


def test_dead_letters_are_listed_with_why_event_grid_gave_up(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    container = MemoryRecords()
    monkeypatch.setattr("pilotage.cli.dead_letters", lambda url, name, limit: read_dead_letters(container, limit))
    assert "there are no dead letters" in run("events", "dead-letters").output
    container.create("TOPIC/MODEL-EVENTS/2026/1/5/9/a.json", json.dumps([registered(3) | {
        "deadLetterReason": "MaxDeliveryAttemptsExceeded", "deliveryAttempts": 30, "lastDeliveryOutcome": "Unauthorized",
        "lastDeliveryAttemptTime": "2026-01-05T09:00:00Z"}]).encode())
    shown = run("events", "dead-letters").output
    assert all(text in shown for text in ("ModelRegistered", "models/air-time:3", "MaxDeliveryAttemptsExceeded", "30", "Unauthorized"))
    assert [item["event_id"] for item in json.loads(run("events", "dead-letters", "--json").output)["items"]] == ["e-1"]
