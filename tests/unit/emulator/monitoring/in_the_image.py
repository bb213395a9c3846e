"""Runs in the training image's Python: calls functions of `model_monitor` and of SciPy for the tests, a line each.

A line is `[path, arguments]`, where the path is `module:name`, `module:name:key` or `__main__:read`; the answer `{"value"}` or
`{"error"}`. Values that are data frames are given as `{"frame": [records]}`, columns as `{"column": [values]}`.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from model_monitor import data


def given(value: Any) -> Any:
    if isinstance(value, dict) and set(value) == {"frame"}:
        return pd.DataFrame.from_records(value["frame"])
    if isinstance(value, dict) and set(value) == {"column"}:
        return pd.Series(value["column"])
    return value


def read(path: str, window: dict[str, Any]) -> list[dict[str, Any]]:
    """What `model_monitor.data` finds below a path, as records."""
    found = data.read(Path(path), data.Window.of(window), "production")
    return list(json.loads(found.to_json(orient="records")))


def call(path: str, arguments: list[Any]) -> Any:
    module, name, *key = path.split(":")
    found = getattr(importlib.import_module(module), name)
    result = (found[key[0]] if key else found)(*map(given, arguments))
    if hasattr(result, "pvalue"):
        result = result.pvalue
    return result.item() if hasattr(result, "item") else result


for line in sys.stdin:
    try:
        answer = {"value": call(*json.loads(line))}
    except Exception as problem:
        answer = {"error": f"{type(problem).__name__}: {problem}"}
    print(json.dumps(answer), flush=True)
