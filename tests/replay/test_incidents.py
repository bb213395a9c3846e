"""`drift` and `retraining` in virtual time: one incident at a time, within cooldown and budget, seen to its end."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pilotage.domain.assets import AssetRef
from pilotage.errors import NotFound, PermissionDenied, PilotageError, Unavailable
from tests.support.fakes import Asset
from tests.support.scene import DEV, Scene, everything_replays, live, policy


def _ends(scene: Scene, incident: str, outcome: str) -> str:
    """Run the incident to its end; its message."""
    scene.hub.run(lambda: scene.hub.durable.instances[incident].over)
    told = scene.hub.output(incident)
    assert told["outcome"] == outcome, told
    assert [entry.step for entry in scene.entries(incident)][-1] == "closed"
    assert scene.entries(incident)[-2].step in ("incident", "incident.announcement_failed")
    scene.sound()
    everything_replays(scene)
    return str(told["message"])


def _retrained(scene: Scene, incident: str, version: str) -> str:
    """Run until the job is over, register what it trained, as its event would; returns the promotion."""
    scene.hub.run(lambda: any(entry.step == "retraining.job" and entry.kind == "outcome" for entry in scene.entries(incident)))
    scene.register(version, Asset(tags={"pilotage.case": incident}, created_by="Training Jobs", job=_job(incident)))
    return scene.start(version)


def _job(incident: str) -> str:
    return f"retrain-{incident}-1"


def test_an_alert_becomes_a_retrained_version_beside_the_first() -> None:
    scene, (first,) = live("1")
    incident = scene.alert()
    begun = scene.clock.now()
    scene.hub.run(lambda: any(change[0] == "begin" for change in scene.azure.changes))
    assert scene.clock.now() - begun == timedelta(minutes=10), "alerts are gathered first"
    second = _retrained(scene, incident, "2")
    message = _ends(scene, incident, "retrained")
    assert second in message
    assert scene.row(second).case == incident
    scene.finish(second)
    assert scene.traffic() == {scene.green(second): 100}
    assert scene.phase(first) == "succeeded"
    steps = scene.steps(incident)
    assert steps.index("outcome incident.decision") < steps.index("intent retraining.job") < steps.index("outcome retraining.job")
    spec: dict[str, Any] = next(entry.data for entry in scene.entries(incident) if entry.step == "retraining.job")
    assert spec["component"]["version"] == "1", "labels are resolved before anything is submitted"
    assert spec["inputs"] == {"rows": f"azureml://workspaces/{DEV}/data/holdout/versions/1", "epochs": "3", "case": incident}
    assert spec["tags"] == {"pilotage.case": incident, "pilotage.policy": "air-time"}


def test_who_trains_does_not_approve() -> None:
    scene, _ = live("1")
    incident = scene.alert()
    second = _retrained(scene, incident, "2")
    scene.hub.run(lambda: scene.phase(second) == "awaiting_approval" and scene.ledger.approvals.current(second) is not None)
    assert {s.object_id for s in scene.row(second).submitters} == {"oid-jobs"}
    scene.vote(second, "oid-jobs")
    scene.hub.run()
    assert scene.phase(second) == "expired"


def test_alerts_that_come_together_are_one_incident() -> None:
    scene, _ = live("1")
    incident = scene.alert("run-1")
    assert {scene.alert("run-1"), scene.alert("run-2"), scene.alert("run-3")} == {incident}
    _retrained(scene, incident, "2")
    _ends(scene, incident, "retrained")
    assert scene.last(incident, "incident.decision")["alerts"] == 3
    assert sum(change[0] == "begin" for change in scene.azure.changes) == 1


def test_cooldown_suppresses_the_next_one_and_ends() -> None:
    scene, _ = live("1")
    first = scene.alert("run-1")
    _retrained(scene, first, "2")
    _ends(scene, first, "retrained")
    second = scene.alert("run-2")
    assert second != first
    assert "cooling down until" in _ends(scene, second, "suppressed")
    assert sum(change[0] == "begin" for change in scene.azure.changes) == 1
    scene.hub.run(deadline=scene.clock.now() + timedelta(days=1))
    third = scene.alert("run-3")
    _retrained(scene, third, "3")
    _ends(scene, third, "retrained")
    assert sum(change[0] == "begin" for change in scene.azure.changes) == 2


def test_the_budget_counts_failed_retrainings_too() -> None:
    scene, _ = live("1")
    scene.azure.job_ends = "Failed"
    for number in (1, 2):
        incident = scene.alert(f"run-{number}")
        assert f"{_job(incident)} ended Failed: out of memory" in _ends(scene, incident, "errored")
        scene.hub.run(deadline=scene.clock.now() + timedelta(days=2))
    assert "the budget of 2 retrainings is used up until" in _ends(scene, scene.alert("run-3"), "suppressed")
    scene.hub.run(deadline=scene.clock.now() + timedelta(days=4))
    scene.azure.job_ends = "Completed"
    fourth = scene.alert("run-4")
    _retrained(scene, fourth, "2")
    _ends(scene, fourth, "retrained")


def test_a_job_that_registers_nothing_is_seen() -> None:
    scene, _ = live("1")
    incident = scene.alert()
    message = _ends(scene, incident, "errored")
    assert "no promotion of its model started within 1:00:00" in message
    told = scene.notifier.sent[-1]
    assert (told.kind, told.promotion, told.text, told.link_token) == ("drift_errored", incident, message, "")
    assert scene.alert("run-2") != incident, "the incident is closed"


def test_a_job_that_takes_too_long_is_cancelled() -> None:
    scene, _ = live("1")
    scene.azure.pace.job = timedelta(days=3)
    incident = scene.alert()
    begun = scene.clock.now()
    assert "canceled after 2:00:00" in _ends(scene, incident, "errored")
    assert scene.clock.now() - begun < timedelta(hours=2, minutes=15)
    assert scene.azure.changes[-1][0] == "cancel"


@pytest.mark.parametrize(("method", "error", "says"), [
    ("pin", NotFound("azureml:train@latest: there is no such asset"), "there is no such asset"),
    ("begin", PermissionDenied("AzureML Data Scientist is missing"), "AzureML Data Scientist is missing"),
    ("begin", Unavailable("503"), "503"),
    ("state", PermissionDenied("Reader is missing"), "Reader is missing"),
])
def test_a_retraining_that_cannot_be_is_said_and_the_incident_closed(method: str, error: PilotageError, says: str) -> None:
    scene, _ = live("1")
    scene.azure.fail(method, error, times=100)
    incident = scene.alert()
    message = _ends(scene, incident, "errored")
    assert message.startswith("retraining: ")
    assert says in message
    assert scene.notifier.sent[-1].kind == "drift_errored"
    assert scene.alert("run-2") != incident


def test_where_people_are_asked_they_are_told_and_nothing_is_trained() -> None:
    scene = Scene(policy(on_drift={"action": "notify"}))
    scene.promote("1")
    incident = scene.alert()
    _ends(scene, incident, "notified")
    assert (scene.notifier.sent[-1].kind, scene.notifier.sent[-1].facts["signal"]) == ("drift_notified", "data_drift")
    assert not any(change[0] == "begin" for change in scene.azure.changes)


def test_a_channel_that_is_down_is_told_in_the_passport() -> None:
    scene = Scene(policy(on_drift={"action": "notify"}))
    scene.promote("1")
    scene.notifier.error = Unavailable("the webhook answered 503")
    incident = scene.alert()
    _ends(scene, incident, "notified")
    assert scene.entries(incident)[-2].step == "incident.announcement_failed"
    assert scene.alert("run-2") != incident


def test_labels_that_move_on_change_nothing_of_a_job_that_was_submitted() -> None:
    """A repeat of the submission finds the job by its name, and it must be the same job."""
    scene, _ = live("1")
    incident = scene.alert()
    scene.azure.fail("begin", Unavailable("503"), after=True)
    scene.hub.run(lambda: any(change[0] == "begin" for change in scene.azure.changes))
    for name in ("train", "holdout"):
        scene.azure.put("components" if name == "train" else "data", AssetRef(name=name, version="2", workspace=DEV),
                        Asset(files={"holdout.csv": b"x,y\n"}))
    scene.hub.run(lambda: any(entry.step == "retraining.job" and entry.kind == "outcome" for entry in scene.entries(incident)))
    assert scene.last(incident, "retraining.job")["status"] == "Completed"
    assert sum(change[0] == "begin" for change in scene.azure.changes) == 1
