"""`sweep`: what killed and terminated promotions left behind goes, what anybody may still want stays."""

from __future__ import annotations

from datetime import timedelta

import pytest

from pilotage.errors import PermissionDenied, Unavailable
from pilotage.ports import DeploymentSpec
from tests.support.hub import Work
from tests.support.memory import START
from tests.support.scene import DEV, ENDPOINT, PROD, STAGING_ENDPOINT, STG, Scene, everything_replays, live


def _names(answer: dict[str, object]) -> list[str]:
    removed = answer["removed"]
    assert isinstance(removed, list)
    return [item["name"] for item in removed]


def _rolling_out(share: int = 10) -> tuple[Scene, str, str]:
    """A second version with traffic, beside the first."""
    scene, (first,) = live("1")
    scene.register("2")
    second = scene.start("2")
    scene.until_traffic(second, share)
    return scene, first, second


def test_nothing_is_removed_that_is_wanted() -> None:
    scene, (first, second) = live("1", "2")
    assert scene.sweep() == {"reaped": [], "removed": [], "failed": []}
    assert scene.azure.standing(PROD, ENDPOINT) == sorted([scene.green(first), scene.green(second)])
    scene.register("3")
    third = scene.start("3")
    scene.hub.run(lambda: len(scene.azure.standing(STG, STAGING_ENDPOINT)) == 1)
    assert _names(scene.sweep()) == [], "its promotion goes on"
    scene.until_traffic(third, 10)
    assert _names(scene.sweep()) == []
    everything_replays(scene)


def test_blue_goes_when_it_was_kept_long_enough() -> None:
    scene, (first, second) = live("1", "2")
    until = scene.endpoint().retained[0].until
    scene.hub.run(deadline=scene.clock.now() + timedelta(hours=23))
    assert _names(scene.sweep()) == []
    scene.hub.run(deadline=scene.clock.now() + timedelta(hours=2))
    assert scene.clock.now().isoformat() > until
    assert _names(scene.sweep()) == [scene.green(first)]
    assert scene.azure.standing(PROD, ENDPOINT) == [scene.green(second)]
    assert scene.endpoint().retained == []
    assert scene.sweep() == {"reaped": [], "removed": [], "failed": []}


@pytest.mark.parametrize("recursive", [True, False])
def test_a_promotion_terminated_in_staging_leaves_nothing(scene: Scene, recursive: bool) -> None:
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: len(scene.azure.standing(STG, STAGING_ENDPOINT)) == 1)
    scene.hub.terminate(promotion, recursive=recursive)
    if recursive:
        scene.hub.run()
        assert len(scene.azure.standing(STG, STAGING_ENDPOINT)) == 1
    answer = scene.sweep(promotion)
    assert answer["reaped"] == [promotion]
    scene.hub.run()
    assert scene.azure.standing(STG, STAGING_ENDPOINT) == []
    row = scene.row(promotion)
    assert row.phase == "terminated"
    assert "its orchestration ended while staging" in row.message
    assert row.sequence > 0
    scene.sound()


@pytest.mark.parametrize("share", [10, 100])
@pytest.mark.parametrize("recursive", [True, False])
def test_a_promotion_terminated_with_traffic_is_rolled_back(share: int, recursive: bool) -> None:
    scene, first, second = _rolling_out(share)
    scene.hub.terminate(second, recursive=recursive)
    answer = scene.sweep(second)
    assert (answer["reaped"], answer["failed"]) == ([second], [])
    scene.hub.run()
    assert scene.traffic() == {scene.green(first): 100}
    assert scene.phase(second) == "rolled_back"
    assert "terminated during the rollout" in scene.row(second).message
    assert scene.endpoint().owner is None
    assert [item.deployment for item in scene.endpoint().retained][-1:] == [scene.green(second)]
    scene.sound()
    everything_replays(scene)


def test_a_promotion_terminated_while_it_rolled_back_is_rolled_back_to_the_end() -> None:
    scene, first, second = _rolling_out()
    scene.azure.answers[scene.green(second)] = 424
    scene.azure.fail("begin_set_traffic", Unavailable("503"), times=3)
    scene.hub.run(lambda: str(scene.endpoint().owner).endswith(":rollback"))
    scene.hub.terminate(second)
    assert scene.traffic() != {scene.green(first): 100}
    assert scene.sweep(second)["reaped"] == [second]
    assert scene.traffic() == {scene.green(first): 100}
    assert scene.phase(second) == "rolled_back"
    assert scene.endpoint().owner is None


def test_a_rollback_that_does_not_restore_is_tried_again_by_the_next_sweep() -> None:
    scene, first, second = _rolling_out()
    scene.hub.terminate(second)
    scene.azure.fail("begin_set_traffic", PermissionDenied("the role is missing"))
    answer = scene.sweep(second)
    assert answer["reaped"] == []
    assert "the role is missing" in answer["failed"][0]
    assert scene.phase(second) == "rolling_out", "it is still to be closed"
    assert scene.sweep(second)["reaped"] == [second]
    assert scene.traffic() == {scene.green(first): 100}
    assert scene.phase(second) == "rolled_back"


def test_a_promotion_that_died_after_its_rollout_was_over_has_succeeded() -> None:
    scene, _, second = _rolling_out(100)
    scene.hub.run(lambda: scene.endpoint().owner is None)
    scene.hub.terminate(second)
    assert scene.phase(second) == "rolling_out"
    assert scene.sweep(second)["reaped"] == [second]
    assert scene.phase(second) == "succeeded"
    assert scene.traffic() == {scene.green(second): 100}


def test_a_promotion_that_another_has_followed_is_only_closed() -> None:
    """Its traffic is long gone: undoing it now would undo the later one."""
    scene, first, second = _rolling_out()
    scene.hub.terminate(second)
    rollback = scene.roll_back(second)
    scene.azure.fail("begin_set_traffic", PermissionDenied("the role is missing"))
    scene.hub.run()
    assert scene.hub.output(rollback)["restored"] is False
    scene.azure.place(PROD, ENDPOINT, None, {scene.green(first): 100})
    third = scene.promote("3")
    assert scene.sweep(second)["reaped"] == [second]
    assert scene.phase(second) == "terminated"
    assert scene.traffic() == {scene.green(third): 100}


@pytest.mark.parametrize("promotion", ["promote-nothing-1-000-1"])
def test_what_is_over_or_unknown_needs_no_closing(promotion: str) -> None:
    scene, (first,) = live("1")
    assert scene.sweep(first, promotion)["failed"] == []
    assert scene.phase(first) == "succeeded"


def test_what_others_made_is_left_alone(scene: Scene) -> None:
    """No tag of ours, or a promotion that this ledger does not know: another Pilotage may share the workspace."""
    scene.register("0")
    for name, tags in (("by-hand", {}), ("theirs", {"pilotage-promotion": "promote-theirs-1-abc-1"})):
        scene.azure.place(STG, "their-endpoint", DeploymentSpec(
            workspace=STG, endpoint="their-endpoint", name=name, model=f"azureml://workspaces/{DEV}/models/air-time/versions/0",
            instance_type="Standard_DS3_v2", tags=tags))
    assert scene.sweep() == {"reaped": [], "removed": [], "failed": []}
    assert scene.azure.standing(STG, "their-endpoint") == ["by-hand", "theirs"]


def test_a_rollback_that_begins_meanwhile_keeps_what_it_wants() -> None:
    """Found as an orphan, and wanted back before its turn came."""
    scene, (first, second) = live("1", "2")
    scene.hub.run(deadline=scene.clock.now() + timedelta(hours=25))
    started: list[str] = []

    def meanwhile(work: Work) -> None:
        if work.name == "remove_orphan" and not started:
            started.append(scene.roll_back(second))
            scene.ledger.endpoints.raise_epoch(PROD, ENDPOINT, started[0], second)

    scene.hub.before = meanwhile
    assert scene.sweep()["removed"] == []
    scene.hub.run()
    assert scene.hub.output(started[0])["restored"] is True
    assert scene.traffic() == {scene.green(first): 100}
    assert "intent rollback.redeploy" not in scene.steps(started[0])


def test_a_workspace_that_cannot_be_read_does_not_hide_the_others() -> None:
    scene, (first, _) = live("1", "2")
    scene.hub.run(deadline=scene.clock.now() + timedelta(hours=25))
    scene.azure.fail("endpoints", PermissionDenied("Reader is missing"), where=lambda workspace: workspace == STG)
    answer = scene.sweep()
    assert _names(answer) == [scene.green(first)]
    assert answer["failed"] == ["mlw-staging: PermissionDenied: Reader is missing"]


def test_an_orphan_that_cannot_be_removed_does_not_hold_the_others_up(scene: Scene) -> None:
    promotions = []
    for version in ("1", "2"):
        scene.register(version)
        promotions.append(scene.start(version))
    scene.hub.run(lambda: len(scene.azure.standing(STG, STAGING_ENDPOINT)) == 2)
    for promotion in promotions:
        scene.hub.terminate(promotion)
    stuck = scene.azure.standing(STG, STAGING_ENDPOINT)[0]
    scene.azure.fail("begin_delete_deployment", PermissionDenied("a lock"), where=lambda *where: where[2] == stuck)
    answer = scene.sweep(*promotions)
    assert len(answer["removed"]) == 1
    assert "a lock" in answer["failed"][0]
    assert _names(scene.sweep()) == [stuck]


def test_workspaces_of_policies_that_are_gone_are_swept_too() -> None:
    scene, (first, _) = live("1", "2")
    scene.hub.run(deadline=START + timedelta(days=3))
    scene.policies.known = []
    assert _names(scene.sweep()) == [scene.green(first)]
