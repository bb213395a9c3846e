"""A monitor's run: a pipeline with two steps for each signal, and one before for data that must be preprocessed.

Azure's built-in components do the same: `<signal>_compute_metrics` computes, and
`<signal>_evaluate_metrics_threshold`, the evaluator, judges; the tag of a breach is on the evaluator's run.
"""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

from emulator.azure_ml.errors import ValidationError
from emulator.azure_ml.jobs.submission import Submission
from emulator.azure_ml.monitoring.definition import DataInput, Signal

Json = dict[str, Any]

CODE = Path(__file__).resolve().parents[2] / "images" / "training"
"""The folder of the package `model_monitor`."""
_NO_WINDOW: dict[str, str | None] = {"start": None, "end": None}
_FOLDER = {"type": "uri_folder"}


def specification(signals: list[Signal], submission: Submission, now: datetime) -> Json:
    """What the monitor's run executes (see `jobs/submission.py`), for windows that end at `now`.

    Raises `AzureMlError` for data or components that there are not.
    """
    steps: Json = {}
    for signal in signals:
        steps |= _signal(signal, submission, now)
    # One signal without data must not keep the others from being looked at.
    return {"kind": "pipeline", "component": None, "inputs": {}, "outputs": {}, "steps": steps, "continue_on_failure": True, "values": {}}


def _signal(signal: Signal, submission: Submission, now: datetime) -> Json:
    steps: Json = {}
    bound, windows = {}, {}
    for role, data in (("production", signal.production), ("reference", signal.reference)):
        address = submission.address(data.uri, data.kind)
        windows[f"{role}_window"] = data.window(now)
        if data.preprocessing:
            name = f"{signal.name}_preprocess_{role}"
            steps[name] = _preprocess(data, address, windows[f"{role}_window"], submission)
            address, windows[f"{role}_window"] = {"step": name, "output": "preprocessed_data"}, _NO_WINDOW
        bound[role] = address
    compute, evaluate = f"{signal.name}_compute_metrics", f"{signal.name}_evaluate_metrics_threshold"
    variables = {"MODEL_MONITOR_SIGNAL": json.dumps({**signal.settings, **windows})}
    command = (
        "python -m model_monitor.compute --production ${{inputs.production}} --reference ${{inputs.reference}}"
        " --metrics ${{outputs.signal_metrics}}"
    )
    steps[compute] = _step(command, variables, bound, {"signal_metrics": _FOLDER})
    metrics = {"signal_metrics": {"step": compute, "output": "signal_metrics"}}
    steps[evaluate] = _step("python -m model_monitor.evaluate ${{inputs.signal_metrics}}", variables, metrics, {})
    return steps


def _step(command: str, variables: dict[str, str], bound: Json, outputs: Json) -> Json:
    return {
        "spec": {
            "kind": "command",
            "command": command,
            "code": None,
            "environment": None,
            "component": None,
            "inputs": dict.fromkeys(bound, _FOLDER),
            "outputs": outputs,
            "environment_variables": {**variables, "PYTHONPATH": str(CODE)},
            "timeout": None,
        },
        "inputs": bound,
        "outputs": {},
    }


def _preprocess(data: DataInput, address: Json, window: dict[str, str | None], submission: Submission) -> Json:
    """The user's component, with the inputs and the output that Azure documents for it."""
    spec = submission.component(str(data.preprocessing))
    if spec["kind"] != "command" or "preprocessed_data" not in spec["outputs"] or "input_data" not in spec["inputs"]:
        raise ValidationError(f"{data.preprocessing} needs an input input_data and an output preprocessed_data to preprocess data.")
    given = {
        "input_data": address,
        "data_window_start": {"literal": window["start"] or ""},
        "data_window_end": {"literal": window["end"] or ""},
    }
    return {"spec": spec, "inputs": {name: value for name, value in given.items() if name in spec["inputs"]}, "outputs": {}}
