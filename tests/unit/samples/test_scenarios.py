"""The vision and language samples: what they write fits their models' signatures and their policies."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pilotage.gates.predictions import for_the_model, labelled
from pilotage.gates.security import Security
from pilotage.gates.signature import misfits, read_signature
from pilotage.gates.tables import requests, table
from pilotage.policies.folder import load
from tests.support.trial import FakeTrial

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / "emulator" / "images" / "training" / ".venv" / "bin" / "python"


@pytest.fixture(scope="module", params=["digits", "topics"])
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    subprocess.run([PYTHON, ROOT / "samples" / request.param / "train.py", "--output", folder], check=True, capture_output=True)
    return request.param, folder


def test_its_gates_find_what_they_need(sample: tuple[str, Path]) -> None:
    name, folder = sample
    policy = ROOT / "samples" / name / f"{name}.yaml"
    loaded = load([policy], ROOT / "policies" / "guardrails.yaml")
    assert not loaded.problems
    gates = {gate.kind: gate.spec for gate in loaded.policies[0].staging.gates}
    files = {str(path.relative_to(folder / "model")): path.read_bytes() for path in (folder / "model").rglob("*") if path.is_file()}
    trial = FakeTrial(artifact_files=files)
    signature = read_signature(trial)
    assert signature is not None
    asked = list(requests([("requests.jsonl", (folder / "requests.jsonl").read_bytes())], name))
    assert len(asked) == 20
    assert [misfits(signature, request) for request, _ in asked] == [[]] * 20
    columns, rows = table([("holdout.csv", (folder / "holdout.csv").read_bytes())], name)
    metric, cohorts = gates["metric"], gates["responsible_ai"].sensitive
    holdout = labelled(columns, rows, metric.target, metric.metric, name)
    sent = for_the_model(trial, holdout, name, cohorts)
    assert not set(sent.features) & {metric.target, *cohorts}
    assert len(rows) >= 200
    assert Security().begin(trial, gates["security"]).outcome == "passed"
