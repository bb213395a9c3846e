"""The body of an invocation: its data, where the predictions go, and what it says instead of the deployment.

Azure's REST examples write names in PascalCase (`InputData`, `JobInputType`), the SDK in camelCase: both are read
(learn.microsoft.com/azure/machine-learning/how-to-access-data-batch-endpoints-jobs).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from emulator.azure_ml import request_fields as fields
from emulator.azure_ml.batch.settings import MOST_NODES
from emulator.azure_ml.errors import BadRequest

Json = dict[str, Any]

_KINDS = {"urifile": "uri_file", "urifolder": "uri_folder", "mltable": "mltable", "literal": "literal",
          "uri_file": "uri_file", "uri_folder": "uri_folder", "mlflowmodel": "mlflow_model",
          "custommodel": "custom_model", "tritonmodel": "triton_model"}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,254}")


@dataclass(frozen=True, slots=True)
class BatchRequest:
    properties: Json
    """As they were sent, the names in camelCase."""
    inputs: dict[str, Json]
    """Name -> `{"type", "uri"}`, or `{"type": "literal", "value"}`."""
    outputs: dict[str, Json]
    """Name -> `{"type", "uri"}`."""
    name: str | None
    experiment: str | None
    instances: int | None


def read(body: Json) -> BatchRequest:
    """Raises `BadRequest` with the name of the field."""
    properties = _camel(fields.mapping(_camel(body), "properties"))
    name = fields.text(properties, "name")
    if name is not None and not _NAME.fullmatch(name):
        raise BadRequest(f"The job name {name!r:.100} is invalid: it may have letters, digits, '-' and '_'.")
    more = _camel(fields.mapping(properties, "properties"))
    compute = _camel(fields.mapping(properties, "compute"))
    return BatchRequest(
        properties=properties,
        inputs={key: _input(key, value) for key, value in fields.mapping(properties, "inputData").items()},
        outputs=_outputs(properties),
        name=name,
        experiment=fields.text(more, "experimentName"),
        instances=fields.integer(compute, "instanceCount", 0, 1, MOST_NODES, "compute.") or None,
    )


def data_of(request: BatchRequest) -> Json:
    """The one input of a model's deployment."""
    data = [value for value in request.inputs.values() if value["type"] != "literal"]
    if len(request.inputs) != 1 or len(data) != 1:
        raise BadRequest(
            f"A deployment of a model takes one data input of type UriFile or UriFolder, not {len(request.inputs)} inputs."
        )
    if data[0]["type"] not in ("uri_file", "uri_folder"):
        raise BadRequest(f"inputData: data of type {data[0]['type']} is not supported: use UriFile or UriFolder.")
    return data[0]


def target_of(request: BatchRequest) -> tuple[str | None, str | None]:
    """The folder that the predictions of a model's deployment go to and their file's name, where they are asked for."""
    if len(request.outputs) > 1:
        raise BadRequest("A deployment of a model has one output.")
    for output in request.outputs.values():
        uri = output["uri"]
        if uri and output["type"] == "uri_file":
            folder, _, name = uri.rpartition("/")
            if not name:
                raise BadRequest("outputData: the uri of a UriFile must end with the name of a file.")
            return folder + "/", name
        return uri, None
    return None, None


def _input(name: str, value: Any) -> Json:
    where = f"inputData.{name}"
    if not isinstance(value, dict):
        raise BadRequest(f"{where} must be an object with jobInputType and uri, not {value!r:.100}.")
    given = _camel(value)
    kind = _kind(given, "jobInputType", where)
    if kind == "literal":
        if given.get("value") is None or isinstance(given["value"], dict | list):
            raise BadRequest(f"{where}.value is required for a literal.")
        return {"type": kind, "value": given["value"]}
    uri = fields.text(given, "uri", f"{where}.")
    if not uri:
        raise BadRequest(f"{where}.uri is required.")
    return {"type": kind, "uri": uri}


def _outputs(properties: Json) -> dict[str, Json]:
    found = {}
    for key, value in fields.mapping(properties, "outputData").items():
        where = f"outputData.{key}"
        if not isinstance(value, dict):
            raise BadRequest(f"{where} must be an object with jobOutputType and uri, not {value!r:.100}.")
        given = _camel(value)
        kind = _kind(given, "jobOutputType", where)
        if kind == "literal":
            raise BadRequest(f"{where}.jobOutputType must be UriFile or UriFolder.")
        found[key] = {"type": kind, "uri": fields.text(given, "uri", f"{where}.")}
    dataset = _camel(fields.mapping(properties, "outputDataset"))
    if dataset and not found:
        datastore = (fields.text(dataset, "datastoreId", "outputDataset.") or "workspaceblobstore").rpartition("/")[2]
        path = (fields.text(dataset, "path", "outputDataset.") or "").strip("/")
        uri = f"azureml://datastores/{datastore.removeprefix('azureml:')}/paths/{path}/".replace("//", "/").replace(":/", "://", 1)
        found["score"] = {"type": "uri_folder", "uri": uri}
    return found


def _kind(given: Json, name: str, where: str) -> str:
    raw = given.get(name)
    kind = _KINDS.get(str(raw).lower())
    if kind is None:
        raise BadRequest(f"{where}.{name} must be one of UriFile, UriFolder, MLTable and Literal, not {raw!r:.100}.")
    return kind


def _camel(values: Json) -> Json:
    return {f"{key[:1].lower()}{key[1:]}": value for key, value in values.items()}
