"""A model's signature, read from its MLmodel file, and whether a scoring request fits it.

MLflow writes the signature as JSON inside YAML (docs: "Model signatures"); nothing of MLflow is needed to read it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from pilotage.domain.model_signatures import Column, ModelSignature, Tensor
from pilotage.errors import InvalidInput
from pilotage.gates.interface import ArtifactFile

FILE_LIMIT = 4 * 1024 * 1024
"""Bytes of an MLmodel file."""
_WHOLE = {"integer": 2**31, "long": 2**63}
_ROWS_UNDER = ("input_data", "dataframe_split", "dataframe_records", "inputs", "instances")
_TELL = 5
"""Findings that are told of one request."""


class Finding(NamedTuple):
    """What does not fit, in words, and where in the request."""

    where: str
    problem: str

    def __str__(self) -> str:
        return f"{self.where}: {self.problem}"


class Files(Protocol):
    """The files of a model: a trial has them."""

    def artifact(self) -> Sequence[ArtifactFile]: ...

    def read_artifact(self, path: str, limit: int) -> bytes: ...


def read_signature(model: Files) -> ModelSignature | None:
    """A model's signature; None when it has no MLmodel file or none in it. Raises InvalidInput when it can't be read."""
    import yaml

    paths = sorted((file.path for file in model.artifact() if file.path.split("/")[-1] == "MLmodel" and file.path.count("/") <= 1), key=len)
    if not paths:
        return None
    if len(paths) > 1 and "/" in paths[0]:
        raise InvalidInput(f"the model has {len(paths)} MLmodel files ({', '.join(paths[:3])}): which of them is served can't be told")
    try:
        told = yaml.safe_load(model.read_artifact(paths[0], FILE_LIMIT).decode("utf-8"))
        if not isinstance(told, dict):
            raise ValueError("it is empty, or holds no mapping")
        written = told.get("signature")
        if not written:
            return None
        inputs, outputs = _fields(written.get("inputs")), _fields(written.get("outputs"))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, AttributeError, KeyError, TypeError, RecursionError) as error:
        raise InvalidInput(f"{paths[0]} of the model can't be read: {error}") from error
    return ModelSignature(columns=[f for f in inputs if isinstance(f, Column)], tensors=[f for f in inputs if isinstance(f, Tensor)],
                          output_columns=[f for f in outputs if isinstance(f, Column)],
                          output_tensors=[f for f in outputs if isinstance(f, Tensor)])


def _fields(text: Any) -> list[Column | Tensor]:
    found: list[Column | Tensor] = []
    for number, entry in enumerate(json.loads(text) if text else []):
        if entry["type"] == "tensor":
            spec = entry["tensor-spec"]
            found.append(Tensor(name=entry.get("name") or "", dtype=str(spec["dtype"]), shape=[int(size) for size in spec["shape"]]))
        else:
            # An unnamed single column (an output) is told by its place.
            found.append(_column(str(entry.get("name", number)), entry))
    return found


def _column(name: str, entry: dict[str, Any]) -> Column:
    """MLflow writes `items` of an array, `values` of a map and `properties` of an object, each with a type of its own."""
    inner = entry.get("items") or entry.get("values")
    required = bool(entry.get("required", not entry.get("optional", False)))
    return Column(name=name, type=str(entry["type"]).casefold(), required=required,
                  # What is inside may be null where the whole may be.
                  items=_column("", {"required": required} | inner) if isinstance(inner, dict) else None,
                  properties=[_column(inside, value) for inside, value in (entry.get("properties") or {}).items()])


# --- requests -----------------------------------------------------------------------------------------


def misfits(signature: ModelSignature, request: dict[str, Any]) -> list[Finding]:
    """Everything in a scoring request that the signature does not take; empty when it fits."""
    data = next((request[name] for name in _ROWS_UNDER if name in request), None)
    if data is None:
        return [Finding("the request", "it has no input_data")]
    if signature.tensors:
        return _tensor_misfits(signature.tensors, data)
    if isinstance(data, dict) and "data" in data:
        return _split_misfits(signature, data)
    if isinstance(data, list) and data and all(isinstance(row, dict) for row in data):
        return _record_misfits(signature, data)
    if isinstance(data, list):
        return _positional_misfits(signature, data)
    if isinstance(data, dict):
        return _named_misfits(signature, data)
    return [Finding("input_data", "it is neither rows nor columns")]


def _split_misfits(signature: ModelSignature, data: dict[str, Any]) -> list[Finding]:
    columns, rows = data.get("columns"), data["data"]
    if not isinstance(rows, list):
        return [Finding("data", "it is no list of rows")]
    if columns is None:
        return _positional_misfits(signature, rows)
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        return [Finding("columns", "it is no list of names")]
    found = list(_name_misfits(signature, columns))
    for number, row in enumerate(rows, start=1):
        if not isinstance(row, list) or len(row) != len(columns):
            return [*found, Finding(f"row {number}", f"it has {len(row) if isinstance(row, list) else 'no'} values; "
                                    f"there are {len(columns)} columns")][:_TELL]
    return [*found, *_value_misfits(signature, [dict(zip(columns, row, strict=True)) for row in rows])][:_TELL]


def _record_misfits(signature: ModelSignature, rows: list[dict[str, Any]]) -> list[Finding]:
    for number, row in enumerate(rows, start=1):
        if found := list(_name_misfits(signature, list(row))):
            return [Finding(f"row {number}", finding.problem) for finding in found][:_TELL]
    return list(_value_misfits(signature, rows))[:_TELL]


def _positional_misfits(signature: ModelSignature, rows: list[Any]) -> list[Finding]:
    width = len(signature.columns)
    for number, row in enumerate(rows, start=1):
        values = row if isinstance(row, list) else [row]
        if len(values) != width:
            return [Finding(f"row {number}", f"it has {len(values)} values; the signature has {width} columns "
                            f"({', '.join(signature.names)})")]
    named = [dict(zip(signature.names, row if isinstance(row, list) else [row], strict=True)) for row in rows]
    return list(_value_misfits(signature, named))[:_TELL]


def _named_misfits(signature: ModelSignature, data: dict[str, Any]) -> list[Finding]:
    found = list(_name_misfits(signature, list(data)))
    lengths = {name: len(values) for name, values in data.items() if isinstance(values, list)}
    if len(lengths) != len(data) or len(set(lengths.values())) > 1:
        return [*found, Finding("input_data", f"its columns are not lists of one length: {lengths}")][:_TELL]
    rows = [dict(zip(data, values, strict=True)) for values in zip(*data.values(), strict=True)]
    return [*found, *_value_misfits(signature, rows)][:_TELL]


def _name_misfits(signature: ModelSignature, given: Sequence[str]) -> Iterator[Finding]:
    names = signature.names
    if twice := sorted({name for name in given if list(given).count(name) > 1}):
        yield Finding("columns", f"{', '.join(twice)} is there twice")
    if missing := [column.name for column in signature.columns if column.required and column.name not in given]:
        yield Finding("columns", f"{', '.join(missing)} is missing; the signature asks for {', '.join(names)}")
    if unknown := [name for name in given if name not in names]:
        yield Finding("columns", f"{', '.join(unknown)} is not in the signature, which has {', '.join(names)}")
    expected = [name for name in names if name in given]
    if not missing and not unknown and list(given) != expected:
        # By name MLflow would put them right; a server that reads by place answers 200 with plausible nonsense.
        yield Finding("columns", f"they are in another order than the model's signature: the request has {', '.join(given)}; the signature "
                      f"{', '.join(expected)}")


def _value_misfits(signature: ModelSignature, rows: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    for column in signature.columns:
        for number, row in enumerate(rows, start=1):
            if column.name not in row:
                if column.required and number > 1:
                    yield Finding(f"row {number}", f"{column.name} is missing")
                    break
                continue
            if problem := _misfit(column, row[column.name]):
                yield Finding(f"row {number}", f"{column.name} {problem}")
                break


def _misfit(column: Column, value: Any) -> str | None:
    """Why a value is not one of the column's; None when it is. Types as MLflow's: no text for a number, no fraction for a whole one."""
    kind = column.type
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "is null, and the signature requires it" if column.required and kind not in ("float", "double") else None
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    shown = _kind_of(value)  # never the value: it may be somebody's
    if kind in _WHOLE:
        if not is_number or (isinstance(value, float) and not value.is_integer()):
            return f"is {shown}; the signature says {kind}"
        return f"is too large for {kind}" if not -_WHOLE[kind] <= value < _WHOLE[kind] else None
    if kind in ("float", "double"):
        return None if is_number else f"is {shown}; the signature says {kind}"
    if kind == "boolean":
        return None if isinstance(value, bool) else f"is {shown}; the signature says boolean"
    if kind in ("string", "binary", "datetime"):
        return None if isinstance(value, str) else f"is {shown}; the signature says {kind}"
    if kind == "array":
        if not isinstance(value, list):
            return f"is {shown}; the signature says array"
        return next((f"holds what {told}" for item in value if column.items and (told := _misfit(column.items, item))), None)
    if kind == "map":
        if not isinstance(value, dict):
            return f"is {shown}; the signature says map"
        return next((f"holds what {told}" for item in value.values() if column.items and (told := _misfit(column.items, item))), None)
    if kind == "object":
        return _misfit_inside(column, value) if isinstance(value, dict) else f"is {shown}; the signature says object"
    return None


def _misfit_inside(column: Column, value: dict[str, Any]) -> str | None:
    """Names and values of an object; keys that the signature does not know are MLflow's own error."""
    if unknown := sorted(set(value) - {inside.name for inside in column.properties}):
        return f"has {', '.join(unknown)}, which is not in the signature"
    for inside in column.properties:
        if inside.name not in value:
            if inside.required:
                return f"has no {inside.name}, which the signature requires"
        elif told := _misfit(inside, value[inside.name]):
            return f"has {inside.name}, which {told}"
    return None


def _kind_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a whole number" if isinstance(value, int) or value.is_integer() else "a fraction"
    kinds: dict[type, str] = {str: "text", list: "a list", dict: "an object"}
    return kinds.get(type(value), "null")


# --- answers ------------------------------------------------------------------------------------------


def answer_misfit(signature: ModelSignature, predictions: Sequence[Any]) -> str | None:
    """Why predictions, one a row, are not what the signature declares; None when they are, or when it declares nothing."""
    if signature.output_tensors:
        return _tensors_misfit(signature.output_tensors, predictions)
    if not signature.output_columns:
        return None
    for number, prediction in enumerate(predictions, start=1):
        if problem := _prediction_misfit(signature.output_columns, prediction):
            return f"prediction {number} {problem}"
    return None


def _prediction_misfit(columns: Sequence[Column], prediction: Any) -> str | None:
    names = [column.name for column in columns]
    if len(columns) == 1 and columns[0].type in ("object", "map", "any"):
        return _misfit(columns[0], prediction)
    if isinstance(prediction, dict):
        return _misfit_inside(Column(name="", type="object", properties=list(columns)), prediction)
    if len(columns) == 1:
        # An array of one column: [[1.5], [2.5]].
        is_nested = isinstance(prediction, list) and len(prediction) == 1 and columns[0].type != "array"
        return _misfit(columns[0], prediction[0] if is_nested else prediction)
    if not isinstance(prediction, list) or len(prediction) != len(columns):
        shown = f"a list of {len(prediction)}" if isinstance(prediction, list) else _kind_of(prediction)
        return f"is {shown}; the signature declares {', '.join(names)}"
    told = zip(columns, prediction, strict=True)
    return next((f"has {column.name}, which {problem}" for column, value in told if (problem := _misfit(column, value))), None)


def _tensors_misfit(tensors: Sequence[Tensor], predictions: Sequence[Any]) -> str | None:
    names = sorted(tensor.name for tensor in tensors)
    if all(isinstance(prediction, dict) for prediction in predictions):
        for number, prediction in enumerate(predictions, start=1):
            if sorted(prediction) != names:
                return f"prediction {number} has {', '.join(sorted(prediction))}; the signature declares {', '.join(names)}"
    elif len(tensors) > 1:
        return f"the predictions name none of {', '.join(names)}, which the signature declares"
    for tensor in tensors:
        values = [prediction[tensor.name] if isinstance(prediction, dict) else prediction for prediction in predictions]
        # Its first dimension counts rows, which is the gate's own question.
        declared = tensor.model_copy(update={"shape": [-1, *tensor.shape[1:]]})
        if problem := next(_shape_misfit(declared, values), None):
            return f"the predictions are not as declared: {problem}"
    return None


def _tensor_misfits(tensors: Sequence[Tensor], data: Any) -> list[Finding]:
    if isinstance(data, dict) and "data" in data and not {tensor.name for tensor in tensors} & {"data"}:
        data = data["data"]
    if isinstance(data, dict):
        if missing := [tensor.name for tensor in tensors if tensor.name not in data]:
            return [Finding("input_data", f"the tensor {', '.join(missing)} is missing")]
        if unknown := sorted(set(data) - {tensor.name for tensor in tensors}):
            return [Finding("input_data", f"the tensor {', '.join(unknown)} is not in the signature")]
        return [finding for tensor in tensors for finding in _shape_misfit(tensor, data[tensor.name])][:_TELL]
    if len(tensors) > 1:
        return [Finding("input_data", f"the signature has {len(tensors)} named tensors; this names none")]
    return list(_shape_misfit(tensors[0], data))[:_TELL]


def _shape_misfit(tensor: Tensor, value: Any) -> Iterator[Finding]:
    where = f"tensor {tensor.name}".strip()
    shape: list[int] = []
    level = [value]
    while level and all(isinstance(item, list) for item in level):
        sizes = {len(item) for item in level}
        if len(sizes) > 1:
            yield Finding(where, f"its rows have different lengths ({', '.join(map(str, sorted(sizes)))})")
            return
        shape.append(sizes.pop())
        level = [inner for item in level for inner in item]
    told = " x ".join("any" if size < 0 else str(size) for size in tensor.shape)
    if len(shape) != len(tensor.shape) or any(0 <= want != size for want, size in zip(tensor.shape, shape, strict=True)):
        yield Finding(where, f"its shape is {' x '.join(map(str, shape)) or 'a single value'}; the signature says {told}")
        return
    numeric = not tensor.dtype.startswith(("str", "object", "<U", "|S"))
    whole = tensor.dtype.startswith(("int", "uint"))
    for item in level:
        is_number = isinstance(item, int | float) and not isinstance(item, bool)
        if numeric and tensor.dtype != "bool" and not is_number:
            yield Finding(where, f"it holds {_kind_of(item)}; the signature says {tensor.dtype}")
            return
        if whole and isinstance(item, float) and not item.is_integer():
            yield Finding(where, f"it holds {_kind_of(item)}; the signature says {tensor.dtype}")
            return
