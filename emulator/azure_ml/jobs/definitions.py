"""What components and jobs say of their inputs and outputs, in one form however it was written."""

from __future__ import annotations

import re
from typing import Any

from emulator.azure_ml.errors import BadRequest
from emulator.azure_ml.jobs import expressions

Json = dict[str, Any]

DATA_TYPES = frozenset({"uri_file", "uri_folder", "mltable", "mlflow_model", "custom_model", "triton_model"})
MODEL_TYPES = frozenset({"mlflow_model", "custom_model", "triton_model"})
_LONGEST = 90 * 86400.0
"""Seconds: no job may be given longer."""
_DURATION = re.compile(r"^PT(?:(?P<h>\d+)H)?(?:(?P<m>\d+)M)?(?:(?P<s>\d+(?:\.\d+)?)S)?$")


class InvalidJob(BadRequest):
    """A job, or a component of it, that can't be run as it was given."""

    code = "UserError"


def check_literal(name: str, text: str, definition: Json) -> None:
    """Refuse a literal that its input's type, choices or bounds do not allow; expressions inside are left for later."""
    if "${{" in text:
        return
    kind = str(definition.get("type", "string")).lower()
    if kind in DATA_TYPES:
        raise InvalidJob(f"The input {name} needs data of type {kind}, not the literal {text!r}.")
    number: float | None = None
    try:
        if kind == "integer":
            number = int(text)
        elif kind == "number":
            number = float(text)
    except ValueError:
        raise InvalidJob(f"The input {name} needs {kind}, not {text!r}.") from None
    if kind == "boolean" and text.lower() not in ("true", "false"):
        raise InvalidJob(f"The input {name} needs true or false, not {text!r}.")
    choices = definition.get("enum")
    if choices and text not in [text_of(choice) for choice in choices]:
        raise InvalidJob(f"The input {name} must be one of {', '.join(map(text_of, choices))}, not {text!r}.")
    low, high = definition.get("min"), definition.get("max")
    if number is not None and ((low is not None and number < float(low)) or (high is not None and number > float(high))):
        raise InvalidJob(f"The input {name} must be between {low} and {high}, not {text}.")


def read_definition(value: Any) -> Json:
    """A component's input or output: the keys this platform acts on, the type in lower case."""
    if not isinstance(value, dict):
        return {"type": "string", "default": value}
    kept = {key: value[key] for key in ("default", "enum", "min", "max", "mode") if value.get(key) is not None}
    optional = value.get("optional")
    if optional is True or str(optional).lower() == "true":
        kept["optional"] = True
    return {"type": str(value.get("type") or "string").lower(), **kept}


def output_options(value: Any) -> Json:
    """A step's or job's output as it was written."""
    if isinstance(value, str):
        value = {"value": value}
    if not isinstance(value, dict):
        return {}
    raw = value.get("value", value.get("uri", value.get("path")))
    found = expressions.binding(raw)
    options: Json = {"mode": value["mode"]} if value.get("mode") else {}
    if found is not None:
        if found.parent_output is None:
            raise InvalidJob(f"An output can only be bound to an output of the pipeline, not to {raw}.")
        options["parent"] = found.parent_output
    elif raw:
        options["uri"] = str(raw)
    kind = kind_of(value, "job_output_type", kind_of(value, "jobOutputType"))
    if kind in DATA_TYPES:
        options["type"] = kind
    name = value.get("assetName") or value.get("name")
    if name:
        options["asset"] = {"name": str(name), "version": value.get("assetVersion") or value.get("version")}
    return options


def kind_of(value: Any, key: str, default: str = "literal") -> str:
    """The type that an input or output object names under `key`, in lower case."""
    return str(value.get(key) or default).lower() if isinstance(value, dict) else default


def text_of(value: Any) -> str:
    """A literal as a command sees it: booleans in lower case, as in JSON."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def seconds(limit: Any) -> float | None:
    """A limit in seconds from a number or an ISO 8601 duration of hours, minutes and seconds."""
    if limit is None or limit == "":
        return None
    if isinstance(limit, int | float) and not isinstance(limit, bool):
        found = float(limit)
    else:
        parts = _DURATION.match(str(limit))
        if parts is None or not any(parts.groupdict().values()):
            raise InvalidJob(f"limits.timeout: {str(limit)[:100]!r} is not a duration such as PT10M.")
        found = 3600 * float(parts["h"] or 0) + 60 * float(parts["m"] or 0) + float(parts["s"] or 0)
    if not 0 < found < _LONGEST:
        raise InvalidJob(f"limits.timeout: {str(limit)[:100]!r} is not between 0 and {_LONGEST / 86400:g} days.")
    return found
