"""Activities on online endpoints and deployments: begin, look, delete."""

from __future__ import annotations

from activities.effect import effect
from pilotage.bootstrap import app
from pilotage.ports import DeploymentSpec

SETTLED = ("Succeeded", "Failed", "Canceled")
LOG_LINES = 30


@effect
def begin_endpoint(payload: dict) -> dict:
    """{"workspace", "endpoint", "tags"}: create the endpoint unless it is there. One whose creation failed is created again."""
    deployments = app().deployments
    where = (payload["workspace"], payload["endpoint"])
    found = deployments.endpoint(*where)
    # One that failed and has deployments may well serve: creating it anew would take its traffic away.
    if found is None or (found.provisioning_state == "Failed" and not deployments.deployments(*where)):
        deployments.begin_create_endpoint(*where, payload["tags"])
    return {}


@effect
def endpoint_state(payload: dict) -> dict:
    """{"workspace", "endpoint"} -> {"settled", "state"}; a failed endpoint is refused by the next step that uses it."""
    found = app().deployments.endpoint(payload["workspace"], payload["endpoint"])
    state = found.provisioning_state if found else "absent"
    return {"settled": state in SETTLED, "state": state}


@effect
def begin_deployment(payload: dict) -> dict:
    """{"spec": DeploymentSpec}: create unless it is there as specified; refused Conflict when it is there otherwise."""
    app().deployments.begin_create_deployment(DeploymentSpec.model_validate(payload["spec"]))
    return {}


@effect
def deployment_state(payload: dict) -> dict:
    """{"workspace", "endpoint", "name"} -> {"settled", "deployment": DeploymentState | None}; a failure carries its log's end."""
    deployments = app().deployments
    where = (payload["workspace"], payload["endpoint"], payload["name"])
    found = deployments.deployment(*where)
    if found is None:
        return {"settled": True, "deployment": None}
    if found.provisioning_state == "Failed":
        tail = deployments.logs(*where, lines=LOG_LINES)[-2000:]
        found = found.model_copy(update={"error": (found.error or "provisioning failed") + (f"; log: {tail}" if tail else "")})
    return {"settled": found.provisioning_state in SETTLED, "deployment": found.model_dump(mode="json")}


@effect
def begin_delete_deployment(payload: dict) -> dict:
    """{"workspace", "endpoint", "name"}: one that is absent or being deleted is left alone."""
    deployments = app().deployments
    where = (payload["workspace"], payload["endpoint"], payload["name"])
    found = deployments.deployment(*where)
    if found is not None and found.provisioning_state != "Deleting":
        deployments.begin_delete_deployment(*where)
    return {}
