"""What a gate that runs as a job costs: seconds and memory of its steps `ask` and `judge`, by the size of its data.

The programs are the job's own, as processes of their own; a line stands in for the model. The two sizes are measured in one run, so
that their ratio says how the cost grows.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pilotage.domain.assets import ArtifactDigest, AssetRef, DataVersion, ModelVersion
from pilotage.gates.file_trial import TrialRecord
from pilotage.gates.moving import MODULE

HOLDOUT = "azureml:holdout:1"
COLUMNS = 10
GATES: dict[str, dict[str, Any]] = {
    "metric": {"metric": "mae", "holdout": HOLDOUT, "target": "y", "max": 10},
    "responsible_ai": {"metric": "mae", "holdout": HOLDOUT, "target": "y", "sensitive": ["region"], "max_ratio": 1.5},
    "data_quality": {"data_asset": HOLDOUT, "min_rows": 10},
}


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m bench moved", description=__doc__)
    parser.add_argument("--mebibytes", type=int, nargs="+", default=[8, 40], help="sizes of the data")
    parser.add_argument("--gates", nargs="+", default=list(GATES), choices=GATES)
    given = parser.parse_args(argv)
    for kind in given.gates:
        for size in given.mebibytes:
            with TemporaryDirectory() as folder:
                _measure(kind, size * 2 ** 20, Path(folder))


def _measure(kind: str, size: int, folder: Path) -> None:
    data = folder / "holdout.csv"
    rows = _write(data, size)
    record = folder / "trial.json"
    record.write_text(_record(kind, data.stat().st_size).model_dump_json())
    mounted = ["--trial", str(record), "--data", f"{'data' if kind == 'data_quality' else 'holdout'}={data}"]
    told = [f"{kind}, {data.stat().st_size / 2 ** 20:.0f} MiB, {rows} rows of {COLUMNS + 2} columns"]
    asked: list[str] = []
    if kind != "data_quality":
        told.append(f"ask {_cost(['ask', *mounted, '--requests', f'candidate={folder / "asked"}'])}")
        _predict(folder / "asked", folder / "said")
        asked = ["--requests", f"candidate={folder / 'asked'}", "--predictions", f"candidate={folder / 'said'}"]
    told.append(f"judge {_cost(['judge', *mounted, *asked, '--result', str(folder / 'result')])}")
    result = json.loads((folder / "result" / "result.json").read_text())
    print("; ".join([*told, result["outcome"]]), flush=True)


def _write(at: Path, size: int) -> int:
    """Rows written until the file has so many bytes."""
    draw, rows, written = random.Random(1), 0, 0  # noqa: S311 - data of a benchmark
    with at.open("w") as out:
        written += out.write(",".join([*(f"x{n}" for n in range(COLUMNS)), "region", "y"]) + "\n")
        while written < size:
            values = [round(draw.uniform(0, 100), 3) for _ in range(COLUMNS)]
            written += out.write(f"{','.join(map(str, values))},{draw.choice('abcd')},{values[0] * 2 + draw.gauss(0, 1):.3f}\n")
            rows += 1
    return rows


def _record(kind: str, size: int) -> TrialRecord:
    data = DataVersion(ref=AssetRef(name="holdout", version="1", workspace="mlw"), id=HOLDOUT, type="uri_file", uri="holdout.csv",
                       digest=ArtifactDigest(value="sha256:" + "0" * 64, files=1, size=size))
    model = ModelVersion(ref=AssetRef(name="line", version="1", workspace="mlw"), id="azureml:line:1", type="mlflow_model", path="line")
    return TrialRecord(kind=kind, spec=GATES[kind], model=model, model_digest=data.digest, environment=None, seed=1,
                       moment=datetime(2026, 1, 1, tzinfo=UTC), data={HOLDOUT: data},
                       roles={"data" if kind == "data_quality" else "holdout": HOLDOUT}, champion=None, trained={}, signatures={})


def _predict(asked: Path, said: Path) -> None:
    said.mkdir()
    with (asked / "requests.jsonl").open() as requests, (said / "predictions.jsonl").open("w") as out:
        for number, line in enumerate(requests, start=1):
            values = [row[0] * 2 for row in json.loads(line)["input_data"]["data"]]
            out.write(json.dumps({"request": number, "predictions": values}) + "\n")


def _cost(arguments: list[str]) -> str:
    """Wall seconds and the peak of resident memory of one step."""
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", MODULE, *arguments])
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments[0]} ended with {process.returncode}")
    return f"{time.monotonic() - began:.1f} s, {used.ru_maxrss / 1024:.0f} MiB"
