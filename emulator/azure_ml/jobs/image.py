"""The image that jobs run in: a venv of its own, whatever environment a job names.

Building containers from conda files is not what this platform is for; the sample environments name the
same package versions as the image's lock file.
"""

from __future__ import annotations

import os
from pathlib import Path

from emulator.azure_ml.jobs.runs import Run, experiment_id
from emulator.azure_ml.resource import Scope
from emulator.context import Context, EmulatorError

TRAINING = Path(__file__).resolve().parents[2] / "images" / "training" / ".venv"

# A job reaches the platform as itself. The scripts' bearer token and the topics' keys are none of its business.
_PASSED_ON = (
    "ARM_CLOUD_METADATA_URL",
    "REGISTRY_DISCOVERY_ENDPOINT_URL",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "AZURE_TENANT_ID",
    "HTTPS_PROXY",
    "NO_PROXY",
)
_FROM_THE_MACHINE = ("LANG", "LC_ALL", "TZ", "TMPDIR")


class ImageMissing(EmulatorError):
    """The training image's venv has not been made."""


def environment(context: Context, run: Run, scope: Scope, home: Path, token: str) -> dict[str, str]:
    """The variables of a job's process: Azure ML's own, the platform's addresses and the job identity.

    A plain MLflow client in the job finds the workspace as its tracking server and logs to the job's own run.

    Raises `ImageMissing`.
    """
    if not (TRAINING / "bin" / "python").exists():
        raise ImageMissing(f"There is no Python in {TRAINING}: run `uv sync --project {TRAINING.parent} --frozen`.")
    platform = context.environment()
    variables = {name: os.environ[name] for name in _FROM_THE_MACHINE if name in os.environ}
    variables |= {name: platform[name] for name in _PASSED_ON if name in platform}
    variables |= {
        "PATH": f"{TRAINING / 'bin'}:{os.environ.get('PATH', '/usr/bin:/bin')}",
        "VIRTUAL_ENV": str(TRAINING),
        "HOME": str(home),
        "PYTHONUNBUFFERED": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_TRACKING_URI": f"{context.base_url}/mlflow/v2.0{scope.id}",
        "MLFLOW_TRACKING_TOKEN": token,
        "MLFLOW_RUN_ID": run.name,
        "MLFLOW_EXPERIMENT_ID": experiment_id(run),
        "MLFLOW_EXPERIMENT_NAME": run.experiment,
        "AZUREML_RUN_TOKEN": token,
        "AZUREML_RUN_ID": run.name,
        "AZUREML_ROOT_RUN_ID": run.root or run.name,
        "AZUREML_EXPERIMENT_NAME": run.experiment,
        "AZUREML_EXPERIMENT_ID": experiment_id(run),
        "AZUREML_ARM_SUBSCRIPTION": scope.subscription,
        "AZUREML_ARM_RESOURCEGROUP": scope.resource_group,
        "AZUREML_ARM_WORKSPACE_NAME": scope.name,
        "AZUREML_ARM_PROJECT_NAME": run.experiment,
        "AZUREML_WORKSPACE_ID": scope.guid,
        "AZUREML_WORKSPACE_SCOPE": scope.id,
        "AZUREML_SERVICE_ENDPOINT": context.base_url,
        "AZUREML_RUN_HISTORY_SERVICE_ENDPOINT": context.base_url,
        "AZUREML_DISCOVERY_SERVICE_ENDPOINT": f"{context.base_url}/discovery",
    }
    client_id = context.config.identity(context.config.job_identity).client_id
    if client_id:
        variables["AZURE_CLIENT_ID"] = client_id
    return variables
