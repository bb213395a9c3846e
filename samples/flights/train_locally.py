"""The inner loop on one machine: prepare, train and evaluate, exactly the steps that the pipeline runs.

Run it with the training image's Python. The output folder gets `model/` (MLflow), `metrics.json` (on
the test split) and, with `--holdout`, `holdout.json` (on rows that were never trained on).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).resolve().parent / "src"


def step(script: str, *arguments: str | Path) -> None:
    subprocess.run([sys.executable, str(SOURCE / script), *map(str, arguments)], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flights", type=Path, required=True, help="CSV of raw flights (cut_seasons.py)")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--holdout", type=Path, help="CSV of held-out flights")
    parser.add_argument("--unit", choices=["minutes", "hours"], default="minutes", help="unit of the target")
    arguments = parser.parse_args()
    output = arguments.output
    step("prepare.py", "--flights", arguments.flights, "--output", output / "data", "--unit", arguments.unit)
    step("train.py", "--data", output / "data", "--model", output / "model")
    step("evaluate.py", "--model", output / "model", "--data", output / "data", "--metrics", output / "metrics.json")
    if arguments.holdout:
        step("evaluate.py", "--model", output / "model", "--data", arguments.holdout,
             "--metrics", output / "holdout.json")


if __name__ == "__main__":
    main()
