"""Measure a model on the test set: mean absolute error in the target's unit, overall and by airport."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import pandas as pd
from schema import FEATURES, TARGET


def evaluate(model: mlflow.pyfunc.PyFuncModel, source: Path) -> dict[str, Any]:
    """`mae`, `bias` (mean of predicted minus true), `rows`, and `mae_by_origin` on the CSV file of flights."""
    flights = pd.read_csv(source).astype({"distance": "float64"})
    error = pd.Series(model.predict(flights[FEATURES]), index=flights.index) - flights[TARGET]
    by_origin = error.abs().groupby(flights["origin"]).mean()
    return {
        "mae": round(float(error.abs().mean()), 4),
        "bias": round(float(error.mean()), 4),
        "rows": len(flights),
        "mae_by_origin": {origin: round(float(mae), 4) for origin, mae in by_origin.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the MLflow model")
    parser.add_argument("--data", type=Path, required=True, help="CSV of flights, or a folder with test.csv")
    parser.add_argument("--metrics", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()
    data = arguments.data / "test.csv" if arguments.data.is_dir() else arguments.data
    metrics = evaluate(mlflow.pyfunc.load_model(str(arguments.model)), data)
    arguments.metrics.parent.mkdir(parents=True, exist_ok=True)
    arguments.metrics.write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
