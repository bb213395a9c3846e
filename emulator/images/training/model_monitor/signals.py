"""A signal's metrics from its data: one row for each feature and metric that has a threshold."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from model_monitor import performance, quality
from model_monitor.data import CORRELATION, UnusableData

Json = dict[str, Any]

_FEW = 0.05
"""Whole numbers are categories when fewer than this share of them differ (Azure's rule)."""


def compute(signal: Json, production: pd.DataFrame, reference: pd.DataFrame) -> list[Json]:
    """Rows of `group` (the feature), `metric_name`, `metric_value`, `data_type`, `threshold_value`; raises `UnusableData`."""
    production, reference = (_segment(frame, signal.get("segment")) for frame in (production, reference))
    if signal["type"] == "ModelPerformance":
        rows = performance.compute(signal, production, reference)
    else:
        columns = features(signal, production, reference)
        kinds = {name: kind(reference[name], name, signal.get("type_overrides") or {}) for name in columns}
        of_type = _quality if signal["type"] == "DataQuality" else _drift
        rows = of_type(signal["thresholds"], kinds, production[columns], reference[columns])
    return [*rows, _count("BaselineRowCount", reference), _count("TargetRowCount", production)]


def features(signal: Json, production: pd.DataFrame, reference: pd.DataFrame) -> list[str]:
    """The columns to look at: those in both samples, narrowed down as the signal asks."""
    common = [name for name in reference.columns if name in production.columns and name != CORRELATION]
    wanted = signal.get("features")
    if isinstance(wanted, list):
        if missing := [name for name in wanted if name not in common]:
            raise UnusableData(f"The features {', '.join(missing)} are not in both the production and the reference data.")
        return [name for name in common if name in wanted]
    if isinstance(wanted, int) and len(common) > wanted:
        raise UnusableData(f"The {wanted} most important of {len(common)} features are asked for, but importance is not computed here.")
    if not common:
        raise UnusableData("Found no common columns between the production and the reference data.")
    return common


def kind(column: pd.Series, name: str, overrides: dict[str, str]) -> str:
    """`numerical` or `categorical`."""
    if name in overrides:
        return overrides[name].lower()
    if not quality.is_number_type(column):
        return "categorical"
    present = column.dropna().infer_objects()
    if pd.api.types.is_integer_dtype(present) and present.nunique() / len(present) < _FEW:
        return "categorical"
    return "numerical"


def _drift(thresholds: list[Json], kinds: dict[str, str], production: pd.DataFrame, reference: pd.DataFrame) -> list[Json]:
    from model_monitor import drift  # SciPy takes a second to import, which signals of other types need not wait for

    production, reference = production.dropna(), reference.dropna()
    if production.empty or reference.empty:
        raise UnusableData("No row of the production or the reference data is complete.")
    rows = []
    for threshold in thresholds:
        metrics = drift.NUMERICAL if threshold["data_type"] == "numerical" else drift.CATEGORICAL
        for name in (name for name, found in kinds.items() if found == threshold["data_type"]):
            samples = [reference[name].tolist(), production[name].tolist()]
            if threshold["data_type"] == "numerical":
                samples = [_floats(sample, name) for sample in samples]
            rows.append(_row(name, threshold, metrics[threshold["metric"]](*samples)))
    return rows


def _quality(thresholds: list[Json], kinds: dict[str, str], production: pd.DataFrame, reference: pd.DataFrame) -> list[Json]:
    return [
        _row(name, threshold, quality.METRICS[threshold["metric"]](production[name], reference[name]))
        for threshold in thresholds
        for name, found in kinds.items()
        if found == threshold["data_type"]
    ]


def _floats(values: list[Any], name: str) -> list[float]:
    try:
        found = [float(value) for value in values]
    except (TypeError, ValueError) as problem:
        raise UnusableData(f"The feature {name} is numerical, but not all of its values are numbers: {problem}") from problem
    if not all(map(math.isfinite, found)):
        raise UnusableData(f"The feature {name} has values that are not finite.")
    return found


def _segment(frame: pd.DataFrame, segment: Json | None) -> pd.DataFrame:
    if not segment:
        return frame
    if segment["feature"] not in frame.columns:
        raise UnusableData(f"The data has no column {segment['feature']} to take a segment by.")
    chosen = frame[frame[segment["feature"]].astype(str).isin([str(value) for value in segment["values"]])]
    if chosen.empty:
        raise UnusableData(f"No row of the data is in the segment {segment['feature']} in {segment['values']}.")
    return chosen


def _row(feature: str, threshold: Json, value: float) -> Json:
    return {
        "group": feature,
        "metric_value": value,
        "metric_name": threshold["metric"],
        "data_type": threshold["data_type"],
        "threshold_value": threshold["value"],
    }


def _count(metric: str, frame: pd.DataFrame) -> Json:
    return {"group": "", "metric_value": float(len(frame)), "metric_name": metric, "data_type": "", "threshold_value": None}
