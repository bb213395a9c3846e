"""Azure Machine Learning: the only package that uses azure.ai.ml, and only once a call needs it.

The SDK takes seconds to import and keeps process-wide state (the cloud's name, an `invoke` that remembers
headers, a `share` that swaps a client's scope). `connections` and `sdk` hold what we do about it.
"""

from __future__ import annotations

from pilotage.azureml.assets import WorkspaceModelRegistry
from pilotage.azureml.connections import Connections
from pilotage.azureml.deployments import OnlineDeployments
from pilotage.azureml.jobs import PipelineJobs

__all__ = ["Connections", "OnlineDeployments", "PipelineJobs", "WorkspaceModelRegistry"]
