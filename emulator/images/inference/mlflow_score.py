"""Serves any MLflow model without code, as Azure ML does for a deployment that names no scoring script.

Runs under `azmlinfsrv` in this image's venv; `AZUREML_MODEL_DIR` is the folder of the model. The
request is Azure's: `{"input_data": ..., "params": {...}}`, where `input_data` is a data frame in split
form (`columns`, `data`, optional `index`), a list of records, columns of values, or tensors.
The answer is the model's prediction as JSON. A request that the model's signature refuses is the
caller's fault (400); anything the model itself raises is the model's (500).
"""

from __future__ import annotations

import json
import logging
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from azureml_inference_server_http.api.aml_response import AMLResponse

if TYPE_CHECKING:
    from mlflow.pyfunc import PyFuncModel
    from mlflow.types import Schema

logger = logging.getLogger("azmlinfsrv.user_script.mlflow")
_model: PyFuncModel | None = None


class BadRequest(Exception):
    """The request can't be turned into the model's input; the message is for the caller."""


def init() -> None:
    """Load the model below `AZUREML_MODEL_DIR`; raises when it isn't an MLflow model or can't be loaded."""
    # Here and not above: a model that isn't there fails its deployment without waiting for MLflow.
    folder = model_folder(Path(os.environ["AZUREML_MODEL_DIR"]))
    import mlflow.pyfunc

    global _model
    _model = mlflow.pyfunc.load_model(str(folder))
    logger.info("Loaded the MLflow model at %s", folder)


def run(raw: str) -> AMLResponse:
    """Answer one request; `raw` is its body."""
    if _model is None:
        raise RuntimeError("init() has not run")
    try:
        data, params = parse(raw, _model)
    except BadRequest as refusal:
        return AMLResponse({"error": {"code": "BadRequest", "message": str(refusal)}}, 400, json_str=True)
    return AMLResponse(jsonable(_model.predict(data, params=params)), 200, json_str=True)


def model_folder(root: Path) -> Path:
    """The folder with the `MLmodel` file: `root`, or the one folder below it (an uploaded folder keeps its name)."""
    if (root / "MLmodel").is_file():
        return root
    found = sorted(path.parent for path in root.glob("*/MLmodel"))
    if len(found) != 1:
        raise FileNotFoundError(f"expected one MLmodel file in {root} or one level below it, found {len(found)}")
    return found[0]


def parse(raw: str, model: PyFuncModel) -> tuple[Any, dict[str, Any] | None]:
    """The model's input, with columns and types as its signature has them, and parameters; raises `BadRequest`."""
    from mlflow.exceptions import MlflowException
    from mlflow.models.utils import _enforce_params_schema, _enforce_schema

    try:
        body = json.loads(raw)
    except ValueError as problem:
        raise BadRequest(f"The request body is not JSON: {problem}") from problem
    if not isinstance(body, dict) or "input_data" not in body:
        raise BadRequest('The request must be an object with a top-level key "input_data"')
    params = body.get("params")
    if params is not None and not isinstance(params, dict):
        raise BadRequest('"params" must be an object')
    schema = model.metadata.get_input_schema()
    try:
        data = model_input(body["input_data"], schema)
        # predict() checks again, but from there a caller's mistake would look like a failing model.
        if schema is not None:
            data = _enforce_schema(data, schema)
        if params is not None and model.metadata.get_params_schema() is not None:
            params = _enforce_params_schema(params, model.metadata.get_params_schema())
    except (MlflowException, ValueError, TypeError) as problem:
        raise BadRequest(f"input_data does not fit the model: {problem}") from problem
    return data, params


def model_input(data: Any, schema: Schema | None) -> Any:
    """MLflow's own reading of JSON by a schema: a data frame, or tensors when the signature has tensors."""
    from mlflow.utils.proto_json_utils import dataframe_from_parsed_json, parse_inputs_data

    if not isinstance(data, dict | list):
        raise ValueError("it must be an object or a list")
    if schema is not None and schema.is_tensor_spec():
        return parse_inputs_data(data, schema)
    if isinstance(data, dict) and "data" in data:
        return dataframe_from_parsed_json(data, "split", schema)
    if isinstance(data, dict):
        data = [dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)]
    return dataframe_from_parsed_json(data, "records", schema)


def jsonable(value: Any) -> Any:
    """A prediction as JSON values: frames as records, arrays as lists, no NaN (JSON has none: null)."""
    if hasattr(value, "to_dict") and hasattr(value, "columns"):
        return jsonable(value.to_dict(orient="records"))
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if isinstance(value, dict):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
