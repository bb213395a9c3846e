"""Activities of the drift loop: the incident's row, the training job, the promotion that must follow."""

from __future__ import annotations

from typing import Any

from activities.effect import effect
from pilotage.bootstrap import app
from pilotage.domain.assets import parse_asset
from pilotage.domain.drift import PastRun
from pilotage.domain.policy import PromotionPolicy
from pilotage.errors import InvalidPolicy
from pilotage.ports import JobSpec


@effect
def incident_facts(payload: dict) -> dict:
    """{"incident", "policy", "endpoint_key"} -> {"runs": [PastRun], "alerts": how many}. This incident's own run is not past."""
    incidents = app().ledger.incidents
    runs = incidents.runs(payload["policy"], payload["endpoint_key"])
    return {"runs": [run.model_dump() for run in runs if run.incident != payload["incident"]],
            "alerts": len(incidents.alerts(payload["incident"]))}


@effect
def record_run(payload: dict) -> dict:
    """Count this retraining against cooldown and budget; once an incident."""
    app().ledger.incidents.record_run(
        payload["policy"], payload["endpoint_key"], PastRun(incident=payload["incident"], started_at=payload["started_at"]))
    return {}


@effect
def close_incident(payload: dict) -> dict:
    """The next alert opens a new incident."""
    app().ledger.incidents.close(payload["policy"], payload["endpoint_key"], payload["incident"])
    return {}


@effect
def find_case_promotion(payload: dict) -> dict:
    """{"case"} -> {"promotion": id | None}: the promotion of the version that carries the incident's tag."""
    found = app().ledger.promotions.by_case(payload["case"])
    return {"promotion": found.id if found else None}


@effect
def pin_retraining(payload: dict) -> dict:
    """{"policy", "incident", "job"} -> {"spec": JobSpec}: component and data inputs by version."""
    policy = PromotionPolicy.from_wire(payload["policy"])
    rule = policy.on_drift
    if rule is None or rule.job is None:
        raise InvalidPolicy(f"policy {policy.name}: on_drift.job is not set")
    registry = app().registry
    spec = JobSpec(
        workspace=policy.home, name=payload["job"], component=registry.pin("components", parse_asset(rule.job, policy.home)),
        inputs={name: _pin_input(text, policy.home) for name, text in rule.inputs.items()} | {"case": payload["incident"]},
        compute=rule.compute, experiment=f"pilotage-{policy.name}",
        tags={"pilotage.case": payload["incident"], "pilotage.policy": policy.name},
    )
    return {"spec": spec.model_dump(mode="json")}


def _pin_input(text: str, workspace: str) -> str:
    """A data asset becomes its version's id; anything else is a literal."""
    if not text.startswith("azureml:"):
        return text
    registry = app().registry
    return registry.data(registry.pin("data", parse_asset(text, workspace))).id


@effect
def begin_job(payload: dict) -> dict:
    """{"spec": JobSpec}: submit unless the job is there."""
    app().jobs.begin(JobSpec.model_validate(payload["spec"]))
    return {}


@effect
def job_state(payload: dict) -> dict:
    """{"workspace", "name"} -> {"terminal", "status", "message"}."""
    state = app().jobs.state(payload["workspace"], payload["name"])
    answer: dict[str, Any] = {"terminal": False, "status": "absent", "message": ""}
    return answer if state is None else {"terminal": state.terminal, "status": state.status, "message": state.message}


@effect
def cancel_job(payload: dict) -> dict:
    app().jobs.cancel(payload["workspace"], payload["name"])
    return {}
