"""How good a model's predictions were, once the truth is known: both are joined by correlation id."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from model_monitor.data import CORRELATION, UnusableData

Json = dict[str, Any]


def compute(signal: Json, production: pd.DataFrame, truth: pd.DataFrame) -> list[Json]:
    """The metrics that have thresholds, over the rows whose truth is known; raises `UnusableData`."""
    columns = signal["columns"]
    left = _picked(production, {"prediction": columns["prediction"], "key": columns.get("production_key") or CORRELATION}, "production")
    right = _picked(truth, {"target": columns["target"], "key": columns.get("reference_key") or CORRELATION}, "reference")
    joined = left.merge(right, on="key").dropna()
    if joined.empty:
        raise UnusableData("No prediction could be joined with its truth by correlation id.")
    return [
        {
            "group": "",
            "metric_value": METRICS[threshold["metric"]](joined["target"], joined["prediction"]),
            "metric_name": threshold["metric"],
            "data_type": "",
            "threshold_value": threshold["value"],
        }
        for threshold in signal["thresholds"]
    ]


def accuracy(target: pd.Series, prediction: pd.Series) -> float:
    return float((target == prediction).mean())


def precision(target: pd.Series, prediction: pd.Series) -> float:
    """The mean over the classes that are predicted or true; 0 for a class that is never predicted."""
    return _mean([_share((target == label)[prediction == label]) for label in _classes(target, prediction)])


def recall(target: pd.Series, prediction: pd.Series) -> float:
    """The mean over the classes that are predicted or true; 0 for a class that is never true."""
    return _mean([_share((prediction == label)[target == label]) for label in _classes(target, prediction)])


def mean_absolute_error(target: pd.Series, prediction: pd.Series) -> float:
    return float((target - prediction).abs().mean())


def mean_squared_error(target: pd.Series, prediction: pd.Series) -> float:
    return float(((target - prediction) ** 2).mean())


def root_mean_squared_error(target: pd.Series, prediction: pd.Series) -> float:
    return math.sqrt(mean_squared_error(target, prediction))


METRICS = {
    "Accuracy": accuracy,
    "Precision": precision,
    "Recall": recall,
    "MeanAbsoluteError": mean_absolute_error,
    "MeanSquaredError": mean_squared_error,
    "RootMeanSquaredError": root_mean_squared_error,
}


def _picked(frame: pd.DataFrame, columns: dict[str, str], what: str) -> pd.DataFrame:
    if missing := [name for name in columns.values() if name not in frame.columns]:
        raise UnusableData(f"The {what} data has no column {', '.join(missing)}.")
    return pd.DataFrame({name: frame[column] for name, column in columns.items()})


def _classes(target: pd.Series, prediction: pd.Series) -> list[Any]:
    return list(dict.fromkeys([*target, *prediction]))


def _share(hits: pd.Series) -> float:
    return float(hits.mean()) if len(hits) else 0.0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
