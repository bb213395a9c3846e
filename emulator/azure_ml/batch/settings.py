"""What a batch deployment may say, with Azure's defaults filled in.

Names and defaults: learn.microsoft.com/azure/machine-learning/reference-yaml-deployment-batch and `BatchDeployment` of the
published description of Microsoft.MachineLearningServices.
"""

from __future__ import annotations

from typing import Any

from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.errors import BadRequest

Json = dict[str, Any]

ACTIONS = {"appendrow": "append_row", "summaryonly": "summary_only"}
"""`outputAction` in lower case -> the word of the scoring driver."""
COMPONENT = "PipelineComponent"
MOST_NODES = 200


def properties_of(given: Json) -> Json:
    """A deployment's properties as they are kept; raises `BadRequest`, with the name of the field."""
    configuration = fields.mapping(given, "deploymentConfiguration")
    common = {
        "description": fields.text(given, "description"),
        "properties": fields.texts(given, "properties"),
        "compute": fields.text(given, "compute"),
        "resources": _resources(given),
    }
    if configuration:
        return {**common, "deploymentConfiguration": _component(configuration)}
    model = fields.mapping(given, "model")
    code = fields.mapping(given, "codeConfiguration")
    action = fields.choice(given, "outputAction", "AppendRow", ("AppendRow", "SummaryOnly", "append_row", "summary_only"))
    return {
        **common,
        "model": _model(model) if model else None,
        "codeConfiguration": _code(code) if code else None,
        "environmentId": fields.text(given, "environmentId"),
        "environmentVariables": fields.texts(given, "environmentVariables"),
        "outputAction": {"append_row": "AppendRow", "summary_only": "SummaryOnly"}.get(action, action),
        "outputFileName": file_name(given, "predictions.csv"),
        "errorThreshold": fields.integer(given, "errorThreshold", -1, -1),
        "loggingLevel": fields.choice(given, "loggingLevel", "Info", ("Info", "Warning", "Debug")),
        "maxConcurrencyPerInstance": fields.integer(given, "maxConcurrencyPerInstance", 1, 1),
        "miniBatchSize": fields.integer(given, "miniBatchSize", 10, 1),
        "retrySettings": retry_settings(given, {"maxRetries": 3, "timeout": "PT30S"}),
    }


def retry_settings(given: Json, default: Json) -> Json:
    settings = fields.mapping(given, "retrySettings")
    return {
        "maxRetries": fields.integer(settings, "maxRetries", default["maxRetries"], 0, where="retrySettings."),
        "timeout": fields.duration(settings, "timeout", default["timeout"], "retrySettings."),
    }


def file_name(given: Json, default: str) -> str:
    """The file of the predictions, in the output's folder."""
    name = fields.text(given, "outputFileName") or default
    if "/" in name or "\\" in name or name in (".", ".."):
        raise BadRequest(f"outputFileName must be the name of a file, not {name!r:.100}.")
    return name


def _resources(given: Json) -> Json:
    resources = fields.mapping(given, "resources")
    return {
        "instanceCount": fields.integer(resources, "instanceCount", 1, 1, MOST_NODES, "resources."),
        "instanceType": fields.text(resources, "instanceType", "resources."),
        "properties": fields.mapping(resources, "properties", "resources."),
    }


def _model(model: Json) -> Json:
    """The SDK names a model by id; the description also knows data paths and outputs, which Azure ML refuses here."""
    fields.choice(model, "referenceType", "Id", ("Id",), "model.")
    asset = fields.text(model, "assetId", "model.")
    if not asset:
        raise BadRequest("model.assetId is required.")
    return {"referenceType": "Id", "assetId": asset}


def _code(code: Json) -> Json:
    script = fields.text(code, "scoringScript", "codeConfiguration.")
    if not script:
        raise BadRequest("codeConfiguration.scoringScript is required.")
    return {"codeId": fields.text(code, "codeId", "codeConfiguration."), "scoringScript": script}


def _component(configuration: Json) -> Json:
    where = "deploymentConfiguration."
    fields.choice(configuration, "deploymentConfigurationType", COMPONENT, (COMPONENT,), where)
    asset = fields.text(fields.mapping(configuration, "componentId", where), "assetId", f"{where}componentId.")
    if not asset:
        raise BadRequest(f"{where}componentId.assetId is required.")
    return {
        "deploymentConfigurationType": COMPONENT,
        "componentId": {"referenceType": "Id", "assetId": asset},
        "description": fields.text(configuration, "description", where),
        "settings": fields.texts(configuration, "settings", where),
        "tags": fields.texts(configuration, "tags", where),
    }
