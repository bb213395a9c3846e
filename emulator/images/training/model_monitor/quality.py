"""Data quality: how much of the production data is missing, of the wrong type or out of the reference's bounds.

As `data_quality_compute_metrics` in github.com/Azure/azureml-assets: rates of all rows, rounded to five
places; missing values count as null only; bounds are the least and greatest number, or the set of texts,
of the reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

_ERRORS = {"true": True, "false": False}


def null_value_rate(production: pd.Series) -> float:
    return _rate(int(production.isna().sum()), production)


def data_type_error_rate(production: pd.Series, reference: pd.Series) -> float:
    """Values that can't be cast to the reference's type. Everything can be a text, so texts are never wrong."""
    present = production.dropna()
    if pd.api.types.is_bool_dtype(reference.dropna().infer_objects()):
        return _rate(sum(1 for value in present if not isinstance(value, bool) and str(value).lower() not in _ERRORS), production)
    if not is_number_type(reference):
        return 0.0
    return _rate(int(_numbers(present).isna().sum()), production)


def out_of_bounds_rate(production: pd.Series, reference: pd.Series) -> float:
    """Numbers beyond the reference's range, or texts that the reference never has."""
    known = reference.dropna()
    if is_number_type(reference):
        numbers = _numbers(production.dropna()).dropna()
        return _rate(int(((numbers < known.min()) | (numbers > known.max())).sum()), production)
    allowed = {str(value) for value in known}
    return _rate(_outside(production.dropna(), allowed), production)


def is_number_type(column: pd.Series) -> bool:
    """Whether a column holds numbers (truth values are not)."""
    found = column.dropna().infer_objects()
    return bool(pd.api.types.is_numeric_dtype(found)) and not bool(pd.api.types.is_bool_dtype(found))


def _outside(values: Iterable[Any], allowed: set[str]) -> int:
    return sum(1 for value in values if str(value) not in allowed)


def _numbers(values: pd.Series) -> pd.Series:
    return pd.to_numeric(values, errors="coerce")


def _rate(violations: int, rows: Sequence[Any]) -> float:
    return round(violations / len(rows), 5)


METRICS = {
    "NullValueRate": lambda production, reference: null_value_rate(production),
    "DataTypeErrorRate": data_type_error_rate,
    "OutOfBoundsRate": out_of_bounds_rate,
}
