"""A gate in its job finds what it finds in the function, to the byte: the same modules, over files and predictions."""

from __future__ import annotations

import ast
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pilotage.domain.gates import GateResult
from pilotage.errors import InvalidInput
from pilotage.gates import packing
from pilotage.gates.catalogue import find
from pilotage.gates.file_trial import TrialRecord
from pilotage.gates.moving import MOVABLE, Moved
from tests.support.moved import played
from tests.support.trial import FakeTrial, Model, Refused, Row

HOLDOUT, TRAINING, CONTRACT = "azureml:holdout@latest", "azureml:training@latest", "azureml:contract@latest"
CONTRACTED = b"version: 1\ncolumns:\n  x: {type: number, min: 0}\n  y: {type: number}\n  region: {type: text}\n"
SIGNATURE = (b"flavors: {}\nsignature:\n  inputs: '[{\"name\": \"x\", \"type\": \"double\", \"required\": true}]'\n"
             b"  outputs: '[{\"type\": \"double\", \"required\": true}]'\n")


def _rows(count: int = 1200, seed: int = 3) -> list[Row]:
    draw = random.Random(seed)
    return [{"x": (x := round(draw.uniform(0, 50), 3)), "region": draw.choice(["north", "south"]), "y": round(2 * x + draw.gauss(0, 1), 3)}
            for _ in range(count)]


def _csv(rows: list[Row]) -> list[tuple[str, bytes]]:
    return [("h.csv", "\n".join([",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]).encode())]


def _line(slope: float, every: int = 10 ** 9) -> Model:
    return lambda rows: [slope * row["x"] + (50 if row["x"] * 1000 % every < 1 else 0) for row in rows]


def _none(rows: list[Row]) -> list[None]:
    return [None] * len(rows)


def _nan(rows: list[Row]) -> list[float]:
    return [float("nan")] * len(rows)


def _refusing(rows: list[Row]) -> list[float]:
    raise Refused(424, "the model could not predict sample request 1: boom")


METRIC = {"metric": "mae", "holdout": HOLDOUT, "target": "y", "max": 1}
CHAMPION = {"metric": "mae", "holdout": HOLDOUT, "target": "y", "resamples": 200, "slices": ["region"], "max_regression": 0.1}
FAIR = {"metric": "mae", "holdout": HOLDOUT, "target": "y", "sensitive": ["region"], "max_ratio": 1.2, "resamples": 200}
QUALITY = {"data_asset": HOLDOUT, "contract": CONTRACT, "training": TRAINING}
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any], str]] = {
    "metric within": ("metric", METRIC, {}, "passed"),
    "metric over": ("metric", METRIC, {"candidate": _line(2.5)}, "failed"),
    "metric with too few rows": ("metric", METRIC | {"min_rows": 5000}, {}, "inconclusive"),
    "metric of nulls": ("metric", METRIC, {"candidate": _none}, "failed"),
    "metric of NaN": ("metric", METRIC, {"candidate": _nan}, "failed"),
    "metric of a model with a signature": ("metric", METRIC, {"artifact_files": {"MLmodel": SIGNATURE}}, "passed"),
    "champion: better": ("champion", CHAMPION, {"champion_model": _line(2.5)}, "passed"),
    "champion: worse": ("champion", CHAMPION, {"champion_model": _line(2), "candidate": _line(2.5)}, "failed"),
    "champion: alike": ("champion", CHAMPION, {"champion_model": _line(2)}, "passed"),
    "champion: can't be compared with": ("champion", CHAMPION, {"champion_model": _none}, "inconclusive"),
    "champion: trained on these rows": ("champion", CHAMPION, {
        "champion_model": _line(2.5), "trained_on": _csv(_rows()), "champion_trained_on": _csv(_rows(seed=9))}, "failed"),
    "champion: trained on others": ("champion", CHAMPION | {"training": TRAINING}, {"champion_model": _line(2.5)}, "passed"),
    "responsible_ai: equal": ("responsible_ai", FAIR, {}, "passed"),
    "responsible_ai: worse for some": ("responsible_ai", FAIR, {
        "candidate": lambda rows: [2 * row["x"] + (4 if row["region"] == "north" else 0) for row in rows]}, "failed"),
    "data_quality: kept": ("data_quality", QUALITY, {}, "passed"),
    "data_quality: leaks": ("data_quality", QUALITY | {"training": HOLDOUT}, {}, "failed"),
    "data_quality: broken": ("data_quality", QUALITY, {
        "assets": {HOLDOUT: _csv([row | {"x": -1} for row in _rows()])}}, "failed"),
}


def _trial(**given: Any) -> FakeTrial:
    assets = {HOLDOUT: _csv(_rows()), TRAINING: _csv(_rows(seed=4)), CONTRACT: [("contract.yaml", CONTRACTED)]}
    return FakeTrial(**({"candidate": _line(2)} | given | {"assets": assets | given.get("assets", {})}))


def _in_job(kind: str, spec: dict[str, Any], trial: FakeTrial, folder: Path) -> dict[str, bytes]:
    gate, read = find(kind, spec)
    record = TrialRecord.of(trial, kind, spec, read.data(), gate.compares, {"environment": "azureml:gates:1"})
    data = {role: trial.files(text) for role, text in read.data().items()}
    for who, champion in (("candidate", False), ("champion", True)):
        if gate.compares and trial.training(champion=champion) is not None:
            data[f"{who}_training"] = trial.training_files(champion=champion)
    models = {"candidate": trial.candidate} | ({"champion": trial.champion_model} if gate.compares and trial.champion_model else {})
    moved = Moved(record=record, inputs={role: ("uri_folder", f"azureml:{role}:1") for role in data}, environment="azureml:gates:1",
                  models=dict.fromkeys(models, "azureml:env:1") if hasattr(gate, "asks") else {}, compute="cpu", timeout=60,
                  workspace="mlw-staging")
    return played(moved.steps("gate-1", str(folder), {}, "pilotage-gates"), data, models, folder)


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_is_the_functions_own_to_the_byte(case: str, tmp_path: Path) -> None:
    kind, spec, given, outcome = CASES[case]
    trial = _trial(**given)
    gate, read = find(kind, spec)
    here = gate.begin(trial, read)
    assert isinstance(here, GateResult)
    assert here.outcome == outcome, here.message
    there = GateResult.model_validate_json(_in_job(kind, spec, trial, tmp_path)["result.json"])
    assert there.model_dump_json() == here.model_dump_json()


def test_every_gate_that_may_move_is_among_the_cases() -> None:
    assert {kind for kind, *_ in CASES.values()} == MOVABLE


@pytest.mark.parametrize(("kind", "spec", "given"), [
    ("metric", METRIC, {"candidate": _refusing}),
    ("champion", CHAMPION, {"candidate": _refusing, "champion_model": _line(2)}),
    ("champion", CHAMPION, {"champion_model": _refusing}),
    ("responsible_ai", FAIR, {"candidate": _refusing}),
])
def test_a_model_that_fails_in_its_own_step_is_judged_as_if_its_endpoint_had_answered_424(
    kind: str, spec: dict[str, Any], given: dict[str, Any], tmp_path: Path
) -> None:
    trial = _trial(**given)
    gate, read = find(kind, spec)
    here, written = gate.begin(trial, read), _in_job(kind, spec, trial, tmp_path)
    there = GateResult.model_validate_json(written["result.json"])
    assert isinstance(here, GateResult)
    assert (there.outcome, there.evidence) == (here.outcome, here.evidence)
    assert "were answered 424 with no list: the model could not predict sample request 1" in there.message


@pytest.mark.parametrize(("kind", "spec"), [
    ("metric", METRIC | {"target": "nobody"}), ("champion", CHAMPION | {"slices": ["nobody"]}),
    ("responsible_ai", FAIR | {"sensitive": ["nobody"]}), ("data_quality", QUALITY | {"key": ["nobody"]}),
])
def test_what_the_gate_refuses_it_refuses_in_the_job_too(kind: str, spec: dict[str, Any], tmp_path: Path) -> None:
    trial = _trial(champion_model=_line(2.5))
    gate, read = find(kind, spec)
    with pytest.raises(InvalidInput) as here:
        gate.begin(trial, read)
    written = _in_job(kind, spec, trial, tmp_path)
    assert "result.json" not in written
    assert yaml.safe_load(written["refused.json"]) == {"error": "InvalidInput", "message": str(here.value)}


def test_predictions_that_are_missing_are_nobodys_verdict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.moved._predict", lambda model, requests, result: result.mkdir(parents=True))
    assert _in_job("metric", METRIC, _trial(), tmp_path) == {}


def test_the_drawn_requests_are_the_same_each_time_and_have_their_predictions(tmp_path: Path) -> None:
    first, second = (_in_job("metric", METRIC, _trial(), tmp_path / name) for name in "ab" if not (tmp_path / name).mkdir())
    assert first["check.json"] == second["check.json"]
    check = yaml.safe_load(first["check.json"])
    assert [len(one["predictions"]) for one in check["candidate"]] == [500, 500, 200]
    row = check["candidate"][0]["request"]["input_data"]["data"][0]
    assert check["candidate"][0]["predictions"][0] == pytest.approx(2 * row[0])


# --- the code that goes with the job ----------------------------------------------------------------


def test_the_folder_is_the_same_each_time_and_has_no_litter(tmp_path: Path) -> None:
    for name in ("one", "two"):
        packing.pack(tmp_path / name)
    found = [{file.relative_to(tmp_path / name).as_posix(): file.read_bytes() for file in (tmp_path / name).rglob("*") if file.is_file()}
             for name in ("one", "two")]
    assert found[0] == found[1] == packing.modules()
    assert all(path.endswith(".py") for path in found[0])
    assert sum(map(len, found[0].values())) < 1024 * 1024


def test_the_folder_is_all_of_pilotage_that_the_gates_in_it_need(tmp_path: Path) -> None:
    packing.pack(tmp_path)
    code = ("import pathlib, sys, pilotage.gates.in_job\n"
            "from importlib import import_module\n"
            "root = pathlib.Path(pilotage.__file__).parent\n"
            "for file in sorted(root.rglob('*.py')):\n"
            "    import_module('.'.join(file.relative_to(root.parent).with_suffix('').parts).removesuffix('.__init__'))\n"
            "assert all(str(root) in (module.__file__ or '') for name, module in sys.modules.items() if name.startswith('pilotage'))\n"
            "print(sorted(name for name in sys.modules if name.split('.')[0] in ('azure', 'durabletask', 'httpx')))")
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                         env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"PYTHONDONTWRITEBYTECODE": "1"})
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert ran.stdout.strip() == "[]", "a job needs no Azure"


ENVIRONMENT = packing.PACKAGE.parent / "infra" / "gates" / "environment.conda.yaml"


def test_the_environment_has_every_library_that_they_import_in_the_apps_version() -> None:
    of = {"yaml": "pyyaml", "sklearn": "scikit-learn", "dateutil": "python-dateutil"}
    imported = set()
    for path, content in packing.modules().items():
        assert path.startswith("pilotage/")
        for node in ast.walk(ast.parse(content)):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add((node.module or "").split(".")[0])
    wanted = {of.get(name, name) for name in imported - set(sys.stdlib_module_names) - {"pilotage"}}
    assert "fairlearn" in wanted
    conda = yaml.safe_load(ENVIRONMENT.read_text())
    pinned = dict(text.split("==") for text in conda["dependencies"][-1]["pip"])
    assert wanted <= set(pinned)
    locked = dict(line.split("==") for line in (ENVIRONMENT.parents[2] / "requirements.txt").read_text().split() if "==" in line)
    assert pinned == {name: locked[name] for name in pinned}

