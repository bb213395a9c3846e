"""A run as clients see it: as an ARM job, and as a run of the run history service."""

from __future__ import annotations

import re
from typing import Any

from emulator.azure_ml.jobs.definitions import MODEL_TYPES
from emulator.azure_ml.jobs.measurements import Measurements, json_number, when
from emulator.azure_ml.jobs.runs import TRACKED, Run, experiment_id
from emulator.azure_ml.resource import PROVIDER, Scope

Json = dict[str, Any]

_OUTPUT_ASSET = "azureml_{run}_output_data_{output}"
_OUTPUT_ID = re.compile(r"/data/azureml_(?P<run>[^/]+?)_output_data_(?P<output>[^/]+)/versions/1$")


def arm(run: Run, scope: Scope, base_url: str) -> Json:
    """The job resource. A pipeline's step has no properties there, as in Azure: run history has them.

    So it is with runs that MLflow's clients keep: the SDK then reads them from run history.
    """
    resource: Json = {
        "id": run.id,
        "name": run.name,
        "type": f"{PROVIDER}/workspaces/jobs",
        "systemData": {"createdAt": run.created, "createdBy": run.created_by["name"], "createdByType": "User"},
    }
    if run.parent is not None or run.kind == TRACKED:
        return {**resource, "properties": None}
    properties: Json = {
        **{key: value for key, value in run.body.items() if not key.startswith("mlflow.")},
        "status": run.status,
        "displayName": run.display_name or run.name,
        "experimentName": run.experiment,
        "description": run.description,
        "tags": run.tags,
        "properties": run.properties,
        "isArchived": run.hidden,
        "services": _services(run, scope, base_url),
        "inputs": inputs(run),
        "outputs": outputs(run),
    }
    return {**resource, "properties": properties}


def history(run: Run, scope: Scope, tenant: str) -> Json:
    """The run of the history service; `createdBy.userObjectId` is the submitter's object id."""
    who = {
        "userObjectId": run.created_by["object_id"],
        "userTenantId": tenant,
        "userName": run.created_by["name"],
        "upn": None,
    }
    return {
        "runId": run.name,
        "parentRunId": run.parent,
        "rootRunId": run.root or run.name,
        "experimentId": experiment_id(run),
        "dataContainerId": f"dcid.{run.name}",
        "displayName": run.display_name or run.name,
        "name": run.display_name or run.name,
        "description": run.description,
        "status": run.status,
        "runType": run.run_type,
        "runTypeV2": {"orchestrator": "Execution", "traits": [], "computeType": "AmlCompute"},
        "createdUtc": run.created,
        "createdTimeUtc": run.created,
        "startTimeUtc": run.started,
        "endTimeUtc": run.ended,
        "createdBy": who,
        "userId": run.created_by["object_id"],
        "lastModifiedBy": who,
        "tags": run.tags,
        "properties": {**run.properties, "azureml.runsource": run.run_type, "azureml.experimentName": run.experiment},
        "hidden": run.hidden,
        "target": str(run.body.get("computeId") or "").rpartition("/")[2] or None,
        "error": {"error": run.error} if run.error else None,
        "outputs": output_assets(run, scope),
    }


def output_assets(run: Run, scope: Scope) -> Json:
    """The data that a run has written, by the ids of the unnamed assets that Azure ML makes of it.

    Without models: azure-ai-ml 1.35 can't read the service's answer for their paths, and `jobs.download` would fail.
    """
    root = f"azureml://locations/{scope.location}/workspaces/{scope.guid}/data"
    return {
        name: {"assetId": f"{root}/{_OUTPUT_ASSET.format(run=run.name, output=name)}/versions/1", "type": written["type"]}
        for name, written in run.outputs.items()
        if written["type"] not in MODEL_TYPES
    }


def output_of_asset(asset_id: str) -> tuple[str, str] | None:
    """The run and the output that such an id is of."""
    found = _OUTPUT_ID.search(asset_id)
    return (found["run"], found["output"]) if found else None


def details(run: Run, scope: Scope, tenant: str, log_files: dict[str, str]) -> Json:
    """What `jobs.stream` polls."""
    return {**history(run, scope, tenant), "logFiles": log_files, "warnings": []}


def metrics(run: Run, measurements: Measurements) -> list[Json]:
    """`RunMetric` of run history, one for every name; a cell for every value that was logged."""
    found = []
    for latest in measurements.latest(run.scope_id, run.name):
        history = measurements.history(run.scope_id, run.name, latest.key)
        found.append(
            {
                "runId": run.name,
                "metricId": f"{run.name}/{latest.key}",
                "dataContainerId": f"dcid.{run.name}",
                "metricType": "azureml.v1.scalar",
                "createdUtc": when(history[0].timestamp),
                "name": latest.key,
                "numCells": len(history),
                "cells": [{latest.key: json_number(one.value)} for one in history],
            }
        )
    return found


def _services(run: Run, scope: Scope, base_url: str) -> Json:
    host = base_url.partition("://")[2]
    return {
        "Tracking": {"jobServiceType": "Tracking", "endpoint": f"azureml://{host}/mlflow/v1.0{scope.id}", "status": None},
        "Studio": {"jobServiceType": "Studio", "endpoint": f"{base_url}/runs/{run.name}?wsid={scope.id}", "status": None},
    }


def inputs(run: Run) -> Json:
    """The inputs as they were sent, with labels such as `@latest` as the versions they stood for."""
    sent: Json = dict(run.body.get("inputs") or {})
    for name, value in run.spec["values"].items():
        if isinstance(sent.get(name), dict) and value.get("asset"):
            sent[name] = {**sent[name], "uri": value["asset"]}
    return sent


def outputs(run: Run) -> Json:
    """The outputs as they were asked for, with their addresses once they are written.

    Without the `default` output (the artifact store): where it is missing, the SDK's `jobs.stream` reads the
    logs that run history names, and its `jobs.download` knows where the store is.
    """
    sent = run.body.get("outputs") or {}
    named: Json = {}
    for name, definition in run.spec["outputs"].items():
        asked = sent.get(name)
        shown = {"jobOutputType": definition["type"], "mode": "ReadWriteMount", **(asked if isinstance(asked, dict) else {})}
        named[name] = {**shown, "uri": run.outputs[name]["uri"]} if name in run.outputs else shown
    return named
