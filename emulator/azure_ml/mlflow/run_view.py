"""What MLflow's clients see of a run."""

from __future__ import annotations

from datetime import datetime

from emulator.azure_ml.jobs.measurements import Measurements, Metric, json_number
from emulator.azure_ml.jobs.runs import TRACKED, Run, experiment_id
from emulator.azure_ml.mlflow.calls import Json
from emulator.azure_ml.mlflow.experiments import ARTIFACTS, key_values

_STATUS = {
    "NotStarted": "SCHEDULED", "Queued": "SCHEDULED", "Starting": "SCHEDULED", "Running": "RUNNING",
    "CancelRequested": "RUNNING", "Completed": "FINISHED", "Failed": "FAILED", "Canceled": "KILLED",
}  # fmt: skip
PARENT, NAME = "mlflow.parentRunId", "mlflow.runName"
"""Tags that MLflow's clients read a run's place and its name from."""


def run_shown(run: Run, measurements: Measurements) -> Json:
    return {
        "info": run_info(run),
        "data": {
            "metrics": [metric_shown(metric) for metric in measurements.latest(run.scope_id, run.name)],
            "params": key_values(measurements.params(run.scope_id, run.name)),
            "tags": key_values(tags_shown(run)),
        },
        "inputs": {"dataset_inputs": run.body.get("mlflow.datasets", []), "model_inputs": run.body.get("mlflow.models", [])},
        "outputs": {"model_outputs": run.body.get("mlflow.outputs", [])},
    }


def run_info(run: Run) -> Json:
    info: Json = {
        "run_id": run.name,
        "run_uuid": run.name,
        "run_name": run.display_name or run.name,
        "experiment_id": experiment_id(run),
        "user_id": run.created_by["name"],
        "status": _STATUS[run.status],
        "start_time": _milliseconds(run.started or run.created),
        "artifact_uri": artifact_uri(run),
        "lifecycle_stage": "deleted" if run.hidden else "active",
    }
    return {**info, "end_time": _milliseconds(run.ended)} if run.ended else info


def artifact_uri(run: Run) -> str:
    """Where a plain MLflow client finds a run's artifacts: through the workspace's proxy, in its artifact store."""
    return f"{ARTIFACTS}/dcid.{run.name}"


def tags_shown(run: Run) -> dict[str, str]:
    """A run's tags with those that MLflow's clients read its name and its place among others from."""
    computed = {NAME: run.display_name or run.name, "mlflow.rootRunId": run.root or run.name, "mlflow.user": run.created_by["name"]}
    if run.kind != TRACKED:
        computed["mlflow.source.type"] = "JOB"
    if run.parent:
        computed[PARENT] = run.parent
    return {**computed, **run.tags}


def metric_shown(metric: Metric) -> Json:
    return {"key": metric.key, "value": json_number(metric.value), "timestamp": metric.timestamp, "step": metric.step}


def _milliseconds(when: str) -> int:
    return int(datetime.fromisoformat(when).timestamp() * 1000)
