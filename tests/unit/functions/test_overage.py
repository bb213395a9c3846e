"""People in more groups than a token holds: the directory is asked wherever a rule names groups, and silence lets nobody in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from pilotage.domain.gates import GateOutcome, GateResult
from pilotage.domain.phase import PromotionPhase
from pilotage.errors import PermissionDenied, PilotageError, Throttled, Unavailable
from tests.support.desk import Desk, policy
from tests.support.routes import Answer, DurableClient, ask
from tests.unit.functions.test_decisions import Voting
from tests.unit.functions.test_evidence import WAIVER, _judged
from tests.unit.functions.test_promotions import passport

LEADS, ON_CALL = "11111111-2222-3333-4444-555555555555", "aaaaaaaa-2222-3333-4444-555555555555"
RULE: dict[str, Any] = {"approvers": (f"group:{LEADS}",), "delegation": True,
                        "break_glass": {"approvers": [f"group:{ON_CALL}"], "review_within": "P2D"}}


class Directory:
    """Who is in which groups; or the error it answers with."""

    def __init__(self) -> None:
        self.members: dict[str, set[str]] = {}
        self.error: PilotageError | None = None
        self.asked: list[tuple[str, list[str]]] = []

    def of(self, object_id: str, candidates: Sequence[str]) -> list[str]:
        self.asked.append((object_id, list(candidates)))
        if self.error is not None:
            raise self.error
        return [group for group in candidates if group in self.members.get(object_id, set())]


class Crowd(Voting):
    """An open approval whose rule names groups by object id, and people whose tokens list none."""

    def __init__(self, desk: Desk, client: DurableClient) -> None:
        self.directory = desk.directory = Directory()
        desk.policies.known = [policy(stages=[policy().stages[0].model_dump(mode="json", by_alias=True, exclude_none=True), {
            "name": "production", "workspace": "mlw-prod", "target": {"endpoint": "air-time"},
            "approval": {"quorum": 1, "expires": "P3D", **RULE, "approvers": list(RULE["approvers"])}}])]
        super().__init__(desk, client, **RULE)

    def person(self, name: str, *groups: str) -> str:
        """Their header. `groups`: what the directory knows."""
        token = self.desk.actor(name, "Approver")
        self.desk.identity.actors[name] = self.desk.identity.actors[name].model_copy(update={"groups_overage": True})
        self.directory.members[f"oid-{name}"] = set(groups)
        return token


@pytest.fixture
def crowd(desk: Desk, client: DurableClient, monkeypatch: pytest.MonkeyPatch) -> Crowd:
    from pilotage import bootstrap

    found = Crowd(desk, client)
    bootstrap.use(desk.app())
    return found


def test_who_is_in_the_group_decides_and_the_vote_says_by_which(crowd: Crowd) -> None:
    token = crowd.person("maud", LEADS, "77777777-2222-3333-4444-555555555555")
    assert crowd.decide(token=token).status == 202
    (vote,) = crowd.desk.votes(crowd.request)
    assert vote.groups == [LEADS]
    assert all(asked == [LEADS] for _, asked in crowd.directory.asked), "only what the rule names is anybody's business"


def test_who_is_not_is_refused_and_that_is_kept(crowd: Crowd) -> None:
    assert crowd.decide(token=crowd.person("eve", ON_CALL)).status == 403
    (refusal,) = crowd.desk.ledger.voices.refusals(crowd.row.id)
    assert (refusal.actor, refusal.status) == ("oid-eve", 403)


def test_a_token_with_groups_asks_nobody(crowd: Crowd) -> None:
    crowd.directory.error = Unavailable("down")
    assert crowd.decide(token=crowd.desk.actor("ann", "Approver", groups=(LEADS,))).status == 202
    assert crowd.directory.asked == []


def _delegate(crowd: Crowd, token: str) -> Answer:
    until = (crowd.desk.clock.now() + timedelta(days=2)).isoformat()
    return ask("delegate", method="POST", token=token, body={"policy": "air-time", "to": "oid-linus", "until": until, "reason": "leave"})


def _waive(crowd: Crowd, token: str) -> Answer:
    row = crowd.desk.promotion(PromotionPhase.FAILED, id="promote-air-time-2-abc-1")
    if not crowd.desk.ledger.passports.entries(row.id):
        result = crowd.desk.ledger.gates.keep(GateResult(gate="responsible_ai", outcome=GateOutcome.FAILED, message="worse"), row.id)
        passport(crowd.desk, row.id, ("fact", "accepted", {"policy": crowd.desk.policies.known[0].wire()}),
                 ("outcome", "staging.gates", {"results": [result.model_dump(mode="json")]}))
    return ask("waive", method="POST", token=token, promotion=row.id, body=WAIVER)


DOORS: dict[str, tuple[Callable[[Crowd, str], Answer], str]] = {
    "decide": (lambda crowd, token: crowd.decide(token=token), LEADS),
    "break the glass": (lambda crowd, token: crowd.decide("break_glass", token=token, reason="fire"), ON_CALL),
    "delegate": (_delegate, LEADS),
    "waive": (_waive, LEADS),
}


@pytest.mark.parametrize("door", DOORS)
def test_every_door_asks(crowd: Crowd, door: str) -> None:
    knock, group = DOORS[door]
    assert knock(crowd, crowd.person("eve")).status == 403
    assert knock(crowd, crowd.person("maud", group)).status in (201, 202)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "error", [Unavailable("Graph is down"), Throttled("later"), PermissionDenied("grant it")], ids=["down", "429", "403"])
def test_a_directory_that_does_not_answer_lets_nobody_in(crowd: Crowd, door: str, error: PilotageError) -> None:
    token = crowd.person("maud", LEADS, ON_CALL)
    crowd.directory.error = error
    answer = DOORS[door][0](crowd, token)
    assert answer.status in (502, 503)
    assert str(error) in answer.value["error"]["message"]
    assert crowd.desk.votes(crowd.request) == []
    assert crowd.desk.ledger.voices.delegations("air-time") == []
    crowd.directory.error = None
    assert DOORS[door][0](crowd, token).status in (201, 202), "nothing was lost by trying"


def test_a_rule_that_names_groups_by_display_name_says_what_to_do(crowd: Crowd) -> None:
    row, _ = _judged(crowd.desk)
    answer = ask("waive", method="POST", token=crowd.person("maud", LEADS), promotion=row.id, body=WAIVER)
    assert answer.status == 403
    assert "by object id" in answer.value["error"]["message"]


def test_who_decides_for_somebody_else_needs_no_word_of_the_directory(crowd: Crowd) -> None:
    token = crowd.person("linus")
    assert _delegate(crowd, crowd.person("maud", LEADS)).status == 201
    crowd.directory.error = Unavailable("Graph is down")
    assert crowd.decide(token=token).status == 202
    (vote,) = crowd.desk.votes(crowd.request)
    assert (vote.voter, vote.on_behalf_of, vote.groups) == ("oid-linus", "oid-maud", [LEADS])


def test_the_page_says_why_nobody_may_decide_now(crowd: Crowd) -> None:
    token = crowd.person("maud", LEADS)
    crowd.directory.error = Unavailable("group membership can't be resolved")
    page = ask("review_page", token=token, promotion=crowd.row.id, query={"token": crowd.link})
    assert page.status == 200
    assert "group membership can&#39;t be resolved" in page.value
    assert "Approve this plan" not in page.value
