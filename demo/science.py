"""What the data scientist of the story does, with the real SDKs and the sample project's own scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "samples" / "flights"
TRAINING_PYTHON = ROOT / "emulator" / "images" / "training" / ".venv" / "bin" / "python"
ROWS = 25
PREDICT = """
import json, sys
import mlflow.pyfunc, pandas
rows = json.load(sys.stdin)
model = mlflow.pyfunc.load_model(sys.argv[1])
frame = pandas.DataFrame(rows["data"], columns=rows["columns"])
json.dump([float(value) for value in model.predict(frame)], sys.stdout)
"""


class DataScientist:
    """Ada: prepares assets, trains, registers, and looks at what serves."""

    def __init__(self, env: dict[str, str], folder: Path) -> None:
        self._env, self._folder = env, folder
        self._http = httpx.Client(timeout=60, verify=env["SSL_CERT_FILE"], trust_env=False)
        self._clients: dict[str, MLClient] = {}

    def prepare_workspace(self) -> None:
        """Cut the seasons out of the packaged data and register what the inner loop needs."""
        self._script(TRAINING_PYTHON, "cut_seasons.py", "--output", self._data)
        self._script(sys.executable, "register_assets.py", "--data", self._data, "--season", "winter")

    def summer_arrives(self) -> str:
        """Register the summer's data as version 2; returns the version."""
        self._script(sys.executable, "register_assets.py", "--data", self._data, "--season", "summer")
        return "2"

    def train(self, season: str, unit: str = "minutes") -> Path:
        """Train on this machine; returns the folder of the MLflow model."""
        output = self._folder / f"{season}-{unit}"
        self._script(TRAINING_PYTHON, "train_locally.py", "--flights", self._data / season / "flights.csv",
                     "--output", output, "--unit", unit)
        return output / "model"

    def register(self, model: Path, version: str, season: str) -> None:
        from azure.ai.ml.constants import AssetTypes
        from azure.ai.ml.entities import Model

        self._ml("DEV").models.create_or_update(Model(
            name="air-time", version=version, type=AssetTypes.MLFLOW_MODEL, path=str(model), tags={"candidate": "true"},
            properties={"pilotage.training_data": f"azureml:air-time-flights:{1 if season == 'winter' else 2}"},
            description="Air time of a flight from New York, in minutes."))

    def download(self, version: str) -> Path:
        """The registered model's own files."""
        target = self._folder / f"downloaded-{version}"
        self._ml("DEV").models.download("air-time", version, download_path=str(target))
        return next(target.rglob("MLmodel")).parent

    def raise_drift_alert(self, endpoint: str) -> None:
        """Publish one alert twice, as at-least-once delivery would."""
        from azure.core.credentials import AzureKeyCredential
        from azure.eventgrid import EventGridEvent, EventGridPublisherClient

        event = EventGridEvent(
            subject=f"endpoints/{endpoint}", event_type="Pilotage.DriftDetected", data_version="1",
            data={"alertId": "demo-summer-drift", "workspace": self._env["AZUREML_WORKSPACE_PROD"], "endpoint": endpoint,
                  "signal": "data_drift", "summary": "month and tail wind left their training range"})
        client = EventGridPublisherClient(self._env["EVENTGRID_TOPIC_ENDPOINT"], AzureKeyCredential(self._env["EVENTGRID_TOPIC_KEY"]))
        client.send(event)
        client.send(event)

    def retraining_jobs(self) -> list[str]:
        return [job.name for job in self._ml("DEV").jobs.list() if job.name.startswith("retrain-")]

    def retraining_job(self) -> str | None:
        return next(iter(self.retraining_jobs()), None)

    def traffic(self, endpoint: str) -> dict[str, int]:
        """The production endpoint's split, without zeros."""
        return {name: share for name, share in self._ml("PROD").online_endpoints.get(endpoint).traffic.items() if share}

    def rows(self, season: str) -> dict[str, Any]:
        """Some sample rows of a season: {"columns", "data"}."""
        requests = [json.loads(line)["input_data"] for line in (self._data / season / "requests.jsonl").read_text().splitlines()]
        return {"columns": requests[0]["columns"], "data": [row for request in requests for row in request["data"]][:ROWS]}

    def score(self, endpoint: str, rows: dict[str, Any]) -> tuple[int, list[float]]:
        """Ask the live endpoint, by its traffic; returns status and predictions."""
        online = self._ml("PROD").online_endpoints
        found, keys = online.get(endpoint), online.get_keys(endpoint)
        response = self._http.post(found.scoring_uri, headers={"Authorization": f"Bearer {keys.primary_key}"},
                                   json={"input_data": {**rows, "index": list(range(len(rows["data"])))}})
        return response.status_code, response.json() if response.status_code == 200 else []

    def predict(self, model: Path, rows: dict[str, Any]) -> list[float]:
        """The model's own prediction, from its files, with no server involved."""
        answer = subprocess.run([TRAINING_PYTHON, "-c", PREDICT, model], input=json.dumps(rows), capture_output=True, text=True, check=True)
        return json.loads(answer.stdout)

    @property
    def _data(self) -> Path:
        return self._folder / "seasons"

    def _ml(self, stage: str) -> MLClient:
        from azure.ai.ml import MLClient
        from azure.identity import DefaultAzureCredential

        if stage not in self._clients:
            self._clients[stage] = MLClient(
                DefaultAzureCredential(), self._env["AZURE_SUBSCRIPTION_ID"], self._env["AZURE_RESOURCE_GROUP"],
                self._env[f"AZUREML_WORKSPACE_{stage}"])
        return self._clients[stage]

    def _script(self, python: str | Path, script: str, *arguments: str | Path) -> None:
        done = subprocess.run([str(python), str(SAMPLE / script), *map(str, arguments)], capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{script} failed:\n{done.stdout[-1500:]}\n{done.stderr[-3000:]}")
