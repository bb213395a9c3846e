"""Register a trained model in the workspace, with the tags that say it may be promoted.

Runs as the last step of the training pipeline (the workspace comes from the job's `AZUREML_ARM_*`
variables) or on a data scientist's machine (from the arguments). `--model` is a local folder, which is
uploaded, or the `azureml://` address of a job's output, which is registered where it lies and so keeps
its lineage to the job.
"""

from __future__ import annotations

import argparse
import json
import os
import re
from pathlib import Path

from azure.ai.ml import MLClient
from azure.ai.ml.constants import AssetTypes
from azure.ai.ml.entities import Model
from azure.core.exceptions import ResourceNotFoundError
from azure.identity import DefaultAzureCredential

OUTPUT = re.compile(r"azureml://.*/paths/azureml/(?P<job>[^/]+)/(?P<output>[^/]+)/?$")
"""Where Azure ML puts a job's output unless told otherwise: `azureml/${{name}}/${{output_name}}/`."""


def location(model: str) -> str:
    """The path to register: a job's output by the job's name where it can be told, so the model names its job."""
    found = OUTPUT.match(model)
    return f"azureml://jobs/{found['job']}/outputs/{found['output']}" if found else model


def describe(arguments: argparse.Namespace, metrics: dict[str, object]) -> tuple[dict[str, str], dict[str, str]]:
    """The model's tags (what people and policies select by) and properties (facts, immutable in Azure ML)."""
    tags = {"candidate": "true", "scenario": "tabular"}
    if arguments.season:
        tags["season"] = arguments.season
    if arguments.case:
        # Names the drift incident that asked for this model, so that its case can be closed.
        tags["pilotage.case"] = arguments.case
    properties = {f"air_time.{name}": str(metrics[name]) for name in ("mae", "rows") if name in metrics}
    if arguments.training_data:
        # Lets the gates see that no row they test with was trained on.
        properties["pilotage.training_data"] = arguments.training_data
    if job := os.environ.get("AZUREML_ROOT_RUN_ID"):
        properties["pilotage.job"] = job
    return tags, properties


def registered_by(client: MLClient, name: str, job: str | None) -> Model | None:
    """What this job registered before it was interrupted and run again, as preemptible nodes do."""
    if job is None:
        return None
    try:
        return next((model for model in client.models.list(name) if model.properties.get("pilotage.job") == job), None)
    except ResourceNotFoundError:
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="local folder, or azureml:// address of a job's output")
    parser.add_argument("--metrics", type=Path, help="JSON file that evaluate.py wrote")
    parser.add_argument("--name", default="air-time")
    parser.add_argument("--season", default="", help="which flights it was trained on")
    parser.add_argument("--case", default="", help="the drift incident that it answers")
    parser.add_argument("--training-data", default="", help="the data asset it was trained on, such as azureml:air-time-flights:1")
    parser.add_argument("--version", help="default: the next one")
    parser.add_argument("--subscription", default=os.environ.get("AZUREML_ARM_SUBSCRIPTION"))
    parser.add_argument("--resource-group", default=os.environ.get("AZUREML_ARM_RESOURCEGROUP"))
    parser.add_argument("--workspace", default=os.environ.get("AZUREML_ARM_WORKSPACE_NAME"))
    arguments = parser.parse_args()
    metrics = json.loads(arguments.metrics.read_text(encoding="utf-8")) if arguments.metrics else {}
    tags, properties = describe(arguments, metrics)
    client = MLClient(
        DefaultAzureCredential(), arguments.subscription, arguments.resource_group, arguments.workspace
    )
    earlier = registered_by(client, arguments.name, properties.get("pilotage.job"))
    if earlier is not None:
        print(f"{earlier.name}:{earlier.version} was registered by this job already")
        return
    registered = client.models.create_or_update(
        Model(
            name=arguments.name,
            version=arguments.version,
            type=AssetTypes.MLFLOW_MODEL,
            path=location(arguments.model),
            description="Air time of a flight from New York, in minutes, from what is known when it is planned.",
            tags=tags,
            properties=properties,
        )
    )
    print(f"registered {registered.name}:{registered.version}")


if __name__ == "__main__":
    main()
