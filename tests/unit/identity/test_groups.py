"""Groups that do not fit into a token: asked for by object id, remembered for a minute, and never guessed."""

from __future__ import annotations

from typing import Any

import pytest

from pilotage import bootstrap
from pilotage.domain.access import Actor
from pilotage.errors import Forbidden, PermissionDenied, PilotageError, Throttled, Unavailable
from pilotage.identity import GraphGroups
from pilotage.identity.groups import AT_ONCE, KEEP_FOR
from tests.support.desk import Desk

LEADS, RISK, OTHER = (f"00000000-0000-0000-0000-00000000000{number}" for number in (1, 2, 3))
PERSON = "0b6d5f6e-8c1a-4a57-9d39-5d1e8f6a0004"


class Graph:
    """Answers `checkMemberGroups`."""

    def __init__(self, *member_of: str) -> None:
        self.member_of, self.asked = [*member_of], list[tuple[str, list[str]]]()
        self.answer: tuple[int, Any] | None = None

    def post(self, url: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.asked.append((url, body["groupIds"]))
        return self.answer or (200, {"value": [group for group in body["groupIds"] if group.casefold() in self.member_of]})


class Watch:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_only_the_named_groups_are_asked_for_and_only_once_a_minute() -> None:
    graph, watch = Graph(LEADS), Watch()
    groups = GraphGroups("https://graph.example/", graph.post, watch)
    assert groups.of(PERSON, [LEADS, RISK]) == [LEADS]
    assert groups.of(PERSON.upper(), [RISK.upper(), LEADS]) == [LEADS]
    assert graph.asked == [(f"https://graph.example/v1.0/users/{PERSON}/checkMemberGroups", [LEADS, RISK])]
    groups.of(PERSON, [LEADS, OTHER])
    assert graph.asked[1][1] == [OTHER]
    graph.member_of = []
    watch.now += KEEP_FOR + 1
    assert groups.of(PERSON, [LEADS]) == [], "who has left is out"


def test_one_persons_answer_is_not_anothers() -> None:
    graph = Graph(LEADS)
    groups = GraphGroups("https://graph.example", graph.post)
    assert groups.of(PERSON, [LEADS]) == [LEADS]
    graph.member_of = []
    assert groups.of("somebody-else", [LEADS]) == []


def test_many_groups_are_asked_for_in_parts() -> None:
    graph = Graph()
    GraphGroups("https://graph.example", graph.post).of(PERSON, [f"g-{number}" for number in range(AT_ONCE + 1)])
    assert [len(asked) for _, asked in graph.asked] == [AT_ONCE, 1]


def test_an_object_id_stays_one_part_of_the_path() -> None:
    graph = Graph()
    GraphGroups("https://graph.example", graph.post).of("../groups/x?y#z", [LEADS])
    assert graph.asked[0][0] == "https://graph.example/v1.0/users/..%2Fgroups%2Fx%3Fy%23z/checkMemberGroups"


@pytest.mark.parametrize(("answer", "error"), [
    ((401, None), PermissionDenied), ((403, {"error": {}}), PermissionDenied), ((404, {"error": {}}), Forbidden), ((400, {}), Forbidden),
    ((429, {}), Throttled), ((500, None), Unavailable), ((503, {}), Unavailable), ((200, None), Unavailable),
    ((200, {"value": "all"}), Unavailable)])
def test_without_an_answer_nobody_is_a_member_and_nothing_is_remembered(answer: tuple[int, Any], error: type[PilotageError]) -> None:
    graph = Graph(LEADS)
    groups = GraphGroups("https://graph.example", graph.post)
    graph.answer = answer
    with pytest.raises(error):
        groups.of(PERSON, [LEADS])
    graph.answer = None
    assert groups.of(PERSON, [LEADS]) == [LEADS]


def test_a_graph_that_is_down_is_told_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    class Credential:
        def get_token(self, scope: str) -> Any:
            assert scope == "https://127.0.0.1:1/.default"
            return type("Token", (), {"token": "secret"})

    monkeypatch.setattr("pilotage.credentials.credential", lambda: Credential())
    with pytest.raises(Unavailable, match="ConnectError") as caught:
        GraphGroups("https://127.0.0.1:1").of(PERSON, [LEADS])
    assert caught.value.__cause__ is None


# --- an actor and a rule --------------------------------------------------------------------------

CROWDED = Actor(object_id=PERSON, groups_overage=True)


class Directory:
    def __init__(self, *member_of: str) -> None:
        self.member_of, self.asked = member_of, list[list[str]]()

    def of(self, object_id: str, candidates: Any) -> list[str]:
        self.asked.append(list(candidates))
        return [group for group in candidates if group in self.member_of]


def _app(directory: Directory) -> bootstrap.App:
    import dataclasses

    return dataclasses.replace(Desk().app(), groups=directory)


def test_the_directory_is_asked_about_the_groups_that_the_rule_names() -> None:
    directory = Directory(LEADS, OTHER)
    actor = _app(directory).with_groups(CROWDED, [f"group:{LEADS}", "user:x", f"group:{RISK}", "group:by-name", f"group:{LEADS}"])
    assert actor.groups == [LEADS]
    assert directory.asked == [[LEADS, RISK]]


def test_a_token_with_groups_or_a_rule_without_them_asks_nobody() -> None:
    directory = Directory(LEADS)
    told = Actor(object_id=PERSON, groups=["ml-leads"])
    assert _app(directory).with_groups(told, [f"group:{LEADS}"]) is told
    assert _app(directory).with_groups(CROWDED, [f"user:{PERSON}"]) is CROWDED
    assert directory.asked == []


def test_a_display_name_cannot_be_asked_about() -> None:
    this = _app(Directory("ml-leads"))
    with pytest.raises(Forbidden, match="by object id"):
        this.with_groups(CROWDED, ["group:ml-leads"])
    assert this.with_groups(CROWDED, ["group:ml-leads", f"user:{PERSON.upper()}"]).groups == [], "who is named in person needs no group"


def test_an_app_without_a_directory_fails_closed() -> None:
    with pytest.raises(Unavailable):
        Desk().app().with_groups(CROWDED, [f"group:{LEADS}"])
