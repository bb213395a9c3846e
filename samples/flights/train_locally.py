"""The inner loop on one machine: prepare, train and evaluate, by the code that the pipeline's steps run.

Run it with the training image's Python. The output folder gets `data/` (the split), `model/` (MLflow),
`metrics.json` (on the test split) and `holdouts.json`: the metrics on each `--holdout`, by its path.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

import mlflow.pyfunc
from evaluate import evaluate
from prepare import UNITS, prepare
from train import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flights", type=Path, required=True, help="CSV of raw flights (cut_seasons.py)")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--holdout", type=Path, action="append", default=[], help="CSV of held-out flights; repeatable")
    parser.add_argument("--unit", choices=sorted(UNITS), default="minutes", help="unit of the target")
    arguments = parser.parse_args()
    output = arguments.output
    prepare(arguments.flights, output / "data", arguments.unit)
    count = train(output / "data" / "train.csv", output / "model")
    model = mlflow.pyfunc.load_model(str(output / "model"))
    metrics = evaluate(model, output / "data" / "test.csv")
    holdouts = {str(path): evaluate(model, path) for path in arguments.holdout}
    (output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    (output / "holdouts.json").write_text(json.dumps(holdouts, indent=2) + "\n", encoding="utf-8")
    print(f"trained on {count} flights, test split: {metrics['mae']:.2f} {arguments.unit} off on average")
    for path, measured in holdouts.items():
        print(f"{path}: {measured['mae']:.2f} off, bias {measured['bias']:+.2f}")


if __name__ == "__main__":
    main()
