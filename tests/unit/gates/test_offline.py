"""The offline program, as a process in the training image's Python, on models that are really saved."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / "emulator" / "images" / "training" / ".venv" / "bin" / "python"
PROGRAM = ROOT / "pilotage" / "gates" / "programs" / "offline" / "predict.py"
SAVE = """
import sys, numpy as np, pandas as pd, mlflow.sklearn, mlflow.pyfunc
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression, LogisticRegression
out = sys.argv[1]
frame = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [10, 20, 31]})
truth = frame["a"] * 2 + frame["b"]
def save(model, name, signature): mlflow.sklearn.save_model(model, f"{out}/{name}", signature=signature, serialization_format="cloudpickle",
                                                            pip_requirements=["scikit-learn"])
save(LinearRegression().fit(frame, truth), "columns", infer_signature(frame, truth))
save(LinearRegression().fit(frame.to_numpy(), truth), "positions", infer_signature(frame, truth))
images = np.arange(24, dtype="float64").reshape(6, 4)
save(LogisticRegression().fit(images, [0, 0, 0, 1, 1, 1]), "tensor", infer_signature(images, np.array([0, 1])))
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    subprocess.run([PYTHON, "-c", SAVE, folder], check=True, capture_output=True)
    return folder


def predicted(model: Path, folder: Path, *requests: dict[str, Any], rows: int = 100) -> dict[str, Any]:
    """Run the program; what it wrote, by file."""
    samples = folder / "requests.jsonl"
    samples.write_text("\n".join(map(json.dumps, requests)))
    done = subprocess.run([PYTHON, PROGRAM, "--model", model, "--samples", samples, "--result", folder / "result", "--max-rows", str(rows)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return {file.name: [json.loads(line) for line in file.read_text().splitlines()] for file in (folder / "result").iterdir()}


COLUMNS = {"columns": ["a", "b"], "data": [[1, 10], [2.5, 20]]}


def test_every_form_of_a_request_is_predicted_alike(models: Path, tmp_path: Path) -> None:
    found = predicted(models / "columns", tmp_path, {"input_data": COLUMNS}, {"input_data": [{"a": 1, "b": 10}, {"a": 2.5, "b": 20}]},
                      {"input_data": [[1, 10], [2.5, 20]]}, {"dataframe_split": COLUMNS}, {"inputs": {"a": [1, 2.5], "b": [10, 20]}})
    assert set(found) == {"predictions.jsonl", "summary.json"}
    answers = [line["predictions"] for line in found["predictions.jsonl"]]
    assert answers[0] == pytest.approx([12, 25])
    assert all(answer == answers[0] for answer in answers)
    assert found["summary.json"][0]["rows"] == 10
    assert found["summary.json"][0]["reads_by_place"] is False
    assert found["summary.json"][0]["versions"]["python"].startswith("3.")


def test_it_is_told_whether_a_model_reads_by_place(models: Path, tmp_path: Path) -> None:
    by_place = predicted(models / "positions", tmp_path, {"input_data": COLUMNS}, {"input_data": COLUMNS}, rows=1)
    assert by_place["summary.json"][0]["reads_by_place"] is True, "it was trained on an array: its own columns have no names"
    assert by_place["summary.json"][0]["rows"] == 2, "whole requests, until there are rows enough"


def test_tensors_are_arrays(models: Path, tmp_path: Path) -> None:
    found = predicted(models / "tensor", tmp_path, {"input_data": [[0, 1, 2, 3], [20, 21, 22, 23]]})
    assert found["predictions.jsonl"][0]["predictions"] == [0, 1]


@pytest.mark.parametrize(("breaks", "phase"), [("model.pkl", "be loaded"), ("MLmodel", "be loaded")])
def test_a_damaged_artifact_is_told_in_its_own_words(models: Path, tmp_path: Path, breaks: str, phase: str) -> None:
    broken = tmp_path / "model"
    subprocess.run(["cp", "-r", models / "columns", broken], check=True)
    file = broken / breaks
    file.write_bytes(file.read_bytes()[:40])
    found = predicted(broken, tmp_path, {"input_data": COLUMNS})
    assert found["failure.json"][0]["phase"] == phase
    assert found["failure.json"][0]["error"]


def test_a_request_that_the_model_refuses_is_told_by_number(models: Path, tmp_path: Path) -> None:
    found = predicted(models / "columns", tmp_path, {"input_data": COLUMNS}, {"input_data": {"columns": ["a"], "data": [[1]]}})
    assert found["failure.json"][0]["phase"] == "predict sample request 2"
