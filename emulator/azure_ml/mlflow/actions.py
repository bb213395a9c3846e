"""From a call of the MLflow API to the action of Azure's role-based access control that it needs.

A model is the same model through both doors, and so is the right to it; logged models, which Azure Resource Manager
doesn't know, belong to the runs that log them. Many of MLflow's reads are POSTs.
Source: learn.microsoft.com/azure/role-based-access-control/permissions/ai-machine-learning
"""

from __future__ import annotations

from emulator.azure_ml.resource import PROVIDER

_TYPES = {
    "experiments": "experiments", "runs": "experiments/runs", "metrics": "experiments/runs", "logged-models": "experiments/runs",
    "artifacts": "metadata/artifacts", "registered-models": "models", "model-versions": "models/versions",
}  # fmt: skip
_READING = ("search", "get-latest-versions")
_DELETABLE = ("experiments", "registered-models", "model-versions")
"""What has an action of its own for being deleted: a run that is deleted is only hidden."""


def action_of(method: str, path: str) -> str:
    """The action of a call that the API has.

    >>> action_of("POST", "runs/search")
    'Microsoft.MachineLearningServices/workspaces/experiments/runs/read'
    >>> action_of("DELETE", "model-versions/delete")
    'Microsoft.MachineLearningServices/workspaces/models/versions/delete'
    """
    kind, _, call = path.partition("/")
    verb = "delete" if call == "delete" and kind in _DELETABLE else "write"
    if method == "GET" or call in _READING:
        verb = "read"
    return f"{PROVIDER}/workspaces/{_TYPES[kind]}/{verb}"


def action_of_artifact(method: str, path: str) -> str:
    """The action of a request to the proxy of artifacts: a registered model's are the model's."""
    return action_of(method, "model-versions" if path.startswith("Models/") else "artifacts")
