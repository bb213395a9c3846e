"""The steps of a gate's own job, played in this process: our program really, the models as plain functions."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path

from pilotage.gates import in_job
from pilotage.ports import StepsSpec
from tests.support.trial import Model, Refused

Files = Sequence[tuple[str, bytes]]


def played(spec: StepsSpec, data: Mapping[str, Files], models: Mapping[str, Model], folder: Path) -> dict[str, bytes]:
    """What the job writes into its output `result`; nothing when a step of ours fails."""
    places = {}
    for name, text in spec.documents.items():
        places[name] = folder / f"{name}.json"
        places[name].write_text(text, encoding="utf-8")
    for role, files in data.items():
        places[role] = folder / "data" / role
        for path, content in files:
            (places[role] / path).parent.mkdir(parents=True, exist_ok=True)
            (places[role] / path).write_bytes(content)
    for step in spec.steps:
        written = {f"outputs.{name}": folder / step.name / name for name in step.outputs}
        read = {f"inputs.{name}": places.get(source, folder / "model") for name, source in step.inputs.items()}
        places |= {f"{step.name}.{name.removeprefix('outputs.')}": path for name, path in written.items()}
        at = read | written
        words = shlex.split(re.sub(r"\$\{\{(.+?)\}\}", lambda found, at=at: str(at[found[1]]), step.command))
        if words[1] == "-m":
            assert words[:3] == ["python", "-m", in_job.__name__]
            if in_job.main(words[3:]):
                return {}
        else:
            _predict(models[step.name], Path(words[words.index("--samples") + 1]), Path(words[words.index("--result") + 1]))
    result = folder / spec.steps[-1].name / "result"
    return {file.relative_to(result).as_posix(): file.read_bytes() for file in result.rglob("*") if file.is_file()}


def _predict(model: Model, requests: Path, result: Path) -> None:
    """As programs/offline/predict.py does."""
    result.mkdir(parents=True)
    with (result / "predictions.jsonl").open("w") as out:
        for number, line in enumerate((requests / "requests.jsonl").read_text().splitlines(), start=1):
            given = json.loads(line)["input_data"]
            rows = [dict(zip(given["columns"], row, strict=True)) for row in given["data"]] if isinstance(given, dict) else [
                {"value": row} for row in given]
            try:
                said = model(rows)
            except Refused as refused:
                (result / "failure.json").write_text(json.dumps(
                    {"phase": f"predict sample request {number}", "error": refused.body, "versions": {}}))
                return
            out.write(json.dumps({"request": number, "predictions": said}) + "\n")
