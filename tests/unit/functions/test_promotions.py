from __future__ import annotations

from typing import Any

import grpc
import pytest

from pilotage.domain.passport import Entry
from pilotage.domain.phase import PromotionPhase
from pilotage.errors import Busy, PermissionDenied, PilotageError, Throttled, Unavailable
from pilotage.messages import PromotionRequest, RollbackRequest
from tests.support.desk import Desk, policy
from tests.support.memory import MemoryRows
from tests.support.routes import DurableClient, ask

PROMOTION = "promote-air-time-1-abc-1"


@pytest.fixture
def olive(desk: Desk) -> str:
    return desk.actor("olive", "Operator")


def passport(desk: Desk, promotion: str, *steps: tuple[str, str, dict[str, Any]]) -> None:
    previous: dict[str, str] = {}
    for number, (kind, step, data) in enumerate(steps):
        entry = Entry(passport=promotion, sequence=number, at=f"2026-01-05T09:00:0{number}.000+00:00", kind=kind, step=step,
                      phase="staging", data=data, **previous)
        desk.ledger.passports.append(entry)
        previous = {"previous": entry.digest}


# --- reading --------------------------------------------------------------------------------------


def test_a_list_is_filtered_newest_first(desk: Desk, olive: str) -> None:
    for number, (model, phase) in enumerate([("a", PromotionPhase.STAGING), ("b", PromotionPhase.STAGING), ("a", PromotionPhase.FAILED)]):
        desk.promotion(phase, id=f"p-{number}", model=model, created_at=f"2026-01-05T08:0{number}:00.000+00:00")

    def ids(**query: str) -> list[str]:
        return [item["id"] for item in ask("list_promotions", token=olive, query=query).value["items"]]

    assert ids() == ["p-2", "p-1", "p-0"]
    assert ids(model="A") == ["p-2", "p-0"]
    assert ids(phase="STAGING") == ["p-1", "p-0"]
    assert ids(model="a", phase="staging") == ["p-0"]
    assert ids(policy="other") == []
    assert ids(model="", phase="") == ["p-2", "p-1", "p-0"]
    answer = ask("list_promotions", token=olive, query={"limit": "1"}).value
    assert [item["id"] for item in answer["items"]] == ["p-2"]
    older = ask("list_promotions", token=olive, query={"limit": "2", "after": answer["next"]}).value
    assert ([item["id"] for item in older["items"]], older["next"]) == (["p-1", "p-0"], None)
    assert answer["items"][0] | {"model": "a", "version": "1", "phase": "failed", "terminal": True} == answer["items"][0]


@pytest.mark.parametrize(("query", "message"), [
    ({"phase": "done"}, "phase: 'done' is none of accepted, resolving"),
    ({"limit": "0"}, "limit: must be a whole number from 1 to 1000"), ({"limit": "x"}, "limit: must be"),
    ({"after": "x"}, "after: take it from `next`"), ({"after": "0" * 17 + "./"}, "after: take it from `next`"),
    ({"limit": "²"}, "limit: must be"), ({"limit": "1" * 99}, "limit: must be"),
])
def test_400_a_filter_that_means_nothing(desk: Desk, olive: str, query: dict[str, str], message: str) -> None:
    answer = ask("list_promotions", token=olive, query=query)
    assert (answer.status, answer.code) == (400, "invalid_input")
    assert answer.message.startswith(message)


def test_one_promotion_is_explained_by_its_passport(desk: Desk, olive: str) -> None:
    row = desk.promotion(PromotionPhase.AWAITING_APPROVAL)
    gates = [{"gate": "smoke", "outcome": "passed", "message": "fine", "evidence": {}}]
    passport(desk, row.id, ("fact", "accepted", {}), ("outcome", "staging.gates", {"results": gates}),
             ("outcome", "plan", {"plan": {"x": 1}}))
    request, _ = desk.open_approval(row)
    found = ask("get_promotion", token=olive, promotion=row.id).value
    assert (found["id"], found["phase"], found["gates"], found["plan"]) == (row.id, "awaiting_approval", gates, {"x": 1})
    assert [(step["sequence"], step["kind"], step["step"]) for step in found["steps"]] == [
        (0, "fact", "accepted"), (1, "outcome", "staging.gates"), (2, "outcome", "plan")]
    assert found["approval"]["plan_hash"] == request.plan_hash
    assert found["approval"]["tally"]["state"] == "pending"
    assert found["passport"] | {"entries": 3, "problems": []} == found["passport"]
    assert found["rollbacks"] == []


def test_a_promotion_that_was_only_claimed_is_explained_too(desk: Desk, client: DurableClient, olive: str) -> None:
    started = ask("promote", client, method="POST", token=olive, body={"model": "air-time", "version": "1"}).value
    found = ask("get_promotion", token=olive, promotion=started["id"]).value
    assert (found["phase"], found["steps"], found["approval"], found["plan"]) == ("accepted", [], None, None)


def test_a_passport_that_is_not_intact_shows(desk: Desk, olive: str) -> None:
    row = desk.promotion(PromotionPhase.STAGING)
    desk.ledger.passports.append(Entry(
        passport=row.id, sequence=1, at="2026-01-05T09:00:00.000+00:00", kind="fact", step="x", phase="staging"))
    assert ask("get_promotion", token=olive, promotion=row.id).value["passport"]["problems"] == ["entry 0: sequence is 1"]


@pytest.mark.parametrize(("name", "method"), [("get_promotion", "GET"), ("retry_promotion", "POST"), ("roll_back_promotion", "POST")])
def test_404_an_unknown_promotion(desk: Desk, client: DurableClient, olive: str, name: str, method: str) -> None:
    answer = ask(name, None if method == "GET" else client, method=method, token=olive, promotion="promote-nope-1")
    assert (answer.status, answer.code) == (404, "not_found")
    assert answer.message == "there is no promotion promote-nope-1; GET /api/promotions lists them"


# --- steering -------------------------------------------------------------------------------------


def test_promoting_by_hand_is_202_once_and_200_afterwards(desk: Desk, client: DurableClient, olive: str) -> None:
    body = {"model": "air-time", "version": "7", "workspace": "mlw-dev"}
    first, again = (ask("promote", client, method="POST", token=olive, body=body) for _ in range(2))
    assert (first.status, first.value["outcome"], again.status, again.value["outcome"]) == (202, "started", 200, "already_started")
    assert first.headers["Location"] == f"/api/promotions/{first.value['id']}"
    ((orchestration, message),) = desk.orchestrator.instances.values()
    assert orchestration == "promotion"
    assert PromotionRequest.read(message).trigger.actor == "oid-olive"


@pytest.mark.parametrize(("body", "message"), [
    ({}, "model is missing; version is missing"),
    ({"model": "air-time"}, "version is missing"),
    ({"model": "air-time", "version": 1}, "version: input should be a valid string"),
    ({"model": "air-time", "version": "latest"}, "version: name a version; latest may be another one"),
    ({"model": "air-time", "version": "@latest"}, "version: string should match pattern"),
    ({"model": "a/b", "version": "1"}, "model: string should match pattern"),
    ({"model": "air-time", "version": "1", "stage": "prod"}, "stage is unknown: the fields are model, version, workspace, registry"),
    ({"model": "air-time", "version": "1", "workspace": "w", "registry": "r"}, "workspace and registry are both given"),
])
def test_400_names_the_field_and_the_fix(desk: Desk, client: DurableClient, olive: str, body: Any, message: str) -> None:
    answer = ask("promote", client, method="POST", token=olive, body=body)
    assert (answer.status, answer.code) == (400, "invalid_input")
    assert answer.message.startswith(message)
    assert desk.orchestrator.starts == 0


def test_404_what_no_policy_covers(desk: Desk, client: DurableClient, olive: str) -> None:
    answer = ask("promote", client, method="POST", token=olive, body={"model": "nope", "version": "1"})
    assert (answer.status, answer.code) == (404, "not_found")


def test_413_a_body_over_the_limit(desk: Desk, client: DurableClient, olive: str) -> None:
    answer = ask("promote", client, method="POST", token=olive, body=b" " * 70_000)
    assert (answer.status, answer.code) == (413, "too_large")


def test_retrying_starts_the_next_attempt(desk: Desk, client: DurableClient, olive: str) -> None:
    row = desk.promotion(PromotionPhase.FAILED)
    answer = ask("retry_promotion", client, method="POST", token=olive, promotion=row.id)
    assert (answer.status, answer.value["outcome"]) == (202, "started")
    ((_, message),) = desk.orchestrator.instances.values()
    assert (PromotionRequest.read(message).attempt, PromotionRequest.read(message).previous) == (2, row.id)


@pytest.mark.parametrize("phase", [PromotionPhase.SUCCEEDED, PromotionPhase.STAGING])
def test_409_retrying_what_has_not_ended_without_success(desk: Desk, client: DurableClient, olive: str, phase: PromotionPhase) -> None:
    row = desk.promotion(phase)
    answer = ask("retry_promotion", client, method="POST", token=olive, promotion=row.id)
    assert (answer.status, answer.code) == (409, "conflict")


def test_rolling_back_is_202_once_and_200_afterwards(desk: Desk, client: DurableClient, olive: str) -> None:
    row = desk.promotion(PromotionPhase.SUCCEEDED)
    first, again = (
        ask("roll_back_promotion", client, method="POST", token=olive, promotion=row.id, body={"reason": "slow"}) for _ in range(2))
    assert (first.status, again.status) == (202, 200)
    assert first.value == {"id": f"rollback-{row.id}-1", "outcome": "started", "policy": "air-time", "promotion": row.id}
    ((_, message),) = desk.orchestrator.instances.values()
    assert (RollbackRequest.read(message).reason, RollbackRequest.read(message).actor) == ("slow", "oid-olive")
    found = ask("get_promotion", token=olive, promotion=row.id).value["rollbacks"]
    assert [(rollback["id"], rollback["reason"], rollback["result"]) for rollback in found] == [(first.value["id"], "slow", None)]


def test_rolling_back_needs_no_body(desk: Desk, client: DurableClient, olive: str) -> None:
    row = desk.promotion(PromotionPhase.SUCCEEDED)
    assert ask("roll_back_promotion", client, method="POST", token=olive, promotion=row.id).status == 202


def test_409_rolling_back_what_has_not_changed_production(desk: Desk, client: DurableClient, olive: str) -> None:
    row = desk.promotion(PromotionPhase.STAGING)
    answer = ask("roll_back_promotion", client, method="POST", token=olive, promotion=row.id)
    assert (answer.status, answer.code) == (409, "conflict")


# --- trouble of our own ---------------------------------------------------------------------------


def test_503_while_the_durable_backend_is_away_and_nothing_is_lost(desk: Desk, client: DurableClient, olive: str) -> None:
    client.failure = grpc.StatusCode.UNAVAILABLE
    answer = ask("promote", client, method="POST", token=olive, body={"model": "air-time", "version": "1"})
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "unavailable", "10")
    client.failure = None
    assert ask("promote", client, method="POST", token=olive, body={"model": "air-time", "version": "1"}).status == 202


@pytest.mark.parametrize(("error", "status"), [
    (Unavailable("ledger"), 503), (Throttled("ledger"), 503), (Busy("ledger"), 503), (PermissionDenied("give it the role"), 502),
])
def test_a_ledger_in_trouble_is_not_the_callers_fault(desk: Desk, olive: str, error: PilotageError, status: int) -> None:
    class Failing(MemoryRows):
        def scan(self, *_: Any, **__: Any) -> Any:
            raise error

    desk.ledger.promotions = type(desk.ledger.promotions)(Failing())
    answer = ask("list_promotions", token=olive)
    assert (answer.status, "Retry-After" in answer.headers) == (status, status == 503)


def test_500_tells_nothing_and_the_log_tells_no_token(desk: Desk, olive: str, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(MemoryRows):
        def scan(self, *_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("secret detail")

    desk.ledger.promotions = type(desk.ledger.promotions)(Failing())
    answer = ask("list_promotions", token=olive)
    assert (answer.status, answer.code) == (500, "internal")
    assert "secret" not in answer.message
    assert "ZeroDivisionError" in caplog.text
    assert "token=secret" not in caplog.text


def test_answers_are_json_that_nobody_caches(desk: Desk, olive: str) -> None:
    headers = ask("list_promotions", token=olive).headers
    assert headers["Cache-Control"] == "no-store"


def test_policies_that_cannot_be_read_are_told_where_one_is_asked_for(desk: Desk, client: DurableClient, olive: str) -> None:
    desk.policies.known, desk.policies.broken = [policy("other")], ["air-time.yaml:3: match: ..."]
    answer = ask("promote", client, method="POST", token=olive, body={"model": "air-time", "version": "1", "policy": "air-time"})
    assert answer.message == "there is no policy air-time; there are other (air-time.yaml:3: match: ...)"
