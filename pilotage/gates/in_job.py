"""What runs in the job of a gate whose data is too large for the function: `python -m pilotage.gates.in_job`.

  ask    writes the scoring requests that the gate will have predicted; each model predicts them in a step of its own
  judge  runs the gate over the mounted files and those predictions; writes into the result folder:
           result.json  the GateResult; or
           refused.json {"error", "message"}: what was refused, as the function would have refused it
           job.json     in what it was measured, and why in a job
           check.json   some of the requests with their predictions, which the function asks the deployments too
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

from pilotage.errors import OperationFailed, PilotageError
from pilotage.gates.catalogue import find
from pilotage.gates.file_trial import CANDIDATE, CHAMPION, REQUESTS, FileTrial, Predicted, TrialRecord
from pilotage.gates.predictions import AskingGate, requests_of

CHECKED = 4
"""Requests of one model that the deployment is asked too."""
_NO_NUMBER = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}
TOLD = ("numpy", "pandas", "scipy", "scikit-learn", "fairlearn", "pandera")


def ask(told: TrialRecord, mounts: dict[str, Path], folders: dict[str, Path]) -> None:
    """Write one file of requests for each model. What the gate refuses is left for `judge` to say."""
    gate, spec = find(told.kind, told.spec)
    try:
        asked = cast(AskingGate[Any], gate).asks(FileTrial(told, mounts), spec)
    except PilotageError as error:
        print(f"nothing will be predicted: {error}", file=sys.stderr)
        asked = []
    for who, folder in folders.items():
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / REQUESTS).open("wb") as out:  # also without any request: an empty folder is no output
            for one in asked:
                if (CHAMPION if one.champion else CANDIDATE) == who:
                    out.writelines(body + b"\n" for body, _ in requests_of(one.sent))


def judge(told: TrialRecord, mounts: dict[str, Path], predicted: dict[str, Predicted], folder: Path) -> None:
    """Raises OperationFailed when predictions are missing; what the gate refuses is written down."""
    gate, spec = find(told.kind, told.spec)
    trial = FileTrial(told, mounts, predicted)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.json").write_text(json.dumps(told.about | {"versions": _versions()}))
    try:
        result = gate.begin(trial, spec)
    except OperationFailed:
        raise
    except PilotageError as error:
        (folder / "refused.json").write_text(json.dumps({"error": type(error).__name__, "message": str(error)}))
        return
    check = {who: _drawn(predicted[who], told.seed) for who in sorted(trial.used)}
    (folder / "check.json").write_text(json.dumps(check))
    (folder / "result.json").write_text(json.dumps(result.model_dump(mode="json")))


def _drawn(predicted: Predicted, seed: int) -> list[dict[str, Any]]:
    """Some of the requests that were answered, in their order."""
    draw = random.Random(seed)  # noqa: S311 - a sample, no secret
    places = sorted(draw.sample(range(predicted.answered), min(CHECKED, predicted.answered)))
    return [{"request": json.loads(predicted.requests[at]), "predictions": predicted.said(at, parse_constant=_NO_NUMBER.get)}
            for at in places]


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in TOLD:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _pairs(values: Sequence[str]) -> dict[str, Path]:
    return {name: Path(path) for name, _, path in (value.partition("=") for value in values)}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ask", "judge"])
    parser.add_argument("--trial", type=Path, required=True, help="TrialRecord as JSON")
    parser.add_argument("--data", action="append", default=[], help="role=path of each mounted asset")
    parser.add_argument("--requests", action="append", default=[], help="candidate=folder, champion=folder")
    parser.add_argument("--predictions", action="append", default=[], help="the same, of what they said")
    parser.add_argument("--result", type=Path)
    given = parser.parse_args(arguments)
    told = TrialRecord.model_validate_json(given.trial.read_bytes())
    mounts, requests, said = _pairs(given.data), _pairs(given.requests), _pairs(given.predictions)
    try:
        if given.what == "ask":
            ask(told, mounts, requests)
        else:
            judge(told, mounts, {who: Predicted(requests[who], said[who]) for who in requests}, given.result)
    except PilotageError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
