"""Batch endpoints: deployments that score files, invoked by jobs that really do it.

`endpoints.py` and `deployments.py` are the ARM resources, `settings.py` the rules of a deployment's settings,
`request.py` reads an invocation, `invocation.py` makes a job of it, which the job engine runs like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from emulator.azure_ml.batch.deployments import BatchDeployments
from emulator.azure_ml.batch.endpoints import BatchEndpoints
from emulator.azure_ml.batch.invocation import BatchJobs, Invocations
from emulator.azure_ml.resource import ResourceType

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    jobs = BatchJobs(azure_ml)
    return {
        "batchendpoints": BatchEndpoints(azure_ml),
        "batchendpoints/deployments": BatchDeployments(azure_ml),
        "batchendpoints/jobs": jobs,
        "batchendpoints/deployments/jobs": jobs,
    }


def routes(azure_ml: AzureMl) -> list[BaseRoute]:
    return Invocations(azure_ml).routes()
