"""Every HTTP route: a verified token, a role, a team."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage import bootstrap
from pilotage.domain.phase import PromotionPhase
from tests.support.desk import Desk, policy
from tests.support.routes import FUNCTIONS, Answer, DurableClient, ask

PROMOTION = "promote-air-time-1-abc-1"
ROUTES: dict[str, dict[str, Any]] = {
    "list_promotions": {"role": "Reader"},
    "get_promotion": {"role": "Reader", "promotion": PROMOTION},
    "promote": {"role": "Operator", "method": "POST", "body": {"model": "air-time", "version": "1"}},
    "retry_promotion": {"role": "Operator", "method": "POST", "promotion": PROMOTION},
    "roll_back_promotion": {"role": "Operator", "method": "POST", "promotion": PROMOTION},
    "get_report": {"role": "Reader", "promotion": PROMOTION},
    "waive": {"role": "Approver", "method": "POST", "promotion": PROMOTION, "body": {
        "gate": "responsible_ai", "reason": "known and accepted", "expires": "2026-02-01T00:00:00Z"}},
    "monitor_alerts": {"role": "Operator", "method": "POST", "body": {}},
    "decide": {"role": "Approver", "method": "POST", "promotion": PROMOTION, "body": {"decision": "approve"}},
    "get_plan": {"role": "Reader", "promotion": PROMOTION},
    "plan_version": {"role": "Reader", "query": {"model": "air-time", "version": "1"}},
    "get_passport": {"role": "Reader", "promotion": PROMOTION},
    "get_keys": {"role": "Reader"},
    "export_audit": {"role": "Reader", "query": {"from": "2026-01-01", "to": "2026-02-01"}},
    "openapi": {"role": "Reader"},
    "list_channels": {"role": "Reader"},
    "try_channel": {"role": "Operator", "method": "POST", "channel": "webhook", "body": {}},
    "explain_why": {"role": "Reader", "query": {"model": "air-time", "version": "1"}},
    "list_comments": {"role": "Reader", "promotion": PROMOTION},
    "comment": {"role": "Reader", "method": "POST", "promotion": PROMOTION, "body": {"text": "why now?"}},
    "delegate": {"role": "Approver", "method": "POST", "body": {
        "policy": "air-time", "to": "oid-linus", "until": "2026-01-20T00:00:00Z", "reason": "away"}},
    "delegations": {"role": "Reader", "policy": "air-time"},
    "end_delegation": {"role": "Approver", "method": "DELETE", "policy": "air-time", "delegation": "none"},
    "review": {"role": "Approver", "method": "POST", "promotion": PROMOTION, "body": {"justified": True, "reason": "it was needed"}},
}
PAGES = {"overview_page", "promotion_page", "rollback_form", "review_page", "review_form", "live_js"}
READS = {"get_plan", "get_keys", "export_audit", "openapi", "explain_why", "list_promotions", "get_promotion", "get_report",
         "list_comments", "delegations", "list_channels"}
SENDS_NO_CLIENT = READS | {"get_passport", "waive", "comment", "delegate", "end_delegation", "review", "try_channel"}


def send(name: str, client: DurableClient, token: str | None, **changes: Any) -> Answer:
    about = {key: value for key, value in (ROUTES[name] | changes).items() if key != "role"}
    return ask(name, None if name in SENDS_NO_CLIENT else client, token=token, **about)


def test_the_table_holds_every_http_route() -> None:
    routes = {name for name, found in FUNCTIONS.items() if found.get_trigger().get_binding_name() == "httpTrigger"}
    assert routes - PAGES == set(ROUTES), "pages are tried in test_pages.py"


@pytest.mark.parametrize("name", ROUTES)
def test_the_host_asks_for_no_key_because_the_route_asks_for_a_person(name: str) -> None:
    assert FUNCTIONS[name].get_trigger().get_dict_repr()["authLevel"].value.lower() == "anonymous"


@pytest.mark.parametrize("token", [None, "", "Bearer ", "Bearer forged", "Basic YTpi"])
@pytest.mark.parametrize("name", ROUTES)
def test_without_a_valid_token_it_is_401(desk: Desk, client: DurableClient, name: str, token: str | None) -> None:
    desk.promotion(PromotionPhase.SUCCEEDED)
    answer = send(name, client, token)
    assert (answer.status, answer.code) == (401, "unauthenticated")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer ")


@pytest.mark.parametrize("name", ROUTES)
def test_without_an_app_role_it_is_403_whether_the_promotion_exists_or_not(desk: Desk, client: DurableClient, name: str) -> None:
    desk.promotion(PromotionPhase.SUCCEEDED)
    nobody = desk.actor("nobody")
    for about in ({}, {"promotion": "no-such"} if "promotion" in ROUTES[name] else {}):
        answer = send(name, client, nobody, **about)
        assert (answer.status, answer.code) == (403, "forbidden")


@pytest.mark.parametrize("role", ["Reader", "Approver"])
@pytest.mark.parametrize("name", [name for name, about in ROUTES.items() if about["role"] == "Operator"])
def test_operating_takes_an_operator(desk: Desk, client: DurableClient, name: str, role: str) -> None:
    desk.promotion(PromotionPhase.SUCCEEDED)
    answer = send(name, client, desk.actor("x", role))
    assert (answer.status, answer.code) == (403, "forbidden")
    assert "Pilotage.Operator" in answer.message
    assert desk.orchestrator.starts == 0


@pytest.mark.parametrize("role", ["Reader", "Operator", "Admin"])
def test_deciding_takes_an_approver(desk: Desk, client: DurableClient, role: str) -> None:
    request, link = desk.open_approval(desk.promotion(PromotionPhase.AWAITING_APPROVAL))
    answer = send("decide", client, desk.actor("x", role, groups=("ml-leads",)), body={"decision": "approve", "token": link})
    assert (answer.status, answer.code) == (403, "forbidden")
    assert "Pilotage.Approver" in answer.message
    assert desk.votes(request) == []


@pytest.mark.parametrize("role", ["Reader", "Operator", "Approver", "Admin"])
def test_every_role_reads(desk: Desk, client: DurableClient, role: str) -> None:
    desk.open_approval(desk.promotion(PromotionPhase.SUCCEEDED))
    for name in READS:
        assert send(name, client, desk.actor("x", role)).status == 200


@pytest.mark.parametrize("name", ["get_promotion", "retry_promotion", "roll_back_promotion", "decide"])
def test_a_role_of_another_team_is_403_and_of_its_own_is_not(desk: Desk, client: DurableClient, name: str) -> None:
    row = desk.promotion(PromotionPhase.FAILED if name == "retry_promotion" else PromotionPhase.SUCCEEDED, team="flights")
    desk.policies.known = [policy(team="flights")]
    role = ROUTES[name]["role"]
    assert send(name, client, desk.actor("x", f"{role}.trains")).status == 403
    assert "of team flights" in send(name, client, desk.actor("x", f"{role}.trains")).message
    allowed = send(name, client, desk.actor("y", f"{role}.FLIGHTS"))
    assert allowed.status in (200, 202) or (name == "decide" and "token is missing" in allowed.message), row


def test_a_list_shows_the_callers_teams_only(desk: Desk) -> None:
    for number, team in enumerate((None, "flights", "trains")):
        desk.promotion(PromotionPhase.STAGING, id=f"p-{number}", team=team)
    seen = {role: {item["team"] for item in ask("list_promotions", token=desk.actor("x", role)).value["items"]}
            for role in ("Reader", "Reader.flights", "Operator.Trains", "Reader.boats")}
    assert seen == {
        "Reader": {None, "flights", "trains"}, "Reader.flights": {"flights"}, "Operator.Trains": {"trains"}, "Reader.boats": set()}


def test_promoting_for_another_team_is_403_and_starts_nothing(desk: Desk, client: DurableClient) -> None:
    desk.policies.known = [policy(team="flights")]
    answer = send("promote", client, desk.actor("x", "Operator.trains"))
    assert (answer.status, answer.code) == (403, "forbidden")
    assert desk.records.contents == {}
    assert send("promote", client, desk.actor("y", "Operator.flights")).status == 202


def test_settings_that_are_not_valid_are_our_fault_and_tell_no_details(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AZURE_SUBSCRIPTION_ID", "PILOTAGE_LINK_KEY"):
        monkeypatch.delenv(name, raising=False)
    bootstrap.use(None)
    answer = ask("list_promotions", token="Bearer x")
    assert (answer.status, answer.code) == (500, "misconfigured")
    assert "PILOTAGE" not in answer.message
