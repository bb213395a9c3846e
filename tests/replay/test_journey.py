"""`promotion` from end to end: the way of a good version, and every way to stop before staging."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pilotage.domain.assets import AssetRef
from pilotage.domain.plan import Plan
from pilotage.errors import NotFound, PermissionDenied, PilotageError, Throttled, Unavailable
from tests.support.fakes import Asset
from tests.support.memory import START
from tests.support.scene import (
    DEV,
    ENDPOINT,
    PROD,
    SHARED,
    STAGING_ENDPOINT,
    STG,
    Scene,
    everything_replays,
    live,
    policy,
)

EFFECTS = ("share.models", "share.environments", "staging.deploy", "rollout.deploy", "rollout.traffic")


def test_a_good_version_goes_live(scene: Scene) -> None:
    scene.register("1")
    promotion = scene.start("1")
    scene.finish(promotion)

    row = scene.row(promotion)
    assert row.phase == "succeeded"
    assert scene.traffic() == {row.deployment: 100}
    assert scene.azure.standing(STG, STAGING_ENDPOINT) == []
    assert [change[0] for change in scene.azure.changes] == [
        "begin_share_model", "begin_share_environment",
        "begin_create_endpoint", "begin_create_deployment", "begin_delete_deployment",
        "begin_create_endpoint", "begin_create_deployment", "begin_set_traffic"], "a first deployment has nobody to share with"
    steps = scene.steps(promotion)
    for effect in EFFECTS:
        assert steps.index(f"intent {effect}") < steps.index(f"outcome {effect}")
    assert steps.index("outcome rollout.last_good") < steps.index("intent rollout.deploy")
    assert steps.index("outcome plan") < steps.index("fact approval.opened") < steps.index("outcome approval")
    assert steps[-2:] == ["fact phase", "closing closed"]
    assert row.sequence == len(steps) - 1

    owned = scene.endpoint()
    assert (owned.owner, owned.epoch, owned.retained) == (None, 1, [])
    assert owned.live is not None
    assert (owned.live.promotion, owned.live.version, owned.live.deployment) == (promotion, "1", row.deployment)
    assert [(instance.name, instance.status) for instance in scene.hub.durable.instances.values()] == [
        (name, "COMPLETED") for name in ("promotion", "staging", "gate", "gate", "approval", "rollout")]
    scene.sound()
    everything_replays(scene)


def test_the_bytes_that_were_pinned_are_those_of_every_later_step(scene: Scene) -> None:
    promotion = scene.promote("1")
    pinned, plan = scene.last(promotion, "pin"), Plan.model_validate(scene.last(promotion, "plan")["plan"])
    assert scene.last(promotion, "share.models") == {
        "id": f"azureml://registries/{SHARED}/models/air-time/versions/1", "digest": pinned["model"]["digest"]["value"], "equal": True}
    assert plan.model_digest == pinned["model"]["digest"]["value"]
    assert plan.environment_definition == pinned["environment"]["definition"]
    assert scene.last(promotion, "plan")["hash"] == scene.row(promotion).plan_hash == plan.hash
    assert scene.last(promotion, "approval")["plan_hash"] == plan.hash
    deployed = scene.azure.deployments(PROD, ENDPOINT)
    assert [(d.name, d.model, d.environment) for d in deployed] == [(plan.deployment, plan.model, plan.environment)]
    assert deployed[0].tags == {"pilotage-promotion": promotion, "pilotage-role": "production"}


def test_labels_are_resolved_once(scene: Scene) -> None:
    """What is registered on the way changes nothing for a promotion that is under way."""
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: scene.phase(promotion) == "registering")
    for name in ("requests", "holdout"):
        scene.azure.put("data", AssetRef(name=name, version="2", workspace=DEV), Asset(files={"broken.jsonl": b"{"}))
    scene.azure.put("environments", AssetRef(name="air-time-env", version="2", workspace=DEV), Asset(image="mcr.example/env:2"))
    scene.policies.known = []
    scene.finish(promotion)
    assert scene.phase(promotion) == "succeeded"
    used = {data["ref"]["version"] for work in scene.hub.executed if work.name in ("begin_gate", "run_check")
            for data in work.input["data"].values()}
    assert used == {"1"}


def test_the_next_version_takes_traffic_in_steps_beside_the_first() -> None:
    scene, (first, second) = live("1", "2")
    blue, green = scene.green(first), scene.green(second)
    splits = [entry.data["traffic"] for entry in scene.entries(second) if entry.step == "rollout.traffic" and entry.kind == "intent"]
    assert splits == [{blue: 90, green: 10}, {green: 100}]
    assert scene.last(second, "rollout.last_good")["traffic"] == {blue: 100}
    assert scene.azure.standing(PROD, ENDPOINT) == [blue, green], "blue is kept"
    assert [item.deployment for item in scene.endpoint().retained] == [blue]
    assert scene.endpoint().epoch == 2
    bakes = [entry.at for entry in scene.entries(second) if entry.step in ("rollout.check", "rollout.traffic") and entry.kind == "outcome"]
    assert bakes == sorted(bakes)
    scene.sound()
    everything_replays(scene)


def test_an_event_that_is_earlier_than_the_model_waits_for_it(scene: Scene) -> None:
    promotion = scene.start("1")
    scene.hub.run(deadline=START + timedelta(minutes=2))
    assert scene.phase(promotion) == "resolving"
    scene.register("1")
    scene.finish(promotion)
    assert scene.phase(promotion) == "succeeded"
    everything_replays(scene)


def test_a_version_that_never_appears_ends_after_a_bounded_number_of_looks(scene: Scene) -> None:
    promotion = scene.start("1")
    scene.hub.run()
    assert scene.phase(promotion) == "errored"
    assert "read_model: NotFound" in scene.row(promotion).message
    assert [work.name for work in scene.hub.executed].count("read_model") == 5
    assert scene.clock.now() - START == timedelta(seconds=5 + 30 + 120 + 600)
    assert scene.azure.changes == []


def test_tags_are_those_of_the_model_as_read(scene: Scene) -> None:
    scene.register("1", Asset(tags={"candidate": "no"}))
    promotion = scene.start("1")
    scene.hub.run()
    assert scene.phase(promotion) == "skipped"
    assert "candidate=true (found no)" in scene.row(promotion).message
    assert scene.azure.changes == []
    assert "pin_model" not in {work.name for work in scene.hub.executed}, "nothing is read of what nobody asked for"


@pytest.mark.parametrize(("corrupt", "step"), [("air-time", "share.models"), ("air-time-env", "share.environments")])
def test_a_copy_that_is_not_its_source_stops_everything(scene: Scene, corrupt: str, step: str) -> None:
    scene.azure.corrupts.add(corrupt)
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run()
    assert scene.phase(promotion) == "errored"
    assert "is not the copy of" in scene.row(promotion).message
    assert scene.last(promotion, step)["equal"] is False
    assert not any("deployment" in change[0] for change in scene.azure.changes)
    scene.sound()


def test_an_impostor_that_is_in_the_registry_already_is_found_out(scene: Scene) -> None:
    """The copy exists, so nothing is copied; it is compared all the same."""
    scene.register("1")
    scene.azure.put("models", AssetRef(name="air-time", version="1", registry=SHARED), Asset(files={"model.pkl": b"others"}))
    promotion = scene.start("1")
    scene.hub.run()
    assert scene.phase(promotion) == "errored"
    assert "register a new version" in scene.row(promotion).message


def test_a_model_that_is_in_the_registry_is_compared_and_not_copied() -> None:
    scene = Scene(policy(**{"match.workspace": None, "match.registry": SHARED, "stages.1.approval": "automatic", "environment": None,
                            "stages.0.gates": [{"smoke": {"samples": "azureml:requests:1"}}], "on_drift": None,
                            "stages.1.rollout.check": None}))
    scene.azure.put("data", AssetRef(name="requests", version="1", workspace=STG), Asset(files=scene.azure.assets[
        f"workspace:{DEV}", "data", "requests", "1"].files))
    scene.azure.put("models", AssetRef(name="air-time", version="7", registry=SHARED), Asset(tags={"candidate": "true"}))
    request = scene.intake.by_hand(model="air-time", version="7", workspace=None, registry=SHARED, policy=None, actor="oid-olive")
    scene.intake.start(request)
    scene.hub.run()
    assert scene.phase(request.id) == "succeeded"
    assert not any("share" in change[0] for change in scene.azure.changes)
    assert "fact approval.automatic" in scene.steps(request.id)
    plan = Plan.model_validate(scene.last(request.id, "plan")["plan"])
    assert (plan.environment, plan.environment_definition, plan.approval) == (None, "unpinned", "automatic")
    scene.sound()
    everything_replays(scene)


PORTS = ["model", "model_digest", "submitters", "pin", "environment", "data", "begin_share_model", "begin_share_environment", "endpoint",
         "begin_create_endpoint", "begin_create_deployment", "deployment", "deployments", "begin_set_traffic",
         "begin_delete_deployment", "read_data", "score"]
CHANGES = [name for name in PORTS if name.startswith("begin_")]


@pytest.mark.parametrize(("method", "error", "after"), [
    *((name, Unavailable("503"), False) for name in PORTS), *((name, Throttled("429"), True) for name in CHANGES)])
def test_outages_and_lost_answers_delay_and_change_nothing(scene: Scene, method: str, error: PilotageError, after: bool) -> None:
    scene.azure.fail(method, error, times=2, after=after)
    scene.azure.fail(method, error, times=2, after=after, where=lambda *args: PROD in str(args))
    undisturbed, _ = live("1")
    promotion = scene.promote("1")
    assert scene.azure.picture() == undisturbed.azure.picture()
    assert scene.azure.changes == undisturbed.azure.changes, "no effect was made twice"
    assert scene.azure.faults[0].times < 2, "the fault was met"
    assert scene.steps(promotion) == undisturbed.steps(promotion)
    scene.sound()


@pytest.mark.parametrize(("method", "error"), [
    ("model", PermissionDenied("the role AzureML Data Scientist is missing")),
    ("model_digest", NotFound("there is no file")),
    ("submitters", PermissionDenied("the run history can't be read")),
    ("pin", NotFound("no such label")),
    ("begin_share_model", PermissionDenied("AzureML Registry User is missing")),
])
def test_a_refusal_ends_it_and_says_what_is_missing(scene: Scene, method: str, error: PilotageError) -> None:
    scene.azure.fail(method, error)
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run()
    row = scene.row(promotion)
    assert row.phase == "errored"
    assert type(error).__name__ in row.message
    assert str(error) in row.message
    assert not any("deployment" in change[0] for change in scene.azure.changes)
    scene.sound()


def test_an_outage_that_outlasts_every_retry_errs(scene: Scene) -> None:
    scene.register("1")
    scene.azure.fail("model_digest", Unavailable("503"), times=100)
    promotion = scene.start("1")
    scene.hub.run()
    assert scene.phase(promotion) == "errored"
    assert "pin_model: Unavailable: 503" in scene.row(promotion).message
    assert [work.name for work in scene.hub.executed].count("pin_model") == 8


def test_a_copy_that_never_arrives_times_out(scene: Scene) -> None:
    scene.azure.pace.share = timedelta(days=2)
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(deadline=START + timedelta(days=1))
    assert scene.phase(promotion) == "errored"
    assert "shared_state: Timeout" in scene.row(promotion).message
    looks = [work.name for work in scene.hub.executed].count("shared_state")
    assert looks < 170, "two hours are looked at every minute, but for the beginning"


@pytest.mark.parametrize("asset", ["air-time", "air-time-env"])
def test_a_copy_that_fails_after_it_was_accepted_is_told_at_once(scene: Scene, asset: str) -> None:
    scene.azure.copy_errors[asset] = "Failed: UserError: the registry has no storage in this region"
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run()
    assert scene.phase(promotion) == "errored"
    assert f"{asset}: Failed: UserError: the registry has no storage in this region" in scene.row(promotion).message
    assert scene.clock.now() - START < timedelta(minutes=1)
    scene.sound()


def test_a_failed_copy_whose_start_was_not_answered_is_made_again(scene: Scene) -> None:
    """Nobody knows its operation, so nobody can be told that it failed."""
    scene.azure.copy_errors["air-time"] = "Failed: nobody hears of it"
    scene.azure.fail("begin_share_model", Unavailable("the connection was reset"), after=True)
    scene.azure.pace.share = timedelta(minutes=1)
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: scene.phase(promotion) == "awaiting_approval")
    assert scene.phase(promotion) == "awaiting_approval"
    assert timedelta(minutes=10) < scene.clock.now() - START < timedelta(minutes=15)


@pytest.mark.parametrize("child", ["staging", "approval"])
def test_a_step_that_is_terminated_ends_the_promotion_and_its_passport_goes_on(scene: Scene, child: str) -> None:
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: any(entry.step in ("staging.deploy", "approval.opened") and entry.phase.startswith(("staging", "awaiting"))
                              and child[:4] in entry.step for entry in scene.entries(promotion)))
    scene.hub.terminate(f"{promotion}:{child}")
    scene.hub.run()
    assert scene.phase(promotion) == "errored"
    assert scene.row(promotion).message.startswith(f"{child}: ")
    scene.sound()
    everything_replays(scene)


def test_a_retry_is_a_promotion_of_its_own(scene: Scene) -> None:
    scene.azure.fail("read_data", PermissionDenied("Storage Blob Data Reader is missing"), times=2)
    scene.register("1")
    first = scene.start("1")
    scene.hub.run()
    assert scene.phase(first) == "errored"
    again = scene.intake.again(scene.row(first), "oid-olive")
    scene.intake.start(again)
    scene.finish(again.id)
    assert scene.phase(again.id) == "succeeded"
    assert scene.row(again.id).previous == first
    assert scene.phase(first) == "errored"
    scene.sound()
