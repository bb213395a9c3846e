"""Clean raw flights and split them into a training and a test set (CSV files `train.csv`, `test.csv`)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd
from schema import FEATURES, TARGET

SEED = 2013
TEST_SHARE = 0.2
UNITS = {"minutes": 1.0, "hours": 60.0}


def clean(flights: pd.DataFrame, unit: str) -> pd.DataFrame:
    """Flights that flew, with the model's columns; the target in `unit`. Raises `ValueError` on missing columns."""
    missing = sorted({*FEATURES, TARGET} - set(flights.columns))
    if missing:
        raise ValueError(f"the flights have no column {', '.join(missing)}")
    # A cancelled or diverted flight has no air time: it says nothing about how long a flight takes.
    flown = flights[[*FEATURES, TARGET]].dropna()
    flown = flown.astype({"distance": "float64", "hour": "int64", TARGET: "float64"})
    flown[TARGET] = flown[TARGET] / UNITS[unit]
    return flown


def split(flown: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Training and test rows, the same ones every time."""
    test = flown.sample(frac=TEST_SHARE, random_state=SEED)
    return flown.drop(test.index), test


def prepare(source: Path, folder: Path, unit: str = "minutes") -> dict[str, int]:
    """Write `train.csv` and `test.csv` into `folder`; returns how many flights went where."""
    raw = pd.read_csv(source)
    flown = clean(raw, unit)
    training, test = split(flown)
    folder.mkdir(parents=True, exist_ok=True)
    training.to_csv(folder / "train.csv", index=False)
    test.to_csv(folder / "test.csv", index=False)
    return {"raw": len(raw), "flown": len(flown), "train": len(training), "test": len(test)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flights", type=Path, required=True, help="CSV of raw flights")
    parser.add_argument("--output", type=Path, required=True, help="folder for train.csv and test.csv")
    parser.add_argument("--unit", choices=sorted(UNITS), default="minutes", help="unit of the target")
    arguments = parser.parse_args()
    print(json.dumps(prepare(arguments.flights, arguments.output, arguments.unit)))


if __name__ == "__main__":
    main()
