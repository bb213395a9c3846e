"""The step that computes one signal: `python -m model_monitor.compute --production P --reference R --metrics M`.

Reads the signal from MODEL_MONITOR_SIGNAL; writes `metrics.jsonl`, one row a metric, into the folder M.
Ends with 1 and a line that says why when there is nothing to compute on.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from model_monitor import platform
from model_monitor.data import UnusableData, Window, read
from model_monitor.signals import compute


def main() -> int:
    parser = argparse.ArgumentParser()
    for name in ("--production", "--reference", "--metrics"):
        parser.add_argument(name, type=Path, required=True)
    given = parser.parse_args()
    signal = json.loads(os.environ["MODEL_MONITOR_SIGNAL"])
    try:
        production = read(given.production, Window.of(signal["production_window"]), "production")
        reference = read(given.reference, Window.of(signal["reference_window"]), "reference")
        rows = compute(signal, production, reference)
    except UnusableData as problem:
        print(f"{signal['name']}: {problem}")
        return 1
    for row in rows:
        print(json.dumps(row))
    (given.metrics / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    platform.log_metrics({platform.metric_name(row): row["metric_value"] for row in rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
