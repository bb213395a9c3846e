"""The air-time sample, run as a data scientist would: the drift is real, and the mistake is a mistake."""

from __future__ import annotations

import csv
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.light_model import AIR_TIME_COLUMNS

ROOT = Path(__file__).resolve().parents[3]
SAMPLE = ROOT / "samples" / "flights"
PYTHON = ROOT / "emulator" / "images" / "training" / ".venv" / "bin" / "python"

pytestmark = pytest.mark.xdist_group("flights")


def run(script: str, *arguments: str | Path) -> str:
    done = subprocess.run([PYTHON, SAMPLE / script, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    run("cut_seasons.py", "--output", folder)
    return folder


@pytest.fixture(scope="module")
def models(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Trained on each season, and on winter by someone who took minutes for hours."""
    folder = tmp_path_factory.mktemp("models")
    holdouts = [argument for season in ("winter", "summer") for argument in ("--holdout", data / season / "holdout.csv")]
    for name, season, unit in (("winter", "winter", "minutes"), ("summer", "summer", "minutes"), ("hours", "winter", "hours")):
        run("train_locally.py", "--flights", data / season / "flights.csv", "--output", folder / name, "--unit", unit, *holdouts)
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def error(models: Path, model: str, holdout: Path) -> float:
    """Mean absolute error of a model on a holdout."""
    return float(json.loads((models / model / "holdouts.json").read_text())[str(holdout)]["mae"])


def test_the_files_are_the_same_every_time(data: Path, tmp_path: Path) -> None:
    run("cut_seasons.py", "--output", tmp_path)
    files = sorted(path.relative_to(data) for path in data.rglob("*") if path.is_file())
    assert len(files) == 6
    assert all((data / file).read_bytes() == (tmp_path / file).read_bytes() for file in files)


@pytest.mark.parametrize(("season", "months"), [("winter", {"1", "2"}), ("summer", {"7", "8"})])
def test_a_season_has_its_months_and_cancelled_flights(data: Path, season: str, months: set[str]) -> None:
    flights = rows(data / season / "flights.csv")
    assert len(flights) == 12_000
    assert {flight["month"] for flight in flights} == months
    assert 0 < sum(not flight["air_time"] for flight in flights) < 1_000


@pytest.mark.parametrize("season", ["winter", "summer"])
def test_the_holdout_has_the_truth_for_every_row(data: Path, season: str) -> None:
    holdout = rows(data / season / "holdout.csv")
    assert len(holdout) == 2_000
    assert list(holdout[0]) == [*AIR_TIME_COLUMNS, "air_time"]
    assert all(float(flight["air_time"]) > 0 for flight in holdout)


def test_requests_have_the_columns_of_the_signature_in_order(data: Path, models: Path) -> None:
    described = yaml.safe_load((models / "winter" / "model" / "MLmodel").read_text())
    signature = [(column["name"], column["type"]) for column in json.loads(described["signature"]["inputs"])]
    assert dict(signature) == AIR_TIME_COLUMNS
    requests = [json.loads(line) for line in (data / "winter" / "requests.jsonl").read_text().splitlines()]
    assert len(requests) == 20
    for request in requests:
        sample: dict[str, Any] = request["input_data"]
        assert sample["columns"] == [name for name, _ in signature]
        assert len(sample["index"]) == len(sample["data"]) == 3


def test_a_model_is_good_on_its_season_and_bad_on_the_other(data: Path, models: Path) -> None:
    """The thresholds leave room around the README's figures; a policy's limit of 10 minutes separates them."""
    for model, other in (("winter", "summer"), ("summer", "winter")):
        assert error(models, model, data / model / "holdout.csv") < 9
        assert error(models, model, data / other / "holdout.csv") > 13


def test_the_mistaken_model_looks_best_to_its_maker_and_is_useless(data: Path, models: Path) -> None:
    assert json.loads((models / "hours" / "metrics.json").read_text())["mae"] < 0.2
    assert error(models, "hours", data / "winter" / "holdout.csv") > 100


def test_the_model_names_the_versions_that_made_it(models: Path) -> None:
    requirements = (models / "winter" / "model" / "requirements.txt").read_text().split()
    assert {requirement.split("==")[0] for requirement in requirements} >= {"cloudpickle", "scikit-learn", "pandas", "mlflow-skinny"}
    assert all("==" in requirement for requirement in requirements)


@pytest.mark.parametrize("name", ["prepare", "train", "evaluate", "register"])
def test_each_step_of_the_pipeline_is_a_component(name: str) -> None:
    component = yaml.safe_load((SAMPLE / "components" / f"{name}.yaml").read_text())
    pipeline = yaml.safe_load((SAMPLE / "components" / "pipeline.yaml").read_text())
    assert pipeline["jobs"][name]["component"] == f"azureml:{component['name']}:{component['version']}"
    assert (SAMPLE / "src" / f"{name}.py").is_file()
    assert f"python {name}.py" in component["command"]
