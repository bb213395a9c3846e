"""Jobs: command and pipeline jobs, really run as processes, resumed after a restart.

`submission.py` resolves a request into a specification, `runs.py` keeps runs and emits their events,
`engine.py` executes them, `resource.py` and `history.py` serve them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import BaseRoute

from emulator.azure_ml.jobs import resource
from emulator.azure_ml.jobs.engine import Engine
from emulator.azure_ml.jobs.history import History
from emulator.azure_ml.jobs.logs import Logs
from emulator.azure_ml.jobs.measurements import Measurements
from emulator.azure_ml.jobs.runs import Runs
from emulator.azure_ml.jobs.tokens import RunTokens
from emulator.azure_ml.resource import ResourceType

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl


class Jobs:
    """The parts of the job service of one platform."""

    CANCEL = "jobs.cancel"
    """The kind of the long-running operation that cancels a job."""

    def __init__(self, azure_ml: AzureMl) -> None:
        context = azure_ml.context
        self.runs = Runs(azure_ml.store, azure_ml.events, context.clock)
        self.logs = Logs(context.state / "jobs", context.base_url)
        self.measurements = Measurements(azure_ml.store)
        self.tokens = RunTokens(azure_ml, self.runs, context.state / "jobs" / "run-token.key")
        self.engine = Engine(azure_ml, self.runs, self.logs, self.tokens)
        self.history = History(azure_ml)
        azure_ml.operations.register(self.CANCEL, self._cancel)

    async def _cancel(self, payload: dict[str, Any]) -> None:
        await self.engine.cancel(self.runs.get(payload["scope"], payload["name"]))


def resource_types(azure_ml: AzureMl) -> dict[str, ResourceType]:
    return {"jobs": resource.Jobs(azure_ml)}


def routes(azure_ml: AzureMl) -> list[BaseRoute]:
    return azure_ml.jobs.history.routes()


async def start(azure_ml: AzureMl) -> None:
    await azure_ml.jobs.engine.start()


async def stop(azure_ml: AzureMl) -> None:
    await azure_ml.jobs.engine.stop()
