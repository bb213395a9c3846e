"""The shape of a job's request: what must be an object or a text is one, before anything looks inside.

What the properties mean is for `submission.py`. A field is named by its path in the body: `jobs.train.inputs.n`.
"""

from __future__ import annotations

from typing import Any

from emulator.azure_ml.jobs.definitions import InvalidJob

_OBJECTS = ("inputs", "outputs", "jobs", "settings", "limits", "environmentVariables", "environment_variables", "tags", "properties")
_TEXTS = (
    "jobType", "displayName", "experimentName", "description", "command", "codeId", "environmentId", "componentId", "computeId",
    "mode", "type", "uri", "assetName", "assetVersion", "jobInputType", "jobOutputType", "job_input_type", "job_output_type",
)  # fmt: skip
_SCALARS = ("environmentVariables", "environment_variables", "tags", "properties")
_DEEPEST = 20


def check_job(body: dict[str, Any]) -> None:
    """Raises `InvalidJob` that names the first field of the wrong shape."""
    _check(body, "", 0)


def check_component(spec: dict[str, Any]) -> None:
    """The same for a component's definition, whose inputs and outputs may be given as literals."""
    _check(spec, "componentSpec.", 0)


def _check(body: dict[str, Any], path: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise InvalidJob(f"{path} is nested too deeply.")
    for name in _TEXTS:
        _demand(body.get(name), str, f"{path}{name}", "a string")
    for name in _OBJECTS:
        value = body.get(name)
        _demand(value, dict, f"{path}{name}", "an object")
        for key, one in (value or {}).items():
            where = f"{path}{name}.{key}"
            if name in _SCALARS:
                _demand(one, str | int | float | bool, where, "a text or a number")
            elif name == "jobs":
                if not isinstance(one, dict):
                    raise InvalidJob(f"{where} must be an object.")
                _check(one, f"{where}.", depth + 1)
            elif name in ("inputs", "outputs") and isinstance(one, dict):
                _check_port(one, where)
            elif name in ("inputs", "outputs"):
                _demand(one, str | int | float | bool, where, "an object or a literal")


def _check_port(port: dict[str, Any], where: str) -> None:
    for name in _TEXTS:
        _demand(port.get(name), str, f"{where}.{name}", "a string")
    for name in ("value", "path", "default", "min", "max"):
        _demand(port.get(name), str | int | float | bool, f"{where}.{name}", "a text or a number")
    for name in ("min", "max"):
        try:
            float(port.get(name) or 0)
        except (ValueError, OverflowError):
            raise InvalidJob(f"{where}.{name} must be a number.") from None
    choices = port.get("enum")
    if choices is not None and not isinstance(choices, list):
        raise InvalidJob(f"{where}.enum must be a list.")


def _demand(value: Any, kind: Any, where: str, wanted: str) -> None:
    if value is not None and not isinstance(value, kind):
        raise InvalidJob(f"{where} must be {wanted}, not {str(value)[:100]}.")
