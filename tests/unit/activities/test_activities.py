"""Activities on their own: what a repeat does, what is refused, how much they answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from activities.effect import ANSWER_LIMIT
from activities.names import Activity
from activities.registry import ACTIVITIES
from pilotage.bootstrap import use
from pilotage.domain.assets import AssetRef
from pilotage.domain.names import rehearsal_tags
from pilotage.domain.phase import PromotionPhase
from pilotage.errors import Busy, PermissionDenied, Unavailable
from pilotage.messages import PromotionRow
from pilotage.ports import DeploymentSpec
from tests.support.memory import START, MemoryPolicies
from tests.support.scene import DEV, ENDPOINT, PROD, STG, Scene, policy

TARGET = {"workspace": PROD, "endpoint": ENDPOINT}


@pytest.fixture
def scene() -> Iterator[Scene]:
    scene = Scene()
    use(scene.app())
    yield scene
    use(None)


def do(activity: Activity, **payload: Any) -> dict[str, Any]:
    """Run an activity as the worker does: JSON in, JSON out."""
    answer: dict[str, Any] = json.loads(json.dumps(ACTIVITIES[activity](json.loads(json.dumps(payload)))))
    return answer


def refusal(answer: dict[str, Any]) -> str:
    return f"{answer['refused']['type']}: {answer['refused']['message']}"


def _row(phase: PromotionPhase, id: str = "promote-1", sequence: int = 5) -> PromotionRow:
    return PromotionRow(id=id, model="air-time", version="1", source=AssetRef(name="air-time", version="1", workspace=DEV),
                        policy="air-time", phase=phase.value, sequence=sequence, created_at=START.isoformat(),
                        updated_at=START.isoformat(), workspace=PROD, endpoint=ENDPOINT)


def _deployed(scene: Scene, name: str = "v1", *, workspace: str = PROD, endpoint: str = ENDPOINT, traffic: dict[str, int] | None = None,
              **tags: str) -> None:
    if f"workspace:{DEV}" not in {key[0] for key in scene.azure.assets if key[1] == "models"}:
        scene.register("1")
    scene.azure.place(workspace, endpoint, DeploymentSpec(
        workspace=workspace, endpoint=endpoint, name=name, model=f"azureml://workspaces/{DEV}/models/air-time/versions/1",
        instance_type="Standard_DS3_v2", tags=tags), traffic)


# --- traffic ----------------------------------------------------------------------------------------

def _owned(scene: Scene) -> dict[str, Any]:
    _deployed(scene, "v1", traffic={"v1": 100})
    _deployed(scene, "v2")
    scene.ledger.endpoints.acquire(PROD, ENDPOINT, "promote-1", "air-time", "1", lambda owner: False)
    return {**TARGET, "owner": "promote-1", "epoch": 1}


def test_traffic_is_written_once_and_read_back(scene: Scene) -> None:
    ours = _owned(scene) | {"traffic": {"v1": 90, "v2": 10}}
    assert do(Activity.BEGIN_TRAFFIC, **ours) == {}
    assert do(Activity.TRAFFIC_STATE, **ours) == {"settled": False, "holds": False, "traffic": {"v1": 90, "v2": 10}}
    assert do(Activity.BEGIN_TRAFFIC, **ours) == {}, "its repeat finds it under way"
    scene.clock.advance(timedelta(minutes=1))
    assert do(Activity.BEGIN_TRAFFIC, **ours) == {}
    assert do(Activity.TRAFFIC_STATE, **ours) == {"settled": True, "holds": True, "traffic": {"v1": 90, "v2": 10}}
    assert len(scene.azure.changes) == 1


def test_a_change_that_failed_is_written_again_though_it_reads_as_wanted(scene: Scene) -> None:
    ours = _owned(scene) | {"traffic": {"v1": 100, "v2": 0}}
    scene.azure.break_endpoint(PROD, ENDPOINT)
    assert do(Activity.TRAFFIC_STATE, **ours)["holds"] is False
    assert do(Activity.BEGIN_TRAFFIC, **ours) == {}
    scene.clock.advance(timedelta(minutes=1))
    assert do(Activity.TRAFFIC_STATE, **ours)["holds"] is True


def test_a_stale_writer_is_refused_before_it_writes_and_told_after(scene: Scene) -> None:
    ours = _owned(scene)
    scene.azure.watch = lambda: scene.ledger.endpoints.raise_epoch(PROD, ENDPOINT, "rollback-1") and None
    assert refusal(do(Activity.BEGIN_TRAFFIC, **ours, traffic={"v2": 100})).startswith("StaleEpoch"), "overtaken in the middle"
    changes = list(scene.azure.changes)
    assert refusal(do(Activity.BEGIN_TRAFFIC, **ours, traffic={"v1": 100})).startswith("StaleEpoch")
    assert refusal(do(Activity.TRAFFIC_STATE, **ours, traffic={"v1": 100})).startswith("StaleEpoch")
    assert scene.azure.changes == changes


@pytest.mark.parametrize("traffic", [{"v1": 99}, {"v1": 50, "v2": 51}, {"v1": 200, "v2": -100}])
def test_a_split_that_does_not_sum_is_never_written(scene: Scene, traffic: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="sum to 0 or 100"):
        do(Activity.BEGIN_TRAFFIC, **_owned(scene), traffic=traffic)
    assert scene.azure.changes == []


# --- last good ----------------------------------------------------------------------------------------

def test_what_served_is_recorded_once_and_the_first_record_wins(scene: Scene) -> None:
    _deployed(scene, "v1", traffic={"v1": 100}, team="a")
    about = {**TARGET, "name": "v2", "promotion": "promote-2", "keep": "PT24H"}
    first = do(Activity.RECORD_LAST_GOOD, **about)["last_good"]
    assert first["traffic"] == {"v1": 100}
    assert first["deployments"]["v1"]["tags"] == {"team": "a"}
    scene.azure.place(PROD, ENDPOINT, None, {})
    assert do(Activity.RECORD_LAST_GOOD, **about)["last_good"] == first
    assert do(Activity.READ_LAST_GOOD, promotion="promote-2")["last_good"] == first
    assert do(Activity.READ_LAST_GOOD, promotion="promote-3") == {"last_good": None}


def test_an_endpoint_that_is_not_there_has_no_traffic_to_restore(scene: Scene) -> None:
    kept = do(Activity.RECORD_LAST_GOOD, **TARGET, name="v1", promotion="p", keep="PT24H")["last_good"]
    assert (kept["traffic"], kept["deployments"], kept["live"]) == ({}, {}, None)


# --- owners -------------------------------------------------------------------------------------------

def test_a_rollback_tells_whom_it_displaced_also_when_it_is_repeated(scene: Scene) -> None:
    _owned(scene)
    asked = {**TARGET, "rollback": "rollback-1", "promotion": "promote-1"}
    first = do(Activity.RAISE_EPOCH, **asked)
    assert first == {"epoch": 2, "displaced": "promote-1", "live": None}
    assert do(Activity.RAISE_EPOCH, **asked) == first


def test_a_phase_that_moves_while_it_is_marked_is_marked_again(scene: Scene) -> None:
    scene.ledger.promotions.put(_row(PromotionPhase.ROLLING_OUT))
    read = scene.ledger.promotions.get

    def moved(promotion: str) -> PromotionRow | None:
        found = read(promotion)
        scene.ledger.promotions.get = read  # type: ignore[method-assign]
        scene.ledger.promotions.put(_row(PromotionPhase.SUCCEEDED, sequence=6))
        return found

    scene.ledger.promotions.get = moved  # type: ignore[method-assign]
    with pytest.raises(Busy):
        do(Activity.MARK_ROLLED_BACK, promotion="promote-1", message="why", at=START.isoformat())
    assert do(Activity.MARK_ROLLED_BACK, promotion="promote-1", message="why", at=START.isoformat()) == {}
    assert scene.phase("promote-1") == "rolled_back"
    assert do(Activity.MARK_ROLLED_BACK, promotion="promote-1", message="other", at=START.isoformat()) == {}
    assert scene.row("promote-1").message == "why"
    assert do(Activity.MARK_ROLLED_BACK, promotion="unknown", message="why", at=START.isoformat()) == {}


# --- deployments --------------------------------------------------------------------------------------

def test_a_failed_deployment_tells_the_end_of_its_log(scene: Scene) -> None:
    _deployed(scene, "v1")
    scene.azure._endpoints[PROD, ENDPOINT].deployments["v1"].ends = "Failed"
    state = do(Activity.DEPLOYMENT_STATE, **TARGET, name="v1")
    assert state["settled"] is True
    assert state["deployment"]["error"] == "the container did not start; log: ModuleNotFoundError: No module named 'sklearn'"


@pytest.mark.parametrize("name", ["v1", "absent"])
def test_deleting_twice_is_deleting_once(scene: Scene, name: str) -> None:
    _deployed(scene, "v1")
    for _ in range(2):
        assert do(Activity.BEGIN_DELETE_DEPLOYMENT, **TARGET, name=name) == {}
    assert len(scene.azure.changes) == (1 if name == "v1" else 0)


def test_a_deployment_with_traffic_is_not_deleted(scene: Scene) -> None:
    _deployed(scene, "v1", traffic={"v1": 100})
    assert refusal(do(Activity.BEGIN_DELETE_DEPLOYMENT, **TARGET, name="v1")).startswith("InvalidInput: v1 takes 100 %")


def test_only_models_and_environments_are_shared(scene: Scene) -> None:
    ref = {"name": "d", "version": "1", "workspace": DEV, "registry": None}
    answer = do(Activity.BEGIN_SHARE, kind="data", source=ref, target=ref | {"workspace": None, "registry": "r"})
    assert refusal(answer).startswith("InvalidInput")


# --- orphans ------------------------------------------------------------------------------------------

NOW = START.isoformat()


def _orphans(scene: Scene) -> list[str]:
    return [orphan["name"] for orphan in do(Activity.FIND_ORPHANS, at=NOW)["orphans"]]


@pytest.mark.parametrize(("phase", "orphaned"), [(phase, phase.terminal) for phase in PromotionPhase])
def test_a_deployment_is_an_orphan_when_its_promotion_is_over(scene: Scene, phase: PromotionPhase, orphaned: bool) -> None:
    scene.ledger.promotions.put(_row(phase))
    _deployed(scene, "c1", workspace=STG, endpoint="air-time-stg", **{"pilotage-promotion": "promote-1"})
    assert _orphans(scene) == (["c1"] if orphaned else [])


@pytest.mark.parametrize(("hours", "orphaned"), [(-1, True), (0, True), (1, False)])
def test_a_rehearsal_that_was_killed_leaves_nothing_that_costs(scene: Scene, hours: int, orphaned: bool) -> None:
    scene.policies.known = [policy()]
    _deployed(scene, "r1", workspace=DEV, endpoint="try-ada", **rehearsal_tags(START + timedelta(hours=hours)))
    _deployed(scene, "kept", workspace=DEV, endpoint="try-ada", **{"pilotage-role": "rehearsal"})
    _deployed(scene, "odd", workspace=DEV, endpoint="try-ada", **{"pilotage-until": "soon"})
    assert _orphans(scene) == (["r1"] if orphaned else [])
    assert do(Activity.REMOVE_ORPHAN, workspace=DEV, endpoint="try-ada", name="r1", at=NOW) == {"begun": orphaned}


@pytest.mark.parametrize("owner", ["rollback-1", "promote-2"])
def test_nothing_goes_while_somebody_is_at_work_on_the_endpoint(scene: Scene, owner: str) -> None:
    scene.ledger.promotions.put(_row(PromotionPhase.SUCCEEDED))
    scene.ledger.promotions.put(_row(PromotionPhase.ROLLING_OUT, "promote-2"))
    _deployed(scene, "v1", **{"pilotage-promotion": "promote-1"})
    assert _orphans(scene) == ["v1"]
    if owner == "rollback-1":
        scene.ledger.endpoints.raise_epoch(PROD, ENDPOINT, owner)
    else:
        scene.ledger.endpoints.acquire(PROD, ENDPOINT, owner, "air-time", "2", lambda who: False)
    assert _orphans(scene) == []
    assert do(Activity.REMOVE_ORPHAN, **TARGET, name="v1", at=NOW) == {"begun": False}
    scene.ledger.promotions.put(_row(PromotionPhase.ERRORED, "promote-2", sequence=6))
    assert _orphans(scene) == ([] if owner == "rollback-1" else ["v1"]), "an owner that is over has left only its name"


def test_removing_is_repeated_without_harm(scene: Scene) -> None:
    scene.ledger.promotions.put(_row(PromotionPhase.FAILED))
    _deployed(scene, "v1", **{"pilotage-promotion": "promote-1"})
    for _ in range(3):
        assert do(Activity.REMOVE_ORPHAN, **TARGET, name="v1", at=NOW) == {"begun": True}
        assert _orphans(scene) == [], "what is being deleted is nobody's any more"
        scene.clock.advance(timedelta(seconds=1))
    assert len(scene.azure.changes) == 1
    assert do(Activity.REMOVE_ORPHAN, **TARGET, name="never", at=NOW) == {"begun": True}


def test_many_orphans_with_the_longest_names_fit_one_answer(scene: Scene) -> None:
    workspace, promotion = "w" * 63, "promote-" + "m" * 32 + "-" + "9" * 12 + "-abcdefabcdef-1000000"
    scene.policies.known = [policy(**{"stages.0.workspace": workspace, "stages.0.target.endpoint": "e" * 32})]
    scene.ledger.promotions.put(_row(PromotionPhase.INCONCLUSIVE, promotion))
    for number in range(60):
        _deployed(scene, f"{'d' * 29}{number:03}", workspace=workspace, endpoint="e" * 32, **{"pilotage-promotion": promotion})
    answer = do(Activity.FIND_ORPHANS, at=NOW)
    assert len(answer["orphans"]) == 40
    assert len(json.dumps(answer)) <= ANSWER_LIMIT


def test_a_workspace_that_does_not_answer_is_asked_again(scene: Scene) -> None:
    scene.azure.fail("endpoints", Unavailable("503"))
    with pytest.raises(Unavailable):
        do(Activity.FIND_ORPHANS, at=NOW)


# --- telling people -------------------------------------------------------------------------------------

def test_only_who_is_asked_to_decide_gets_a_link(scene: Scene) -> None:
    common = {"promotion": "p", "title": "t", "text": "x", "facts": {}}
    assert do(Activity.NOTIFY, kind="drift_errored", **common) == {"channels": {"webhook": "told"}}
    assert do(Activity.NOTIFY, kind="awaiting_approval", stage="production", plan_hash="sha256:1", round=1,
              expires_at=(START + timedelta(days=1)).isoformat(), **common) == {"channels": {"webhook": "told"}}
    told, asked = scene.notifier.sent
    assert (told.link, told.decision_url, told.link_token) == ("", "", ""), "an incident has no page"
    assert scene.tickets.redeem(asked.link_token).promotion == "p"


# --- the drift loop -------------------------------------------------------------------------------------

def test_a_policy_without_a_job_retrains_nothing(scene: Scene) -> None:
    quiet = policy(on_drift={"action": "notify"})
    scene.policies = MemoryPolicies([quiet])
    assert refusal(do(Activity.PIN_RETRAINING, policy=quiet.wire(), incident="i", job="j")).startswith("InvalidPolicy")


def test_a_job_that_is_not_there_yet_is_not_over(scene: Scene) -> None:
    assert do(Activity.JOB_STATE, workspace=DEV, name="j") == {"terminal": False, "status": "absent", "message": ""}
    assert do(Activity.CANCEL_JOB, workspace=DEV, name="j") == {}


# --- late digests ---------------------------------------------------------------------------------------


def test_digests_that_cannot_be_put_there_hold_up_no_other(scene: Scene) -> None:
    target = AssetRef(name="air-time", version="1", registry="shared-registry").model_dump()
    for number in range(45):
        scene.ledger.anchors.owe(f"promote-{number:02}-" + "x" * 200, target, f"sha256:{number}")
    scene.azure.fail("stamp", PermissionDenied("x" * 1000), times=40)
    answer = do(Activity.ANCHOR_LATE)
    assert len(json.dumps(answer)) <= ANSWER_LIMIT
    assert (len(answer["owed"]), answer["owed"][-1]) == (21, "and 20 more digests")
    assert len(answer["anchored"]) == 5
    assert len(scene.ledger.anchors.owed()) == 40
