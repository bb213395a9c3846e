"""The step that holds a signal's metrics against their thresholds: `python -m model_monitor.evaluate METRICS`.

A breach becomes the tag `azureml_modelmonitor_threshold_breached` of this step's own run, in the words of
Azure's `model_monitor_evaluate_metrics_threshold` component; the run itself completes either way.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from model_monitor import platform

Json = dict[str, Any]

TAG = "azureml_modelmonitor_threshold_breached"
_SHOULD_BE_ABOVE = frozenset({"TwoSampleKolmogorovSmirnovTest", "PearsonsChiSquaredTest", "Accuracy", "Precision", "Recall"})
"""Metrics of which less is worse: a breach is a value below the threshold."""
_SHOWN = ("group", "metric_value", "metric_name", "threshold_value")


def breaches(rows: list[Json]) -> list[Json]:
    """The rows whose value is on the wrong side of their threshold; those without a threshold never are."""
    found = []
    for row in rows:
        value, threshold = row["metric_value"], row["threshold_value"]
        if value is None or threshold is None:
            continue
        if (value < threshold) if row["metric_name"] in _SHOULD_BE_ABOVE else (value > threshold):
            found.append(row)
    return found


def message(signal: str, rows: list[Json]) -> str:
    """The tag's value. Azure's component prints a Python list of JSON texts, quotes included."""
    listed = [json.dumps({name: row[name] for name in _SHOWN}, separators=(",", ":")) for row in rows]
    return (
        f"The signal '{signal}' has failed due to one or more features violating metric thresholds.\n"
        f"The feature names and their corresponding computed metric values violating the threshold are \n{listed}\n"
    )


def main() -> int:
    signal = json.loads(os.environ["MODEL_MONITOR_SIGNAL"])
    lines = (Path(sys.argv[1]) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    found = breaches([json.loads(line) for line in lines])
    if not found:
        print("Successfully validated that the computed metrics are within the given threshold for categorical and numerical metrics.")
        return 0
    text = message(signal["name"], found)
    print(text)
    platform.tag_run({TAG: text})
    if signal.get("emails"):
        platform.mail(signal["emails"], f"Model monitor: {signal['name']}", text)
    print("The metric evaluation job is completed.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
