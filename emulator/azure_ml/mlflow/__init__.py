"""MLflow's tracking server and model registry, as every workspace of Azure Machine Learning has them.

    MLFLOW_TRACKING_URI=https://localhost:PORT/mlflow/v2.0/subscriptions/.../workspaces/mlw-dev
    MLFLOW_TRACKING_TOKEN=<a token>

serve a plain `mlflow` client. Runs are the runs of the job service and registered models are the workspace's models:
nothing is kept twice. Jobs find both variables set, with a token of their own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from emulator.azure_ml.mlflow.api import Api

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl


def routes(azure_ml: AzureMl) -> list[BaseRoute]:
    return Api(azure_ml).routes()
