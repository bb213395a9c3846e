"""`approval`: people decide on one plan, by records; events only wake, and time ends it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pilotage.domain.approval import Decision
from pilotage.errors import Unavailable
from pilotage.messages import VOTE_EVENT
from tests.support.scene import Scene, everything_replays, policy

TWO = {"stages.1.approval": {"quorum": 2, "approvers": ["group:ml-leads", "user:oid-linus"], "expires": "P7D"}}


def _asked(scene: Scene) -> str:
    """A promotion whose voters are asked, and nothing else to do."""
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: "fact approval.announced" in scene.steps(promotion))
    assert scene.phase(promotion) == "awaiting_approval"
    return promotion


def _waits(scene: Scene) -> None:
    """Let a day pass: nobody does anything meanwhile."""
    before = len(scene.hub.executed)
    scene.hub.run(deadline=scene.clock.now() + timedelta(days=1))
    assert len(scene.hub.executed) == before, "waiting costs nothing"


def test_waiting_costs_nothing_and_one_vote_of_a_quorum_decides(scene: Scene) -> None:
    promotion = _asked(scene)
    _waits(scene)
    scene.vote(promotion)
    scene.hub.run()
    assert scene.phase(promotion) == "succeeded"
    told = scene.last(promotion, "approval")
    assert (told["outcome"], told["tally"]["approvals"]) == ("approved", ["oid-grace"])
    everything_replays(scene)


def test_a_quorum_is_of_different_people() -> None:
    scene = Scene(policy(**TWO))
    promotion = _asked(scene)
    scene.vote(promotion)
    scene.vote(promotion)
    scene.intake.wake(scene.ledger.approvals.votes(scene.ledger.approvals.current(promotion))[0])
    scene.hub.run(deadline=scene.clock.now() + timedelta(days=1))
    assert scene.phase(promotion) == "awaiting_approval"
    scene.vote(promotion, "oid-linus", groups=())
    scene.hub.run()
    assert scene.phase(promotion) == "succeeded"
    assert scene.last(promotion, "approval")["tally"]["approvals"] == ["oid-grace", "oid-linus"]
    everything_replays(scene)


def test_votes_and_wake_ups_in_one_turn_lose_none() -> None:
    scene = Scene(policy(**TWO))
    promotion = _asked(scene)
    for _ in range(3):
        scene.hub.raise_event(f"{promotion}:approval", VOTE_EVENT, {"id": "nobody"})
    scene.vote(promotion)
    scene.vote(promotion, "oid-linus", groups=())
    scene.hub.run()
    assert scene.phase(promotion) == "succeeded"
    everything_replays(scene)


def test_a_vote_before_the_wait_has_begun_counts(scene: Scene) -> None:
    """The request is open as soon as its record is written; the event may be there before anybody waits for it."""
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: scene.ledger.approvals.current(promotion) is not None)
    scene.vote(promotion)
    scene.hub.run()
    assert scene.phase(promotion) == "succeeded"


def test_a_rejection_ends_it_with_its_reason() -> None:
    scene = Scene(policy(**TWO))
    promotion = _asked(scene)
    scene.vote(promotion)
    scene.vote(promotion, "oid-linus", Decision.REJECT, reason="not on a Friday", groups=())
    scene.hub.run()
    assert scene.phase(promotion) == "rejected"
    assert scene.row(promotion).message == "rejected by oid-linus: not on a Friday"
    assert scene.ledger.endpoints.all() == [], "production was not even asked for"
    scene.sound()
    everything_replays(scene)


def test_nobody_in_time_is_expired_to_the_second(scene: Scene) -> None:
    promotion = _asked(scene)
    wanted = scene.ledger.approvals.current(promotion)
    assert wanted is not None
    scene.hub.run()
    assert scene.phase(promotion) == "expired"
    assert "0 of 1 approvals" in scene.row(promotion).message
    assert scene.clock.now().isoformat(timespec="milliseconds") == wanted.expires_at
    everything_replays(scene)


def test_timers_longer_than_the_platforms_longest_expire_in_their_time() -> None:
    scene = Scene(policy(**TWO))
    promotion = _asked(scene)
    scene.vote(promotion)
    scene.hub.run()
    assert scene.phase(promotion) == "expired"
    wanted = scene.ledger.approvals.current(promotion)
    assert wanted is not None
    assert scene.clock.now().isoformat(timespec="milliseconds") == wanted.expires_at
    everything_replays(scene)


def test_a_vote_whose_wake_up_was_lost_counts_at_expiry_or_with_the_outbox(scene: Scene) -> None:
    promotion = _asked(scene)
    scene.vote(promotion, wake=False)
    late = scene.fork()
    scene.hub.run()
    assert scene.phase(promotion) == "succeeded", "at expiry the records are counted once more"
    _waits(late)
    assert late.intake.deliver_outbox()["woken"] == 1
    late.hub.run()
    assert late.phase(promotion) == "succeeded"
    assert late.clock.now() < scene.clock.now()


@pytest.mark.parametrize(("voter", "groups", "why"), [
    ("oid-ada", ("ml-leads",), "the voter is this model's registrant"),
    ("oid-zoe", (), "the policy does not name this voter"),
])
def test_votes_that_do_not_count_are_told(scene: Scene, voter: str, groups: tuple[str, ...], why: str) -> None:
    """The endpoint refuses these; should such a record exist all the same, it is not counted."""
    promotion = _asked(scene)
    scene.vote(promotion, voter, groups=groups)
    scene.hub.run()
    assert scene.phase(promotion) == "expired"
    assert scene.last(promotion, "approval")["tally"]["refused"] == {voter: why}


def test_a_submitter_nobody_can_name_lets_nobody_approve(scene: Scene) -> None:
    scene.azure.known.clear()
    promotion = _asked(scene)
    scene.vote(promotion)
    scene.hub.run()
    assert scene.phase(promotion) == "expired"
    assert "could not be resolved" in scene.last(promotion, "approval")["tally"]["refused"]["oid-grace"]


def test_a_vote_on_another_plan_changes_nothing(scene: Scene) -> None:
    """Records of the attempt before, or of a plan that was never put before anybody."""
    promotion = _asked(scene)
    vote = {"promotion": promotion, "stage": "production", "voter": "oid-grace", "decision": "approve", "cast_at": "2026"}
    from pilotage.domain.approval import Vote

    scene.ledger.approvals.vote(Vote.model_validate(vote | {"plan_hash": "sha256:00", "round": 1}))
    scene.ledger.approvals.vote(Vote.model_validate(vote | {"plan_hash": scene.row(promotion).plan_hash, "round": 2}))
    scene.hub.raise_event(f"{promotion}:approval", VOTE_EVENT, {"id": "x"})
    scene.hub.run()
    assert scene.phase(promotion) == "expired"


def test_a_channel_that_is_down_holds_no_vote_up_and_is_told(scene: Scene) -> None:
    scene.notifier.error = Unavailable("the webhook answered 503")
    scene.register("1")
    promotion = scene.start("1")
    slow = scene.fork()
    slow.finish(promotion)
    assert slow.phase(promotion) == "succeeded"
    assert "fact approval.announced" not in slow.steps(promotion)
    assert slow.clock.now() - scene.clock.now() < timedelta(hours=1)

    scene.hub.run(deadline=scene.clock.now() + timedelta(hours=1))
    failed = [entry.data for entry in scene.entries(promotion) if entry.step == "approval.announcement_failed"]
    assert failed == [{"error": "Unavailable: the webhook answered 503"}]
    scene.vote(promotion)
    scene.hub.run()
    assert scene.phase(promotion) == "succeeded"
    everything_replays(scene)


def test_what_is_told_has_all_that_a_decision_needs_and_its_token_is_nowhere_else(scene: Scene) -> None:
    promotion = _asked(scene)
    message = scene.notifier.sent[0]
    assert message.kind == "awaiting_approval"
    assert message.decision_url == f"https://pilotage.example/api/approvals/{promotion}/decision"
    assert scene.tickets.redeem(message.link_token).plan_hash == scene.row(promotion).plan_hash
    scene.sound()
