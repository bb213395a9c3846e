"""Held by a window or a freeze: never rejected for the hour, told until when, and no rollback waits for it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pilotage.domain.approval import Decision
from pilotage.domain.policy import Guardrails
from pilotage.messages import ROLLBACK_EVENT
from tests.support.scene import Scene, everything_replays, policy

NEVER_NOW = {"timezone": "UTC", "allow": [{"rule": "FREQ=WEEKLY;BYDAY=SU;BYHOUR=3", "for": "PT2H"}]}
"""Sunday nights; the scene begins on a Monday."""


def _scene(**changes: Any) -> Scene:
    return Scene(policy(**changes))


def _asked(scene: Scene) -> str:
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: scene.ledger.approvals.current(promotion) is not None)
    return promotion


def test_an_approved_rollout_is_held_until_the_window_opens() -> None:
    scene = _scene(**{"stages.1.windows": NEVER_NOW, "stages.1.approval.expires": "P7D"})
    promotion = _asked(scene)
    scene.vote(promotion)
    scene.hub.run(lambda: scene.phase(promotion) == "waiting_window")
    row = scene.row(promotion)
    assert row.held_until.startswith("2026-01-11T03:00:00")
    assert "the rollout is held until 2026-01-11" in row.message
    assert scene.ledger.endpoints.all() == [], "nothing has touched production"
    scene.hub.run()
    assert scene.phase(promotion) == "succeeded"
    assert scene.row(promotion).held_until == ""
    moved = [entry.at for entry in scene.entries(promotion) if entry.step == "rollout.traffic"]
    assert all(at.startswith("2026-01-11T0") for at in moved), "each step of the traffic was moved inside the window"
    assert "waiting_window" in [message.kind for message in scene.notifier.sent]
    everything_replays(scene)


def test_people_are_not_asked_before_the_window_where_it_covers_the_approval() -> None:
    scene = _scene(**{"stages.1.windows": NEVER_NOW | {"covers": ["approval"]}})
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: scene.phase(promotion) == "waiting_window")
    assert scene.ledger.approvals.current(promotion) is None
    scene.hub.run(lambda: scene.ledger.approvals.current(promotion) is not None)
    assert scene.clock.now().isoformat().startswith("2026-01-11T03:00")
    scene.vote(promotion)
    scene.hub.run()
    assert scene.phase(promotion) == "succeeded"
    everything_replays(scene)


def test_a_freeze_of_the_platform_holds_what_was_planned_before_it_and_may_be_lifted_early() -> None:
    scene = _scene()
    promotion = _asked(scene)
    floors = scene.policies.floors
    scene.policies.floors = Guardrails.model_validate({**floors.model_dump(mode="json"), "freezes": [
        {"from": "2026-01-01", "until": "2026-02-01", "reason": "year-end closing"}]})
    scene.vote(promotion)
    scene.hub.run(lambda: scene.phase(promotion) == "waiting_window")
    assert "year-end closing" in scene.row(promotion).message
    scene.policies.floors = floors
    scene.hub.run()
    assert scene.phase(promotion) == "succeeded"
    assert scene.clock.now().isoformat() < "2026-01-10", "somebody looks twice a day"
    everything_replays(scene)


def test_a_rollback_passes_while_the_rest_of_its_rollout_is_held() -> None:
    scene = _scene(**{"stages.1.windows": {"timezone": "UTC", "allow": [{"rule": "FREQ=DAILY;BYHOUR=9", "for": "PT1H"}]},
                      "stages.1.rollout.steps": [{"traffic": 10, "for": "PT2H"}, {"traffic": 100}]})
    scene.promote("1")
    before = scene.traffic()
    scene.register("2")
    promotion = scene.start("2")
    scene.hub.run(lambda: scene.ledger.approvals.current(promotion) is not None)
    scene.vote(promotion)
    scene.hub.run(lambda: scene.traffic() != before and scene.phase(promotion) == "waiting_window")
    held = scene.clock.now()
    scene.roll_back(promotion)
    scene.hub.run(lambda: scene.traffic() == before)
    assert scene.clock.now() - held < timedelta(minutes=10)
    scene.hub.run()
    assert scene.phase(promotion) == "rolled_back"
    scene.sound()
    everything_replays(scene)


def test_a_wake_up_that_no_rollback_follows_goes_on_waiting_and_then_rolls_out() -> None:
    scene = _scene(**{"stages.1.windows": {"timezone": "UTC", "allow": [{"rule": "FREQ=DAILY;BYHOUR=9", "for": "PT1H"}]},
                      "stages.1.rollout.steps": [{"traffic": 10, "for": "PT2H"}, {"traffic": 100, "for": "PT10M"}]})
    scene.promote("1")
    scene.register("2")
    promotion = scene.start("2")
    scene.hub.run(lambda: scene.ledger.approvals.current(promotion) is not None)
    scene.vote(promotion)
    scene.hub.run(lambda: len(scene.traffic()) == 2 and scene.phase(promotion) == "waiting_window")
    scene.hub.raise_event(f"{promotion}:rollout", ROLLBACK_EVENT, {"id": "nobody"})
    scene.hub.run(lambda: scene.traffic() == {scene.green(promotion): 100})
    assert scene.clock.now().hour == 9, "it waited for the window all the same"
    assert (scene.phase(promotion), scene.row(promotion).held_until) == ("rolling_out", "")
    scene.hub.run()
    assert scene.phase(promotion) == "succeeded"
    everything_replays(scene)


def test_staging_is_held_by_windows_of_its_own_though_nobody_is_asked() -> None:
    scene = _scene(**{"stages.0.windows": NEVER_NOW})
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: scene.phase(promotion) == "waiting_window")
    assert scene.azure.standing("mlw-staging", "air-time-stg") == []
    scene.hub.run(lambda: scene.phase(promotion) == "staging")
    assert scene.clock.now().isoformat().startswith("2026-01-11T03:00")


def test_who_breaks_the_glass_is_held_by_nothing() -> None:
    scene = _scene(**{"stages.1.windows": NEVER_NOW, "stages.1.approval.break_glass": {"approvers": ["group:on-call"]}})
    promotion = _asked(scene)
    for voter in ("oid-otto", "oid-olga"):
        scene.vote(promotion, voter, Decision.BREAK_GLASS, reason="production is down", groups=("on-call",))
    scene.hub.run(deadline=scene.clock.now() + timedelta(hours=6))
    assert scene.phase(promotion) == "succeeded"
    assert "waiting_window" not in [entry.phase for entry in scene.entries(promotion)]
    assert [item["promotion"] for item in scene.ledger.voices.reviews_due()] == [promotion]
    assert scene.last(promotion, "approval")["tally"]["broken_glass_by"] == ["oid-olga", "oid-otto"]
    scene.sweep()
    assert "review_due" in [message.kind for message in scene.notifier.sent]
    everything_replays(scene)


def test_an_older_version_that_waits_is_superseded_by_a_newer_one() -> None:
    scene = _scene(**{"stages.1.approval.quorum": 2})
    older = _asked(scene)
    scene.vote(older)
    scene.register("2")
    newer = scene.start("2")
    scene.hub.run(lambda: scene.phase(older) == "superseded" and scene.ledger.approvals.current(newer) is not None)
    assert scene.row(older).message == f"superseded by {newer}, a newer version for the same endpoint"
    for voter in ("oid-grace", "oid-linus"):
        scene.vote(newer, voter)
    scene.hub.run()
    assert (scene.phase(newer), scene.phase(older)) == ("succeeded", "superseded")
    assert "superseded" in [message.kind for message in scene.notifier.sent if message.promotion == older]
    everything_replays(scene)


def test_reminders_and_the_escalation_come_in_their_time() -> None:
    scene = _scene(**{"stages.1.approval": {"quorum": 1, "approvers": ["group:ml-leads"], "expires": "P3D", "remind": "P1D",
                                            "escalate": {"after": "PT36H", "to": ["group:directors"]}}})
    promotion = _asked(scene)
    scene.vote(promotion, "oid-dora", groups=("directors",))
    scene.hub.run(lambda: "fact approval.escalated" in scene.steps(promotion))
    assert scene.ledger.approvals.closed(scene.ledger.approvals.current(promotion)) is None, "she was not asked then"
    scene.vote(promotion, "oid-dirk", groups=("directors",))
    scene.hub.run()
    assert scene.phase(promotion) == "succeeded"
    assert [kind for kind in (message.kind for message in scene.notifier.sent) if kind != "waiting_window"][:3] == [
        "awaiting_approval", "reminder", "escalated"]
    everything_replays(scene)


def test_staging_asks_too_where_the_policy_says_so() -> None:
    scene = _scene(**{"stages.0.approval": {"quorum": 1, "approvers": ["group:ml-leads"], "expires": "P1D"}})
    promotion = _asked(scene)
    asked = scene.ledger.approvals.current(promotion)
    assert asked is not None
    assert (asked.stage, asked.plan.evidence) == ("staging", [])
    assert [item["action"] for item in asked.plan.resources] == ["ensure", "create", "test", "delete"]
    assert scene.azure.standing("mlw-staging", "air-time-stg") == []
    scene.vote(promotion)
    scene.hub.run(lambda: (scene.ledger.approvals.current(promotion) or asked).stage == "production")
    scene.vote(promotion)
    scene.hub.run()
    assert scene.phase(promotion) == "succeeded"
    everything_replays(scene)
