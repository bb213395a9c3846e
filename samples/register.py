"""Register what a sample's train.py wrote, through the real SDK: `<name>-holdout`, `<name>-requests`, and the environment `<name>-env`.

  python samples/register.py --name digits --folder .local/digits [--workspace mlw-dev] [--model VERSION]

Run again it changes nothing. With `--model` the model is registered too, as a candidate: its promotion starts.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from azure.ai.ml import MLClient
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import Data, Environment, Model
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import DefaultAzureCredential

IMAGE = "mcr.microsoft.com/azureml/minimal-py311-inference:latest"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--model", help="also register the model, as this version")
    parser.add_argument("--subscription", default=os.environ.get("AZURE_SUBSCRIPTION_ID"))
    parser.add_argument("--resource-group", default=os.environ.get("AZURE_RESOURCE_GROUP"))
    parser.add_argument("--workspace", default=os.environ.get("AZUREML_WORKSPACE_DEV"))
    given = parser.parse_args()
    client = MLClient(DefaultAzureCredential(), given.subscription, given.resource_group, given.workspace)
    for kind, file in (("holdout", "holdout.csv"), ("requests", "requests.jsonl")):
        try:
            client.data.get(f"{given.name}-{kind}", "1")
        except ResourceNotFoundError:
            client.data.create_or_update(Data(name=f"{given.name}-{kind}", version="1", type=AssetTypes.URI_FILE,
                                              path=str(given.folder / file)))
    try:
        client.environments.get(f"{given.name}-env", "1")
    except ResourceNotFoundError:
        client.environments.create_or_update(Environment(
            name=f"{given.name}-env", version="1", image=IMAGE, conda_file=str(given.folder / "model" / "conda.yaml")))
    if given.model:
        client.models.create_or_update(Model(name=given.name, version=given.model, type=AssetTypes.MLFLOW_MODEL,
                                             path=str(given.folder / "model"), tags={"candidate": "true", "license": "BSD-3-Clause"}))


if __name__ == "__main__":
    main()
