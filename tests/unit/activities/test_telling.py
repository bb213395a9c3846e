"""What a message says of a promotion: against what serves, what the gates found, time and cost, and of whom it asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from activities.telling import notify
from pilotage import bootstrap
from pilotage.domain.notices import WHY
from pilotage.domain.passport import Entry
from pilotage.domain.phase import PromotionPhase
from pilotage.ports import Notification
from tests.support.desk import Desk
from tests.support.fakes import Asset
from tests.support.memory import RecordingNotifier
from tests.support.scene import Scene, policy

MLMODEL = "flavors: {{}}\nsignature:\n  inputs: '[{{\"name\": \"{}\", \"type\": \"long\"}}]'\n  outputs: '[{{\"type\": \"double\"}}]'\n"


@pytest.fixture
def asked() -> Notification:
    """Of a second version, whose signature is another, while the first serves."""
    scene = Scene(policy(**{"stages.0.gates": [{"smoke": {"samples": "azureml:requests@latest"}}],
                            "stages.1.target.instance_cost_per_hour": 0.5}))
    scene.promote("1", Asset(files={"model.pkl": b"1", "MLmodel": MLMODEL.format("hour").encode()}))
    scene.register("2", Asset(files={"model.pkl": b"2", "MLmodel": MLMODEL.format("minute").encode()}))
    promotion = scene.start("2")
    scene.hub.run(lambda: "fact approval.announced" in scene.steps(promotion))
    return next(note for note in reversed(scene.notifier.sent) if note.kind == "awaiting_approval")


def test_a_request_says_what_why_now_what_was_found_and_what_it_costs(asked: Notification) -> None:
    assert asked.why == WHY["awaiting_approval"]
    facts = dict(asked.facts)
    assert facts.pop("plan").startswith("sha256:")
    assert facts.pop("model digest").startswith("sha256:")
    assert facts == {
        "version": "air-time:2", "target": "mlw-prod/air-time", "serves now": "air-time:1 100 %",
        "signature": "input minute added (long); input hour removed (long)", "votes": "0 of 1 approvals",
        "who may decide": "group:ml-leads", "expires": facts["expires"]}
    assert list(asked.gates) == ["in all", "smoke"]
    assert (asked.gates["in all"], asked.gates["smoke"][:8]) == ("1 passed", "passed: ")
    assert list(asked.outlook) == ["takes about", "window", "cost"]
    assert "365.0 a month" in asked.outlook["cost"]
    assert asked.link.endswith(f"?token={asked.link_token}")


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    bootstrap.use(None)


def sent(desk: Desk, **payload: Any) -> Notification:
    app = desk.app()
    bootstrap.use(app)
    notify({"title": "t", "text": "x", "facts": {}, **payload})
    assert isinstance(app.notifier, RecordingNotifier)
    return app.notifier.sent[0]


def test_the_worst_gates_come_first_and_waived_ones_are_told_as_such(desk: Desk) -> None:
    row = desk.promotion(PromotionPhase.AWAITING_APPROVAL)
    results = [{"gate": "smoke", "outcome": "passed", "message": "fine", "waived": None},
               {"gate": "responsible_ai", "outcome": "failed", "message": "JFK is off", "waived": {"by": "oid-dora"}},
               {"gate": "champion", "outcome": "inconclusive", "message": "too few rows", "waived": None}]
    desk.ledger.passports.append(Entry(passport=row.id, sequence=0, at="2026-01-05T09:00:00.000+00:00", kind="outcome",
                                       step="staging.gates", phase="staging", data={"results": results}))
    request, _ = desk.open_approval(row)
    found = sent(desk, kind="reminder", promotion=row.id, stage="production", plan_hash=request.plan_hash, round=1,
                 expires_at=request.expires_at)
    assert list(found.gates.items()) == [
        ("in all", "1 passed, 1 waived, 1 inconclusive"), ("champion", "inconclusive: too few rows"),
        ("responsible_ai", "waived: JFK is off"), ("smoke", "passed: fine")]
    assert found.facts["serves now"] == "nothing"


def test_a_message_of_a_plan_that_is_asked_about_no_more_tells_nothing_of_the_new_one(desk: Desk) -> None:
    row = desk.promotion(PromotionPhase.AWAITING_APPROVAL)
    old, _ = desk.open_approval(row)
    desk.open_approval(row, round=2, steps=50)
    found = sent(desk, kind="reminder", promotion=row.id, stage="production", plan_hash=old.plan_hash, round=1, expires_at=old.expires_at)
    assert (found.facts, found.gates, found.outlook) == ({}, {}, {})


def test_what_has_no_page_is_told_without_a_link(desk: Desk) -> None:
    incident = sent(desk, kind="drift_notified", promotion="drift-air-time-abc-1")
    assert (incident.link, incident.link_token, incident.why) == ("", "", WHY["drift_notified"])
    row = desk.promotion(PromotionPhase.SUCCEEDED)
    assert sent(desk, kind="decided", promotion=row.id).link == f"https://pilotage.example/api/ui/promotions/{row.id}"
