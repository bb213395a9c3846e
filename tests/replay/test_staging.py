"""`staging`: gates side by side, each verdict told, the candidate taken down whatever comes."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest

from pilotage.domain.assets import AssetRef
from pilotage.errors import Conflict, PermissionDenied, PilotageError, Unavailable
from pilotage.ports import DeploymentSpec
from tests.support.fakes import Asset
from tests.support.scene import DEV, STAGING_ENDPOINT, STG, Scene, everything_replays, policy

METRIC = {"metric": "mae", "holdout": "azureml:holdout@latest", "target": "y", "max": 0.5, "min_rows": 10}
SMOKE = {"samples": "azureml:requests@latest"}


def _stopped(scene: Scene, asset: Asset) -> str:
    """Promote a version that does not get beyond staging."""
    scene.register("1", asset)
    promotion = scene.start("1")
    scene.hub.run()
    assert scene.azure.standing(STG, STAGING_ENDPOINT) == [], "the candidate is taken down"
    assert scene.last(promotion, "staging.teardown")["state"] == "absent"
    assert scene.traffic() == {}
    assert scene.ledger.approvals.current(promotion) is None
    scene.sound()
    everything_replays(scene)
    return promotion


def _begun(scene: Scene) -> Counter[str]:
    """How often each gate was begun."""
    return Counter(work.input["name"] for work in scene.hub.executed if work.name == "begin_gate")


def _outcomes(scene: Scene, promotion: str) -> dict[str, str]:
    return {result["gate"]: result["outcome"] for result in scene.last(promotion, "staging.gates")["results"]}


@pytest.mark.parametrize(("asset", "phase", "outcomes", "says"), [
    (Asset(predict=lambda row: 2.6 * row["x"]), "failed", {"smoke": "passed", "metric:mae": "failed"}, "over the limit 0.5 on 20 rows"),
    (Asset(status=424), "failed", {"smoke": "failed", "metric:mae": "failed"}, "answered 424"),
    (Asset(predict=lambda row: math.nan), "failed", {"smoke": "failed", "metric:mae": "failed"}, "can't be computed"),
    (Asset(predict=lambda row: None), "failed", {"smoke": "failed", "metric:mae": "failed"}, "null, NaN or infinite"),
    (Asset(predict=lambda row: "2"), "failed", {"smoke": "passed", "metric:mae": "failed"}, "not numbers"),
])
def test_a_model_that_is_at_fault_fails(asset: Asset, phase: str, outcomes: dict[str, str], says: str) -> None:
    scene = Scene()
    promotion = _stopped(scene, asset)
    assert scene.phase(promotion) == phase
    assert says in scene.row(promotion).message
    assert _outcomes(scene, promotion) == outcomes, "both verdicts are told"


@pytest.mark.parametrize("status", [500, 502, 503])
def test_an_endpoint_that_fails_by_itself_is_not_the_models_fault(status: int) -> None:
    scene = Scene()
    promotion = _stopped(scene, Asset(status=status))
    assert scene.phase(promotion) == "errored"
    assert _outcomes(scene, promotion) == {"smoke": "errored", "metric:mae": "errored"}
    assert f"itself answered {status}" in scene.row(promotion).message
    assert _begun(scene)["smoke"] == 8, "it may pass, so it is asked again"


def test_too_little_evidence_holds() -> None:
    scene = Scene(policy(**{"stages.0.gates": [{"metric": METRIC | {"min_rows": 21}}, {"smoke": SMOKE | {"min_requests": 3}}]}))
    promotion = _stopped(scene, Asset())
    assert scene.phase(promotion) == "inconclusive"
    assert _outcomes(scene, promotion) == {"smoke": "inconclusive", "metric:mae": "inconclusive"}


@pytest.mark.parametrize(("files", "says"), [
    ({"holdout.csv": b"x,z\n1,2\n"}, "has no column 'y'"),
    ({"notes.txt": b"x,y\n1,2\n"}, "has no rows"),
    ({"holdout.csv": b"x,y\n1,2\n3\n"}, "line 3 of holdout.csv"),
    ({"holdout.csv": b"x,y\n1,2\n2,\n"}, "1 of 2 rows"),
    ({"holdout.csv": b"x,y\n1,two\n"}, "1 of 1 rows"),
    ({"holdout.csv": b"\xff\xfe"}, "not UTF-8"),
    ({"a.csv": b"x,y\n1,2\n", "b.csv": b"y,x\n1,2\n"}, "different columns"),
    ({"holdout.jsonl": b'{"x": 1, "y": 2}\n[1]\n'}, "holdout.jsonl:2"),
    ({"holdout.jsonl": b'{"x": 1, "y": 2}\n{\n'}, "is not JSON"),
])
def test_data_that_cannot_be_used_is_our_fault_and_asked_for_once(scene: Scene, files: dict[str, bytes], says: str) -> None:
    scene.azure.put("data", AssetRef(name="holdout", version="2", workspace=DEV), Asset(files=files))
    promotion = _stopped(scene, Asset())
    assert scene.phase(promotion) == "errored"
    assert says in scene.row(promotion).message
    assert _outcomes(scene, promotion) == {"smoke": "passed", "metric:mae": "errored"}, "the other gate's verdict is told"
    assert _begun(scene)["metric:mae"] == 1, "what is wrong stays wrong"


@pytest.mark.parametrize("line", ["{", "[1]", '{"input_data": {"columns": ["x"], "data": []}}', '{"columns": ["x"]}'])
def test_sample_requests_that_ask_for_nothing_prove_nothing(scene: Scene, line: str) -> None:
    scene.azure.put("data", AssetRef(name="requests", version="2", workspace=DEV), Asset(files={"requests.jsonl": line.encode()}))
    promotion = _stopped(scene, Asset())
    assert scene.phase(promotion) == "errored"
    assert _outcomes(scene, promotion)["smoke"] == "errored"


def test_a_gate_that_errs_does_not_hide_the_models_fault(scene: Scene) -> None:
    scene.azure.fail("read_data", PermissionDenied("Storage Blob Data Reader is missing"), where=lambda ref, limit: ref.name == "requests")
    promotion = _stopped(scene, Asset(predict=lambda row: 0))
    assert scene.phase(promotion) == "failed"
    assert _outcomes(scene, promotion) == {"smoke": "errored", "metric:mae": "failed"}


def test_being_throttled_says_nothing_of_the_model(scene: Scene) -> None:
    scene.azure.answers = {}
    scene.register("1", Asset(status=429))
    promotion = scene.start("1")
    scene.hub.run()
    assert scene.phase(promotion) == "errored"
    assert set(_outcomes(scene, promotion).values()) == {"errored"}
    assert "Throttled" in scene.row(promotion).message


def test_a_candidate_that_does_not_start_is_the_models_fault_and_its_log_is_told(scene: Scene) -> None:
    promotion = _stopped(scene, Asset(starts=False))
    assert scene.phase(promotion) == "failed"
    assert "the container did not start; log: ModuleNotFoundError" in scene.row(promotion).message


def test_a_candidate_that_disappears_is_noticed(scene: Scene) -> None:
    scene.register("1")
    promotion = scene.start("1")
    scene.hub.run(lambda: len(scene.azure.standing(STG, STAGING_ENDPOINT)) == 1)
    scene.azure.remove(STG, STAGING_ENDPOINT, scene.azure.standing(STG, STAGING_ENDPOINT)[0])
    scene.hub.run()
    assert scene.phase(promotion) == "failed"
    assert "it disappeared" in scene.row(promotion).message


@pytest.mark.parametrize(("method", "error"), [
    ("begin_create_endpoint", PermissionDenied("AzureML Data Scientist is missing")),
    ("begin_create_deployment", Conflict("exists otherwise")),
    ("deployment", PermissionDenied("AzureML Data Scientist is missing")),
])
def test_what_azure_refuses_errs(scene: Scene, method: str, error: PilotageError) -> None:
    scene.azure.fail(method, error)
    promotion = _stopped(scene, Asset())
    assert scene.phase(promotion) == "errored"
    assert str(error) in scene.row(promotion).message


@pytest.mark.parametrize("error", [PermissionDenied("no"), Unavailable("503")])
def test_a_teardown_that_fails_keeps_the_verdict_and_leaves_a_trace_for_the_sweeper(scene: Scene, error: PilotageError) -> None:
    scene.azure.fail("begin_delete_deployment", error, times=50, where=lambda workspace, *_: workspace == STG)
    scene.register("1", Asset(predict=lambda row: 0))
    promotion = scene.start("1")
    scene.hub.run()
    assert scene.phase(promotion) == "failed", "the verdict stands"
    left = scene.last(promotion, "staging.teardown")
    assert left["state"] == "left to the sweeper"
    assert scene.azure.standing(STG, STAGING_ENDPOINT) == [left["name"]]
    assert scene.azure.deployments(STG, STAGING_ENDPOINT)[0].tags["pilotage-promotion"] == promotion
    scene.azure.faults.clear()
    assert [orphan["name"] for orphan in scene.sweep()["removed"]] == [left["name"]]
    assert scene.azure.standing(STG, STAGING_ENDPOINT) == []


def test_an_endpoint_whose_creation_failed_is_created_again(scene: Scene) -> None:
    scene.azure.place(STG, STAGING_ENDPOINT)
    scene.azure.break_endpoint(STG, STAGING_ENDPOINT)
    scene.promote("1")


def test_an_endpoint_that_failed_and_serves_is_left_as_it_is(scene: Scene) -> None:
    """Creating it anew would take its traffic away."""
    scene.register("0")
    other = DeploymentSpec(workspace=STG, endpoint=STAGING_ENDPOINT, name="other", model=f"azureml://workspaces/{DEV}/models/air-time/versions/0",
                           instance_type="Standard_DS3_v2")
    scene.azure.place(STG, STAGING_ENDPOINT, other, {"other": 100})
    scene.azure.break_endpoint(STG, STAGING_ENDPOINT)
    scene.promote("1")
    assert scene.azure.traffic(STG, STAGING_ENDPOINT) == {"other": 100}
    assert scene.azure.standing(STG, STAGING_ENDPOINT) == ["other"]


def test_candidates_share_an_endpoint_without_meeting(scene: Scene) -> None:
    promotions = []
    for version in ("1", "2"):
        scene.register(version)
        promotions.append(scene.start(version))
    scene.hub.run(lambda: len(scene.azure.standing(STG, STAGING_ENDPOINT)) == 2)
    scene.hub.run(lambda: all(scene.phase(p) == "awaiting_approval" for p in promotions))
    assert len({scene.last(p, "staging.deploy")["name"] for p in promotions}) == 2
    assert scene.azure.traffic(STG, STAGING_ENDPOINT) == {}
    scene.hub.run()
    assert scene.azure.standing(STG, STAGING_ENDPOINT) == []


def test_evidence_holds_aggregates_and_no_rows(scene: Scene) -> None:
    promotion = scene.promote("1")
    evidence = json.dumps(scene.last(promotion, "staging.gates"))
    assert '"rows": 20' in evidence
    assert "input_data" not in evidence




def test_rows_are_scored_in_batches_and_none_is_lost() -> None:
    scene = Scene(policy(**{"stages.0.gates": [{"metric": METRIC}]}))
    rows = "\n".join(["x,y", *(f"{n},{2 * n}" for n in range(1201))]).encode()
    scene.azure.put("data", AssetRef(name="holdout", version="2", workspace=DEV), Asset(files={"holdout.csv": rows}))
    promotion = scene.promote("1")
    assert scene.last(promotion, "staging.gates")["results"][0]["evidence"]["rows"] == 1201
