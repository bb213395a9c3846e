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

_JOB = "azureml.jobName"
"""The property of a version that names the run which wrote it."""


async def register(azure_ml: AzureMl, scope: Scope, run: Run, asset: dict[str, Any], output: dict[str, str]) -> None:
    """Register a run's output as `{"name", "version"}` asks; without a version the next one.

    A run that is done again after a crash finds what it had registered.
    """
    kind = MODELS if output["type"] in MODEL_TYPES else DATA
    name, version = asset["name"], asset.get("version")
    if version is None:
        versions = azure_ml.store.children(f"{scope.id}/{kind.plural}/{name}/versions")
        version = next((one["name"] for one in versions if _is_of(run, output, one["properties"])), None)
    properties: dict[str, Any] = {"properties": {_JOB: run.name}}
    if kind is MODELS:
        properties |= {"modelUri": output["uri"], "modelType": output["type"], "jobName": run.name}
    else:
        properties |= {"dataUri": output["uri"], "dataType": output["type"]}
    await assets.register(azure_ml, kind, scope, name, str(version) if version else None, properties, job_caller(azure_ml))


def _is_of(run: Run, output: dict[str, str], properties: dict[str, Any]) -> bool:
    """Whether a version is what this run has made of this output."""
    return properties["properties"].get(_JOB) == run.name and output["uri"] in (properties.get("modelUri"), properties.get("dataUri"))


def job_caller(azure_ml: AzureMl) -> Caller:
    """The identity that jobs act as."""
    config = azure_ml.context.config
    identity = config.identity(config.job_identity)
    return Caller(identity.object_id, identity.name, identity.client_id)
