"""`rollback`: never blocked, exact, and the last word; what it can't do is said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from pilotage.errors import Conflict, PermissionDenied, Unavailable
from pilotage.messages import RollbackRequest
from pilotage.ports import DeploymentSpec
from tests.support.hub import Work
from tests.support.scene import DEV, ENDPOINT, PROD, Scene, everything_replays, live


def _restored(scene: Scene, rollback: str, traffic: dict[str, int]) -> None:
    assert scene.hub.output(rollback)["restored"] is True, scene.hub.output(rollback)["message"]
    assert scene.traffic() == traffic
    assert scene.endpoint().owner is None
    scene.sound()
    everything_replays(scene)


def test_one_call_restores_what_served_before() -> None:
    scene, (first, second) = live("1", "2")
    rollback = scene.roll_back(second)
    begun = scene.clock.now()
    scene.hub.run()
    _restored(scene, rollback, {scene.green(first): 100})
    assert scene.clock.now() - begun < timedelta(seconds=10), "nobody was at work: nobody is waited for"
    assert (scene.phase(first), scene.phase(second)) == ("succeeded", "rolled_back")
    assert scene.row(second).message == "rolled back: it is too slow"
    owned = scene.endpoint()
    assert owned.live is not None
    assert owned.live.promotion == first
    assert [item.deployment for item in owned.retained] == [scene.green(second)]
    steps = scene.steps(rollback)
    assert steps[0] == "fact rollback.accepted"
    assert steps.index("intent rollback.traffic") < steps.index("outcome rollback")
    accepted = scene.entries(rollback)[0].data
    assert (accepted["actor"], accepted["reason"], accepted["displaced"]) == ("oid-olive", "it is too slow", None)


def test_asking_twice_starts_one() -> None:
    scene, (_, second) = live("1", "2")
    first_call = scene.roll_back(second)
    assert scene.roll_back(second) == first_call
    scene.hub.run()
    assert scene.roll_back(second) == first_call
    assert sum(instance.name == "rollback" for instance in scene.hub.durable.instances.values()) == 1


def test_the_version_after_a_rollback_is_promoted_as_usual() -> None:
    scene, (first, second) = live("1", "2")
    scene.roll_back(second)
    scene.hub.run()
    third = scene.promote("3")
    assert scene.last(third, "rollout.last_good")["traffic"] == {scene.green(first): 100}
    assert scene.traffic() == {scene.green(third): 100}


def test_rolling_back_a_first_deployment_means_no_traffic() -> None:
    scene, (promotion,) = live("1")
    rollback = scene.roll_back(promotion)
    scene.hub.run()
    _restored(scene, rollback, {})
    assert scene.endpoint().live is None
    assert [item.deployment for item in scene.endpoint().retained] == [scene.green(promotion)]


def test_what_was_removed_is_deployed_again_as_it_was() -> None:
    scene, (first, second) = live("1", "2")
    blue = scene.green(first)
    before = scene.azure.deployment(PROD, ENDPOINT, blue)
    scene.azure.remove(PROD, ENDPOINT, blue)
    rollback = scene.roll_back(second)
    scene.hub.run()
    _restored(scene, rollback, {blue: 100})
    assert scene.azure.deployment(PROD, ENDPOINT, blue) == before
    steps = scene.steps(rollback)
    assert steps.index("intent rollback.redeploy") < steps.index("outcome rollback.redeploy") < steps.index("intent rollback.traffic")


def test_what_is_just_being_removed_is_waited_for_and_deployed_again() -> None:
    """The sweeper and the rollback meet: traffic on a deployment that is being deleted would be lost with it."""
    scene, (first, second) = live("1", "2")
    scene.azure.begin_delete_deployment(PROD, ENDPOINT, scene.green(first))
    rollback = scene.roll_back(second)
    scene.hub.run()
    _restored(scene, rollback, {scene.green(first): 100})


@pytest.mark.parametrize("share", [10, 100])
def test_a_rollback_during_a_bake_wins_and_the_rollout_stops(share: int) -> None:
    scene, (first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.until_traffic(second, share)
    begun = scene.clock.now()
    rollback = scene.roll_back(second)
    scene.hub.run(lambda: scene.phase(second) == "rolled_back" and scene.hub.durable.instances[second].over)
    assert scene.clock.now() - begun < timedelta(minutes=1), "the bake is over at once"
    assert scene.traffic() == {scene.green(first): 100}
    scene.hub.run()
    _restored(scene, rollback, {scene.green(first): 100})
    assert scene.entries(rollback)[0].data["displaced"] == second
    assert scene.steps(second).count("intent rollout.traffic") == (1 if share == 10 else 2), "no step was begun after it"


ORDERS: dict[str, Callable[[Sequence[Work]], int]] = {
    "the rollout first": lambda due: next((at for at, work in enumerate(due) if ":rollout" in work.instance), 0),
    "the rollback first": lambda due: next((at for at, work in enumerate(due) if work.instance.startswith("rollback-")), 0),
    "the last one first": lambda due: len(due) - 1,
}


@pytest.mark.parametrize("share", [10, 100])
@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_whoever_is_quicker_the_rollback_has_the_last_word(order: str, share: int) -> None:
    """Its wake-up call may arrive long before it has the endpoint, or the rollout's last entries long after it was over."""
    scene, (first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.until_traffic(second, share)
    scene.hub.choose = ORDERS[order]
    rollback = scene.roll_back(second)
    scene.hub.run()
    _restored(scene, rollback, {scene.green(first): 100})
    assert scene.phase(second) == "rolled_back"
    live_now = scene.endpoint().live
    assert live_now is not None
    assert live_now.promotion == first


def test_a_promotion_that_ends_after_its_rollback_stays_rolled_back() -> None:
    """The rollout had given the endpoint up already; its promotion's last entry comes when all is over."""
    scene, (first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.until_traffic(second, 100)
    scene.hub.run(lambda: scene.endpoint().owner is None)
    scene.hub.choose = ORDERS["the rollback first"]
    rollback = scene.roll_back(second)
    scene.hub.run(lambda: scene.hub.durable.instances[rollback].over)
    scene.hub.run()
    _restored(scene, rollback, {scene.green(first): 100})
    assert scene.entries(second)[-1].phase == "succeeded", "as far as it knew"
    assert scene.phase(second) == "rolled_back"


def test_a_change_that_was_on_its_way_is_outlasted() -> None:
    """The displaced rollout had passed its check; its write lands when the split has been restored already."""
    scene, (first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.until_traffic(second, 10)
    rollback = scene.roll_back(second)
    scene.hub.run(lambda: "intent rollback.traffic" in scene.steps(rollback) and scene.traffic() == {scene.green(first): 100})
    scene.hub.run(deadline=scene.clock.now() + timedelta(seconds=60))
    assert scene.hub.state(rollback) == "RUNNING"
    scene.azure.begin_set_traffic(PROD, ENDPOINT, {scene.green(second): 100})
    scene.hub.run()
    _restored(scene, rollback, {scene.green(first): 100})


def test_a_rollback_before_any_traffic_only_stops_the_rollout() -> None:
    scene, (first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.hub.run(lambda: scene.ledger.approvals.current(second) is not None)
    scene.vote(second)
    scene.hub.run(lambda: "fact rollout.acquired" in scene.steps(second))
    rollback = scene.roll_back(second)
    scene.hub.run()
    assert scene.hub.output(rollback)["restored"] is True
    assert scene.phase(second) == "rolled_back"
    assert scene.traffic() == {scene.green(first): 100}
    assert not any(change[0] == "begin_set_traffic" and scene.green(second) in change[3] for change in scene.azure.changes)
    assert scene.endpoint().owner is None


def test_a_rollback_before_its_turn_in_the_queue_keeps_it_out(scene: Scene) -> None:
    scene.ledger.endpoints.acquire(PROD, ENDPOINT, "somebody", "other", "1", lambda owner: False)
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: scene.ledger.approvals.current(promotion) is not None)
    scene.vote(promotion)
    scene.hub.run(lambda: scene.phase(promotion) == "queued")
    scene.hub.start("rollback", "rollback-x", RollbackRequest(
        id="rollback-x", promotion=promotion, workspace=PROD, endpoint=ENDPOINT, reason="stop", at=scene.clock.now().isoformat()).wire())
    scene.hub.run()
    assert scene.phase(promotion) == "rolled_back"
    assert scene.azure.standing(PROD, ENDPOINT) == []


def test_azure_being_down_for_hours_delays_a_rollback_and_does_not_end_it() -> None:
    scene, (first, second) = live("1", "2")
    scene.azure.fail("begin_set_traffic", Unavailable("503"), times=40)
    rollback = scene.roll_back(second)
    begun = scene.clock.now()
    scene.hub.run()
    _restored(scene, rollback, {scene.green(first): 100})
    assert scene.clock.now() - begun > timedelta(hours=2)


def test_an_endpoint_whose_last_change_failed_is_written_again() -> None:
    """It reads as wanted; whether it serves so is another question."""
    scene, (first, second) = live("1", "2")
    scene.azure.place(PROD, ENDPOINT, None, {scene.green(first): 100})
    scene.azure.break_endpoint(PROD, ENDPOINT)
    rollback = scene.roll_back(second)
    scene.hub.run()
    _restored(scene, rollback, {scene.green(first): 100})
    assert scene.azure.changes[-1][0] == "begin_set_traffic"


def _not_restored(scene: Scene, rollback: str, says: str) -> None:
    told = scene.hub.output(rollback)
    assert told["restored"] is False
    assert says in told["message"]
    assert scene.last(rollback, "rollback")["restored"] is False
    scene.sound()
    everything_replays(scene)


def test_what_it_cannot_do_is_said_and_the_next_attempt_may_come() -> None:
    scene, (first, second) = live("1", "2")
    before = scene.endpoint().live
    scene.azure.fail("begin_set_traffic", PermissionDenied("AzureML Data Scientist is missing"))
    rollback = scene.roll_back(second)
    scene.hub.run()
    _not_restored(scene, rollback, "begin_traffic: PermissionDenied: AzureML Data Scientist is missing")
    assert (scene.phase(second), scene.endpoint().live, scene.endpoint().owner) == ("succeeded", before, None)
    again = scene.roll_back(second)
    assert again != rollback
    scene.hub.run()
    _restored(scene, again, {scene.green(first): 100})


@pytest.mark.parametrize("error", [Conflict("exists otherwise"), PermissionDenied("no quota")])
def test_blue_that_cannot_be_deployed_again_is_said(error: Exception) -> None:
    scene, (first, second) = live("1", "2")
    scene.azure.remove(PROD, ENDPOINT, scene.green(first))
    scene.azure.fail("begin_create_deployment", error)
    rollback = scene.roll_back(second)
    scene.hub.run()
    _not_restored(scene, rollback, str(error))
    assert scene.traffic() == {scene.green(second): 100}, "what serves is better than nothing"


def test_blue_that_does_not_start_again_is_said() -> None:
    scene, (first, second) = live("1", "2")
    scene.azure.remove(PROD, ENDPOINT, scene.green(first))
    scene.azure.assets["registry:shared-registry", "models", "air-time", "1"].starts = False
    rollback = scene.roll_back(second)
    scene.hub.run()
    _not_restored(scene, rollback, "could not be deployed again")
    assert scene.endpoint().owner is None


def test_a_split_that_somebody_keeps_changing_is_given_up_and_said() -> None:
    scene, (_, second) = live("1", "2")

    def meddle(work: Work) -> None:
        if work.name == "traffic_state":
            scene.azure.place(PROD, ENDPOINT, None, {scene.green(second): 100})

    scene.hub.before = meddle
    rollback = scene.roll_back(second)
    scene.hub.run()
    _not_restored(scene, rollback, "find out who else changes it")


def test_of_two_rollbacks_the_newer_one_acts() -> None:
    scene, (first, second) = live("1", "2")
    older = scene.roll_back(second)
    scene.hub.run(lambda: "fact rollback.accepted" in scene.steps(older))
    scene.hub.start("rollback", "rollback-newer", RollbackRequest(
        id="rollback-newer", promotion=second, workspace=PROD, endpoint=ENDPOINT, reason="again", at=scene.clock.now().isoformat()).wire())
    scene.hub.run(lambda: scene.endpoint().owner == "rollback-newer")
    scene.hub.run()
    assert scene.hub.output(older) == {
        "schema": 1, "restored": False, "traffic": {}, "message": "a newer rollback has taken over this endpoint"}
    _restored(scene, "rollback-newer", {scene.green(first): 100})


def test_a_rollback_over_a_later_version_leaves_nothing_of_it_live(scene: Scene) -> None:
    """What served before was brought by no promotion: then no promotion is live."""
    scene.register("0")
    scene.azure.place(PROD, ENDPOINT, DeploymentSpec(
        workspace=PROD, endpoint=ENDPOINT, name="by-hand", model=f"azureml://workspaces/{DEV}/models/air-time/versions/0",
        instance_type="Standard_DS3_v2"), {"by-hand": 100})
    first, second = scene.promote("1"), scene.promote("2")
    with pytest.raises(Conflict, match=second):
        scene.roll_back(first)
    rollback = scene.roll_back(first, force=True)
    scene.hub.run()
    _restored(scene, rollback, {"by-hand": 100})
    assert scene.endpoint().live is None


def test_evidence_that_cannot_be_written_does_not_block_a_rollback() -> None:
    """Somebody else has written into the passport: the breach is answered all the same."""
    scene, (first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.until_traffic(second, 10)
    tail = scene.ledger.passports.tail(second)
    scene.azure.answers[scene.green(second)] = 424
    forged = scene.entries(second)[-1].model_copy(update={"sequence": tail.sequence, "previous": tail.previous, "step": "forged"})
    scene.ledger.passports.append(forged)
    scene.hub.run()
    assert scene.traffic() == {scene.green(first): 100}
    assert scene.phase(second) == "rolled_back"
    assert scene.endpoint().owner is None
