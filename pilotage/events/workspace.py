"""Events of Azure ML workspaces: registrations, runs and the breaches they tell of.

Source: Azure Machine Learning as an Event Grid source.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pilotage.domain.assets import Frozen
from pilotage.domain.drift import DriftAlert
from pilotage.errors import InvalidEvent
from pilotage.events.breach import read_breach, read_number
from pilotage.events.envelope import Declared, Envelope, read_envelope
from pilotage.events.resources import model_version, required_name, workspace_of_topic

PREFIX = "Microsoft.MachineLearningServices."
BREACH_TAG = "azureml_modelmonitor_threshold_breached"
"""Run tag of a model monitor's evaluator run that found a breach."""
ENDPOINT_TAG, MODEL_TAG = "pilotage.endpoint", "pilotage.model"
"""Tags by which a monitor can say what it watches; Azure's own run tags do not."""
_TERMINAL = frozenset({"completed", "finished", "failed", "canceled", "cancelled", "notresponding"})


class ModelRegistered(Frozen):
    """A model version was registered in a workspace. Its tags here are a hint: the version is read again."""

    event_id: str
    workspace_id: str
    workspace: str
    model: str
    version: str
    tags: dict[str, str] = {}
    at: str = ""


class Noted(Frozen):
    """Understood, and nothing that Pilotage acts on; `reason` says why."""

    event_id: str
    type: str
    reason: str


WorkspaceEvent = ModelRegistered | DriftAlert | Noted


def parse_workspace_event(body: Any) -> WorkspaceEvent:
    """Read an event of an Azure ML workspace's system topic."""
    envelope = read_envelope(body)
    folded = envelope.type.casefold()
    if not folded.startswith(PREFIX.casefold()) or folded.removeprefix(PREFIX.casefold()) not in _READERS:
        known = ", ".join(f"{PREFIX}{name}" for name in _NAMES)
        raise InvalidEvent(f"the event type {envelope.type[:128]!r} is unknown here; known are {known}")
    workspace = workspace_of_topic(envelope.topic)
    return _READERS[folded.removeprefix(PREFIX.casefold())](envelope, Declared(envelope.data, "data."), workspace)


def _model_registered(envelope: Envelope, data: Declared, workspace: str) -> WorkspaceEvent:
    return ModelRegistered(
        event_id=envelope.id, workspace_id=envelope.topic.rstrip("/"), workspace=workspace,
        model=required_name(data, "modelName"), version=model_version(data), tags=data.texts("modelTags"), at=envelope.time)


def _model_deployed(envelope: Envelope, data: Declared, workspace: str) -> WorkspaceEvent:
    service = data.text("serviceName")
    return _noted(envelope, f"{service} was deployed in {workspace}: rollouts read that back themselves")


def _run_completed(envelope: Envelope, data: Declared, workspace: str) -> WorkspaceEvent:
    run = data.text("runId")
    return _noted(envelope, f"{run} completed in {workspace}: retraining polls its own job")


def _run_status_changed(envelope: Envelope, data: Declared, workspace: str) -> WorkspaceEvent:
    run, status, tags = data.text("runId"), data.text("runStatus"), data.texts("runTags")
    if BREACH_TAG not in tags:
        return _noted(envelope, f"{run} is {status}, and no monitor's breach")
    if status.casefold() not in _TERMINAL:
        # Several status events of one run may carry the tag, and its last one always does.
        return _noted(envelope, f"{run} tells of a breach and is {status}: its end will tell it again")
    breach = read_breach(tags[BREACH_TAG])
    if breach is None:
        return _noted(envelope, f"{run} carries {BREACH_TAG}, and its text tells of no breach")
    told = {**tags, **data.texts("runProperties")}
    return DriftAlert(
        source="model_monitor", key=f"{envelope.topic.rstrip('/').casefold()}|{run}", workspace=workspace,
        endpoint=told.get(ENDPOINT_TAG), model=told.get(MODEL_TAG), signal=breach.signal, summary=breach.summary,
        raised_at=envelope.time,
        metrics={**breach.metrics, "run": run, "experiment": data.optional_text("experimentName")})


def _dataset_drift(envelope: Envelope, data: Declared, workspace: str) -> WorkspaceEvent:
    run, name = data.text("runId"), data.text("dataDriftName", "dataDriftId")
    coefficient = read_number(data.get("driftCoefficient"))
    if coefficient is None:
        raise InvalidEvent("data.driftCoefficient must be a number")
    return DriftAlert(
        source="dataset_drift", key=f"{envelope.topic.rstrip('/').casefold()}|{run}", workspace=workspace, signal=name,
        summary=f"dataset drift monitor {name} measured a coefficient of {coefficient:g}", raised_at=envelope.time,
        metrics={"drift_coefficient": coefficient, "run": run, "base_dataset": str(data.get("baseDatasetId") or ""),
                 "target_dataset": str(data.get("targetDatasetId") or "")})


def _noted(envelope: Envelope, reason: str) -> Noted:
    return Noted(event_id=envelope.id, type=envelope.type, reason=reason)


_NAMES = ("ModelRegistered", "ModelDeployed", "RunCompleted", "RunStatusChanged", "DatasetDriftDetected")
_READERS: dict[str, Callable[[Envelope, Declared, str], WorkspaceEvent]] = dict(zip(
    (name.casefold() for name in _NAMES),
    (_model_registered, _model_deployed, _run_completed, _run_status_changed, _dataset_drift), strict=True))
