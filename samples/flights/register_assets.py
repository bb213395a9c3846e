"""Create what the air-time model's inner loop needs in a workspace, through the real SDK; run again, it changes nothing.

For `--season winter` (a new project): both environments, the four step components, the pipeline component
`train_air_time`, and version 1 of the data assets. `--season summer` adds version 2 of the data assets:

  air-time-flights    raw flights to train on (CSV)
  air-time-holdout    flights with their true air time in minutes, for gates (CSV)
  air-time-requests   scoring requests, one MLflow `input_data` object per line (JSON Lines)

and once, of both: `air-time-contract`, what a holdout must be like (contract.yaml).

`--data` is the folder that cut_seasons.py wrote.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from azure.ai.ml import MLClient, load_component, load_environment
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import Data
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import DefaultAzureCredential

HERE = Path(__file__).resolve().parent
SEASON_VERSIONS = {"winter": "1", "summer": "2"}
DATA = {
    "air-time-flights": ("flights.csv", "Raw flights from New York to train on."),
    "air-time-holdout": ("holdout.csv", "Flights with their true air time in minutes; never trained on."),
    "air-time-requests": ("requests.jsonl", "Scoring requests, one per line."),
}
CONTRACT = ("air-time-contract", "1", HERE / "contract.yaml", "What a holdout of flights must be like.")
COMPONENTS = ("prepare", "train", "evaluate", "register", "pipeline")


def ensure(kind: str, name: str, version: str, get: Callable[[], Any], create: Callable[[], Any]) -> None:
    """Versions are immutable: one that exists is kept as it is (change an asset by raising its version)."""
    try:
        get()
    except ResourceNotFoundError:
        create()
        print(f"created {kind} {name}:{version}", flush=True)
    else:
        print(f"kept    {kind} {name}:{version}", flush=True)


def ensure_data(client: MLClient, folder: Path, season: str) -> None:
    version = SEASON_VERSIONS[season]
    for name, (file, description) in DATA.items():
        data = Data(
            name=name,
            version=version,
            type=AssetTypes.URI_FILE,
            path=str(folder / season / file),
            description=description,
            tags={"season": season},
        )
        ensure("data", name, version, lambda data=data: client.data.get(data.name, data.version),
               lambda data=data: client.data.create_or_update(data))


def ensure_contract(client: MLClient) -> None:
    name, version, path, description = CONTRACT
    data = Data(name=name, version=version, type=AssetTypes.URI_FILE, path=str(path), description=description)
    ensure("data", name, version, lambda: client.data.get(name, version), lambda: client.data.create_or_update(data))


def ensure_environments(client: MLClient) -> None:
    for source in ("training", "inference"):
        environment = load_environment(HERE / "environments" / f"{source}.yaml")
        ensure("environment", environment.name, environment.version,
               lambda asset=environment: client.environments.get(asset.name, asset.version),
               lambda asset=environment: client.environments.create_or_update(asset))


def ensure_components(client: MLClient) -> None:
    for source in COMPONENTS:
        component = load_component(HERE / "components" / f"{source}.yaml")
        ensure("component", component.name, component.version,
               lambda asset=component: client.components.get(asset.name, asset.version),
               lambda asset=component: client.components.create_or_update(asset))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder that cut_seasons.py wrote")
    parser.add_argument("--season", choices=sorted(SEASON_VERSIONS), default="winter")
    parser.add_argument("--subscription", default=os.environ.get("AZURE_SUBSCRIPTION_ID"))
    parser.add_argument("--resource-group", default=os.environ.get("AZURE_RESOURCE_GROUP"))
    parser.add_argument("--workspace", default=os.environ.get("AZUREML_WORKSPACE_DEV"))
    arguments = parser.parse_args()
    client = MLClient(
        DefaultAzureCredential(), arguments.subscription, arguments.resource_group, arguments.workspace
    )
    ensure_environments(client)
    ensure_components(client)
    ensure_contract(client)
    ensure_data(client, arguments.data, arguments.season)


if __name__ == "__main__":
    main()
