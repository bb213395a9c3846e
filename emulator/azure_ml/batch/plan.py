"""From a deployment and an invocation to the specification of the job: everything that can be wrong is found here."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.batch import settings
from emulator.azure_ml.batch.deployments import check_references
from emulator.azure_ml.batch.request import BatchRequest, data_of, target_of
from emulator.azure_ml.durations import seconds
from emulator.azure_ml.errors import BadRequest
from emulator.azure_ml.jobs.data import output_uri
from emulator.azure_ml.jobs.submission import Submission
from emulator.azure_ml.resource import Scope
from emulator.azure_ml.store import Resource

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

Json = dict[str, Any]

STEP = "batchscoring"
OUTPUT = "score"
"""The names of the step and of its output that the SDK's `jobs.download` looks for."""
INVOCATION = "batch"
"""What of the invocation the job's specification keeps, to be shown again."""


@dataclass(frozen=True, slots=True)
class Plan:
    spec: Json
    """What the job engine runs, with the values of its inputs."""
    body: Json
    """The job's properties as clients see them."""
    job_type: str
    """The tag `azureml.jobtype`: the SDK downloads the output `score` unless it is `azureml.pipelinejob`."""
    component: str | None = None


def of(azure_ml: AzureMl, scope: Scope, deployment: Resource, asked: BatchRequest) -> Plan:
    check_references(azure_ml, scope, deployment["properties"])  # what it names may have gone
    if "deploymentConfiguration" in deployment["properties"]:
        return _pipeline(azure_ml, scope, deployment, asked)
    return _scoring(azure_ml, scope, deployment, asked)


def _scoring(azure_ml: AzureMl, scope: Scope, deployment: Resource, asked: BatchRequest) -> Plan:
    properties, sent = deployment["properties"], asked.properties
    data = data_of(asked)
    inputs = {"data": _address(azure_ml, scope, data["uri"], data["type"])}
    folder, file_name = target_of(asked)
    if folder:
        azure_ml.locations.blob(output_uri(OUTPUT, {"uri": folder}, "job"), scope)
    image = azure_ml.scorers.mlflow_script.parent
    nodes = asked.instances or properties["resources"]["instanceCount"]
    retry = settings.retry_settings(sent, properties["retrySettings"])
    script, code, model_name = str(image / "mlflow_batch.py"), None, None
    if properties["codeConfiguration"] is not None:
        _, found = azure_ml.locations.asset(properties["codeConfiguration"]["codeId"], "codes", scope)
        code, script = {"id": found["id"], "uri": found["properties"]["codeUri"]}, properties["codeConfiguration"]["scoringScript"]
    if properties["model"] is not None:
        owner, model = azure_ml.locations.asset(properties["model"]["assetId"], "models", scope)
        kind = str(model["properties"].get("modelType") or "custom_model")
        inputs["model"] = {"uri": model["properties"]["modelUri"], "type": kind, "asset": model["id"], "scope": owner.id}
        model_name = azure_ml.locations.blob(model["properties"]["modelUri"], owner).name
    threshold = fields.integer(sent, "errorThreshold", properties["errorThreshold"], -1)
    driver = {
        "script": script,
        "model_name": model_name,
        "mini_batch_size": fields.integer(sent, "miniBatchSize", properties["miniBatchSize"], 1),
        "error_threshold": threshold,
        "max_retries": retry["maxRetries"],
        "timeout": seconds(retry["timeout"], 30.0),
        "output_action": settings.ACTIONS[properties["outputAction"].lower()],
        "output_file_name": file_name or settings.file_name(sent, properties["outputFileName"]),
        # One machine stands for the whole cluster: more processes than it has processors would only wait.
        "workers": min(nodes * properties["maxConcurrencyPerInstance"], os.cpu_count() or 1),
    }
    definitions = {name: {"type": value["type"]} for name, value in inputs.items()}
    command = {
        "kind": "command",
        "command": f"{shlex.quote(str(image / '.venv' / 'bin' / 'python'))} -P {shlex.quote(str(image / 'batch_driver.py'))}",
        "code": code,
        "environment": properties["environmentId"],
        "component": None,
        "inputs": definitions,
        "outputs": {OUTPUT: {"type": "uri_folder", **({"uri": folder} if folder else {})}},
        "environment_variables": {**properties["environmentVariables"], "BATCH_SETTINGS": json.dumps(driver)},
        "timeout": None,
        "display_name": STEP,
    }
    spec = {
        "kind": "pipeline",
        "component": None,
        "inputs": {},
        "outputs": {OUTPUT: {"type": "uri_folder"}},
        "continue_on_failure": False,
        "steps": {STEP: {"spec": command, "inputs": inputs, "outputs": {OUTPUT: {"parent": OUTPUT}}}},
        "values": {},
    }
    return Plan({**spec, INVOCATION: {**_sent(asked), "errorThreshold": threshold}}, _body(properties), "azureml.batchjob")


def _pipeline(azure_ml: AzureMl, scope: Scope, deployment: Resource, asked: BatchRequest) -> Plan:
    properties = deployment["properties"]
    configuration = properties["deploymentConfiguration"]
    component = configuration["componentId"]["assetId"]
    inputs: Json = {}
    for name, value in asked.inputs.items():
        if value["type"] == "literal":
            inputs[name] = {"jobInputType": "literal", "value": value["value"]}
        else:
            inputs[name] = {"jobInputType": value["type"], "uri": value["uri"]}
    outputs = {name: {"jobOutputType": value["type"], "uri": value["uri"]} for name, value in asked.outputs.items()}
    stored = configuration["settings"]
    proceed = next((text for key, text in stored.items() if key.rpartition(".")[2].lower() == "continue_on_step_failure"), "false")
    body = {
        **_body(properties),
        "componentId": component,
        "settings": {"continue_on_step_failure": proceed.lower() == "true"},
        "inputs": inputs,
        "outputs": outputs,
    }
    spec, values = Submission(scope, azure_ml.locations).job(body)
    return Plan({**spec, "values": values, INVOCATION: _sent(asked)}, body, "azureml.pipelinejob", component)


def _sent(asked: BatchRequest) -> Json:
    return {name: asked.properties.get(name) or {} for name in ("inputData", "outputData")}


def _body(properties: Json) -> Json:
    return {
        "jobType": "Pipeline",
        "computeId": properties.get("compute"),
        "inputs": {},
        "outputs": {},
        "jobs": {},
        "settings": {},
    }


def _address(azure_ml: AzureMl, scope: Scope, uri: str, kind: str) -> Json:
    """Where the data lies; raises `BadRequest` for storage accounts that are not the platform's."""
    found: Json = Submission(scope, azure_ml.locations).address(uri, kind)
    home = azure_ml.scopes.of_id(found["scope"]) if found.get("scope") else scope
    location = azure_ml.locations.blob(found["uri"], home)
    if location.account not in azure_ml.context.config.accounts:
        raise BadRequest(f"inputData: the storage account {location.account} is not one of this platform.")
    return found
