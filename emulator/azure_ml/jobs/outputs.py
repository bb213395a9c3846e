"""Outputs that are registered: a job's output with a name becomes a model or data version of its own accord."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emulator.azure_ml import assets
from emulator.azure_ml.asset_kinds import DATA, MODELS
from emulator.azure_ml.jobs.definitions import MODEL_TYPES
from emulator.azure_ml.jobs.runs import Run
from emulator.azure_ml.resource import Scope
from emulator.context import Caller

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl


async def register(azure_ml: AzureMl, scope: Scope, run: Run, asset: dict[str, Any], output: dict[str, str]) -> None:
    """Register a run's output as `{"name", "version"}` asks; without a version the next one."""
    kind = MODELS if output["type"] in MODEL_TYPES else DATA
    name, version = asset["name"], asset.get("version")
    if version is None:
        container = azure_ml.store.get(f"{scope.id}/{kind.plural}/{name}")
        version = container["properties"]["nextVersion"] if container else "1"
    properties: dict[str, Any] = {"properties": {"azureml.jobName": run.name}}
    if kind is MODELS:
        properties |= {"modelUri": output["uri"], "modelType": output["type"], "jobName": run.name}
    else:
        properties |= {"dataUri": output["uri"], "dataType": output["type"]}
    await assets.register(azure_ml, kind, scope, name, str(version), properties, job_caller(azure_ml))


def job_caller(azure_ml: AzureMl) -> Caller:
    """The identity that jobs act as."""
    config = azure_ml.context.config
    identity = config.identity(config.job_identity)
    return Caller(identity.object_id, identity.name, identity.client_id)
