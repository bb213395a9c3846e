"""`rollout`: one owner at a time, the plan's prior state or nothing, each step checked, the exact split restored."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from importlib import import_module

import pytest

from pilotage.errors import NotFound, PermissionDenied, PilotageError, Unavailable
from pilotage.messages import ROLLBACK_EVENT
from pilotage.ports import DeploymentSpec
from tests.support.fakes import Asset
from tests.support.scene import DEV, ENDPOINT, PROD, Scene, everything_replays, live, policy


def _rests(scene: Scene, promotion: str, phase: str) -> None:
    """The promotion is over, production is as it was, and the next one may come."""
    assert scene.phase(promotion) == phase, scene.row(promotion).message
    assert scene.endpoint().owner is None
    scene.sound()
    everything_replays(scene)


def _split(scene: Scene, traffic: dict[str, int]) -> None:
    """Deployments of somebody else's, with this traffic."""
    scene.register("0")
    for name in traffic:
        scene.azure.place(PROD, ENDPOINT, DeploymentSpec(
            workspace=PROD, endpoint=ENDPOINT, name=name, model=f"azureml://workspaces/{DEV}/models/air-time/versions/0",
            instance_type="Standard_DS3_v2", instances=2, tags={"team": "other"}), traffic)


def test_traffic_is_shared_in_the_proportions_of_what_served_and_sums_to_a_hundred_at_every_moment(scene: Scene) -> None:
    _split(scene, {"a": 70, "b": 30})
    seen = []

    def look(_: object) -> None:
        if not seen or seen[-1] != scene.traffic():
            seen.append(scene.traffic())

    scene.hub.before = look
    promotion = scene.promote("1")
    green = scene.green(promotion)
    assert seen == [{"a": 70, "b": 30}, {"a": 63, "b": 27, green: 10}, {green: 100}]
    assert [item.deployment for item in scene.endpoint().retained] == ["a", "b"]


@pytest.mark.parametrize("share", [10, 100])
def test_a_breach_restores_the_exact_split(scene: Scene, share: int) -> None:
    before = {"a": 67, "b": 33}
    _split(scene, before)
    scene.register("1")
    promotion = scene.start("1")
    scene.until_traffic(promotion, share)
    green = scene.green(promotion)
    assert scene.traffic()[green] == share
    scene.azure.answers[green] = 424
    scene.hub.run()
    assert scene.traffic() == before
    assert f"at {share} % of the traffic says failed" in scene.row(promotion).message
    assert "traffic is back as it was" in scene.row(promotion).message
    assert scene.last(promotion, "rollout.rollback")["traffic"] == before
    assert [item.deployment for item in scene.endpoint().retained] == [green], "green is kept, to look at what it does"
    assert scene.endpoint().live is None
    _rests(scene, promotion, "rolled_back")


def test_a_breach_beside_a_live_version_leaves_that_live() -> None:
    scene, (first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.until_traffic(second, 10)
    scene.azure.answers[scene.green(second)] = 424
    scene.hub.run()
    assert scene.traffic() == {scene.green(first): 100}
    owned = scene.endpoint()
    assert owned.live is not None
    assert owned.live.promotion == first
    _rests(scene, second, "rolled_back")
    third = scene.promote("3")
    assert scene.traffic() == {scene.green(third): 100}


def test_a_first_deployment_that_breaches_is_back_at_no_traffic(scene: Scene) -> None:
    scene.register("1")
    promotion = scene.start("1")
    scene.until_traffic(promotion, 100)
    scene.azure.answers[scene.green(promotion)] = 424
    scene.hub.run()
    assert scene.traffic() == {}
    assert scene.endpoint().live is None
    _rests(scene, promotion, "rolled_back")


def test_a_check_that_cannot_be_made_is_a_breach_too() -> None:
    """Not knowing is no reason to go on."""
    scene, (first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.until_traffic(second, 10)
    scene.azure.fail("score", Unavailable("no answer"), times=100)
    scene.hub.run()
    assert scene.traffic() == {scene.green(first): 100}
    assert "run_check: Unavailable" in scene.row(second).message
    _rests(scene, second, "rolled_back")


def test_a_split_that_somebody_else_changes_is_a_breach() -> None:
    scene, (first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.hub.run(lambda: scene.ledger.approvals.current(second) is not None)
    scene.vote(second)
    scene.hub.run(lambda: len(scene.traffic()) == 2)
    scene.azure.place(PROD, ENDPOINT, None, {scene.green(first): 50, scene.green(second): 50})
    scene.hub.run()
    assert "traffic reads back as" in scene.row(second).message
    assert scene.traffic() == {scene.green(first): 100}
    _rests(scene, second, "rolled_back")


@pytest.mark.parametrize(("share", "phase"), [(0, "errored"), (10, "rolled_back")])
def test_azure_refusing_the_split_puts_everything_back(share: int, phase: str) -> None:
    scene, (first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.azure.fail("begin_set_traffic", PermissionDenied("the role is missing"),
                     where=lambda workspace, endpoint, traffic: len(traffic) == (2 if share == 0 else 1))
    scene.finish(second)
    assert scene.traffic() == {scene.green(first): 100}
    assert "PermissionDenied" in scene.row(second).message
    _rests(scene, second, "rolled_back")


@pytest.mark.parametrize(("asset", "says"), [
    (Asset(starts=False), "the production deployment did not start: the container did not start; log: ModuleNotFoundError"),
    (Asset(status=424), "the check before traffic says failed"),
])
def test_green_that_is_not_fit_never_takes_traffic_and_is_withdrawn(asset: Asset, says: str) -> None:
    scene, (first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.hub.run(lambda: scene.ledger.approvals.current(second) is not None)
    copy = scene.azure.assets["registry:shared-registry", "models", "air-time", "2"]
    copy.starts, copy.status = asset.starts, asset.status
    scene.finish(second)
    assert says in scene.row(second).message
    assert scene.traffic() == {scene.green(first): 100}
    assert scene.azure.standing(PROD, ENDPOINT) == [scene.green(first)]
    assert not any(change[0] == "begin_set_traffic" and scene.green(second) in change[3] for change in scene.azure.changes)
    _rests(scene, second, "failed")


@pytest.mark.parametrize(("method", "error", "says"), [
    ("begin_create_deployment", PermissionDenied("AzureML Data Scientist is missing"), "begin_deployment: PermissionDenied"),
    ("begin_create_deployment", NotFound("the model is gone"), "begin_deployment: NotFound"),
    ("endpoint", PermissionDenied("AzureML Data Scientist is missing"), "make_plan: PermissionDenied"),
])
def test_a_refusal_before_traffic_withdraws(method: str, error: PilotageError, says: str) -> None:
    scene, (first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.hub.run(lambda: scene.ledger.approvals.current(second) is not None)
    scene.azure.fail(method, error)
    scene.finish(second)
    assert says in scene.row(second).message
    assert scene.traffic() == {scene.green(first): 100}
    assert scene.azure.standing(PROD, ENDPOINT) == [scene.green(first)]
    _rests(scene, second, "errored")


def test_production_that_is_not_as_the_plan_expected_is_put_before_the_voters_anew() -> None:
    scene, (_first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.hub.run(lambda: scene.ledger.approvals.current(second) is not None)
    scene.azure.place(PROD, ENDPOINT, None, {})
    changes = list(scene.azure.changes)
    scene.finish(second)
    asked = scene.ledger.approvals.current(second)
    assert asked is not None
    assert asked.round == 2
    assert any(text.startswith("prior: ") for text in asked.changed), asked.changed
    assert "plan_changed" in [message.kind for message in scene.notifier.sent if message.promotion == second]
    assert scene.azure.changes == changes, "nothing was done by the plan that was approved"
    assert "0 of 1 approvals" in scene.row(second).message, "the earlier approval is void"
    _rests(scene, second, "expired")


def test_another_model_behind_the_same_name_is_noticed(scene: Scene) -> None:
    """The split is the same; what serves is not."""
    _split(scene, {"a": 100})
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: scene.ledger.approvals.current(promotion) is not None)
    scene.azure.remove(PROD, ENDPOINT, "a")
    scene.azure.place(PROD, ENDPOINT, DeploymentSpec(
        workspace=PROD, endpoint=ENDPOINT, name="a", model=f"azureml://workspaces/{DEV}/models/air-time/versions/1",
        instance_type="Standard_DS3_v2"))
    scene.finish(promotion)
    asked = scene.ledger.approvals.current(promotion)
    assert asked is not None
    assert "'models'" in "".join(asked.changed)
    assert scene.phase(promotion) == "expired"
    everything_replays(scene)


def test_an_older_version_is_held() -> None:
    scene, (first,) = live("10")
    scene.register("9")
    older = scene.start("9")
    scene.finish(older)
    assert "version 9 is older than version 10" in scene.row(older).message
    assert scene.traffic() == {scene.green(first): 100}
    _rests(scene, older, "held")


def _second_in_the_queue(scene: Scene, seen: Callable[[str], bool]) -> tuple[str, str]:
    """Beside a version that serves: one whose rollout is where `seen` wants it, and the next one, approved, behind it."""
    scene.promote("1")
    scene.register("2")
    first = scene.start("2")
    scene.hub.run(lambda: scene.ledger.approvals.current(first) is not None)
    scene.vote(first)
    scene.hub.run(lambda: seen(first))
    scene.register("3")
    second = scene.start("3")
    scene.hub.run(lambda: scene.ledger.approvals.current(second) is not None)
    scene.vote(second)
    return first, second


def test_one_rollout_an_endpoint_the_other_waits_and_asks_anew_when_production_changed(scene: Scene) -> None:
    first, second = _second_in_the_queue(scene, lambda first: scene.traffic().get(scene.row(first).deployment) == 10)
    scene.hub.run(lambda: scene.phase(second) == "queued")
    assert scene.row(second).message == f"behind {first}"
    scene.hub.run(lambda: scene.phase(second) == "awaiting_approval")
    assert scene.phase(first) == "succeeded"
    assert scene.traffic() == {scene.green(first): 100}
    assert "fact phase" in scene.steps(second)
    scene.hub.run(lambda: (scene.ledger.approvals.current(second) or first).round == 2)
    scene.vote(second)
    scene.hub.run()
    assert scene.traffic() == {scene.green(second): 100}
    _rests(scene, second, "succeeded")


def test_who_waited_goes_on_where_production_is_as_it_was(scene: Scene) -> None:
    somebody = scene.ledger.endpoints.acquire(PROD, ENDPOINT, "somebody", "other", "1", lambda owner: False)
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: scene.ledger.approvals.current(promotion) is not None)
    scene.vote(promotion)
    scene.hub.run(lambda: scene.phase(promotion) == "queued")
    scene.ledger.endpoints.release(PROD, ENDPOINT, "somebody", somebody.epoch, None, [])
    scene.hub.run()
    assert scene.traffic() == {scene.green(promotion): 100}
    phases = [entry.phase for entry in scene.entries(promotion)]
    assert phases[phases.index("queued"):].count("rolling_out") > 0
    assert len(scene.ledger.approvals.requests(promotion)) == 1
    _rests(scene, promotion, "succeeded")


def test_a_wait_in_the_queue_ends(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("orchestrations.rollout"), "QUEUE_TIMEOUT", timedelta(hours=2))  # a week's looks show nothing more
    scene.ledger.endpoints.acquire(PROD, ENDPOINT, "somebody", "other", "1", lambda owner: False)
    scene.register("1")
    promotion = scene.start("1")
    scene.finish(promotion)
    assert scene.phase(promotion) == "held"
    assert "busy with somebody for 2:00:00" in scene.row(promotion).message
    assert scene.endpoint().owner == "somebody"
    everything_replays(scene)


def test_an_owner_that_is_over_has_left_only_its_name(scene: Scene) -> None:
    first, second = _second_in_the_queue(scene, lambda first: scene.traffic().get(scene.row(first).deployment) == 10)
    scene.hub.run(lambda: scene.phase(second) == "queued")
    scene.hub.terminate(first)
    scene.sweep(first)
    scene.hub.run(lambda: (scene.ledger.approvals.current(second) or first).round == 2)
    scene.vote(second)
    scene.hub.run()
    assert scene.traffic() == {scene.green(second): 100}
    _rests(scene, second, "succeeded")


@pytest.mark.parametrize("place", ["rollout.acquired", "rollout.last_good", "rollout.deploy", "rollout.traffic", "rollout.check"])
def test_a_newer_owner_stops_it_wherever_it_is(place: str) -> None:
    """The rollback's own work is told elsewhere; here it only takes the endpoint."""
    scene, (_first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.hub.run(lambda: scene.ledger.approvals.current(second) is not None)
    scene.vote(second)
    scene.hub.run(lambda: any(entry.step == place and entry.kind != "intent" for entry in scene.entries(second)))
    traffic, changes = scene.traffic(), [change for change in scene.azure.changes if change[0] == "begin_set_traffic"]
    scene.ledger.endpoints.raise_epoch(PROD, ENDPOINT, "rollback-x")
    scene.hub.run()
    assert scene.phase(second) == "rolled_back"
    assert "belongs to rollback-x" in scene.row(second).message
    assert scene.traffic() == traffic
    assert [change for change in scene.azure.changes if change[0] == "begin_set_traffic"] == changes, "it wrote nothing more"
    assert scene.endpoint().owner == "rollback-x"
    scene.sound()
    everything_replays(scene)


def test_a_claim_whose_answer_was_lost_does_not_come_back_after_a_rollback(scene: Scene) -> None:
    """It owned the endpoint, never knew it, and was displaced: its repeat must not take the endpoint again."""
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: scene.ledger.approvals.current(promotion) is not None)
    scene.vote(promotion)
    scene.hub.run(lambda: any(work.name == "acquire_endpoint" for work in scene.hub.durable.work))
    scene.ledger.endpoints.acquire(PROD, ENDPOINT, promotion, "air-time", "1", lambda owner: False)
    scene.ledger.endpoints.raise_epoch(PROD, ENDPOINT, "rollback-x")
    scene.ledger.endpoints.release(PROD, ENDPOINT, "rollback-x", 2, None, [])
    scene.hub.run()
    assert scene.phase(promotion) == "rolled_back"
    assert scene.azure.standing(PROD, ENDPOINT) == []
    everything_replays(scene)


def test_a_wake_up_without_a_rollback_is_not_obeyed() -> None:
    """Only the epoch stops a rollout: the bake takes its time, and then it goes on."""
    scene, _ = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.until_traffic(second, 10)
    begun = scene.clock.now()
    scene.hub.raise_event(f"{second}:rollout", ROLLBACK_EVENT, {"id": "nobody"})
    scene.hub.run(lambda: scene.traffic() == {scene.green(second): 100})
    assert timedelta(minutes=10) <= scene.clock.now() - begun < timedelta(minutes=12)
    scene.hub.run()
    _rests(scene, second, "succeeded")


def test_without_a_check_the_steps_are_all_there_is() -> None:
    scene = Scene(policy(**{"stages.1.rollout.check": None, "stages.1.rollout.steps": [{"traffic": 100}]}))
    begun = scene.clock.now()
    promotion = scene.promote("1")
    assert "outcome rollout.check" not in scene.steps(promotion)
    assert scene.clock.now() - begun < timedelta(minutes=1)


def test_an_endpoint_that_is_never_ready_is_given_up(scene: Scene) -> None:
    scene.azure.pace.endpoint = timedelta(seconds=1)
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: scene.ledger.approvals.current(promotion) is not None)
    scene.azure.pace.endpoint = timedelta(days=1)
    scene.finish(promotion)
    assert "endpoint_state: Timeout" in scene.row(promotion).message
    _rests(scene, promotion, "errored")
