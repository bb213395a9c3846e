"""Azure Machine Learning as one service: its parts, their routes, their start and stop."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from starlette.routing import BaseRoute

from emulator.access import Access
from emulator.authorization import Authorization
from emulator.azure_ml import (
    assets,
    batch,
    collection,
    components,
    computes,
    datastores,
    deployments,
    discovery,
    jobs,
    mlflow,
    online_endpoints,
    registries,
    schedules,
)
from emulator.azure_ml.arm import Arm
from emulator.azure_ml.deployments import Deployments
from emulator.azure_ml.events import Outbox
from emulator.azure_ml.locations import Locations
from emulator.azure_ml.operations import Operations
from emulator.azure_ml.permissions import Permissions
from emulator.azure_ml.request_metrics import RequestMetrics
from emulator.azure_ml.resource import ResourceType
from emulator.azure_ml.scopes import Scopes
from emulator.azure_ml.scorers import IMAGE, Scorers
from emulator.azure_ml.scoring import Scoring
from emulator.azure_ml.store import ResourceStore
from emulator.context import Context


class AzureMl:
    """Shared by its resource types: they are given this object and use the parts they need.

    `event_shape` is `sample` (events as Azure's documented samples) or `specification`; `seed` repeats the
    random choices of traffic; `image` is the folder of the inference image.
    """

    def __init__(
        self, context: Context, *, event_shape: str = "sample", seed: int = 0, image: Path = IMAGE
    ) -> None:
        self.context = context
        self.scopes = Scopes.of(context.config, context.base_url)
        self.store = ResourceStore(context.state / "azureml.sqlite")
        self.scorers = Scorers(context.state / "logs" / "inference-host.log", image)
        self._event_shape, self._random_seed = event_shape, seed
        self._compose()

    def _compose(self) -> None:
        """Put the parts together; none of them has state of its own that is not in the store."""
        context = self.context
        self.access = Access(context.config, self.store)
        self.permissions = Permissions(self.access)
        self._authorization = Authorization(context.config, self.access, context.identity, context.base_url)
        self.locations = Locations(self.scopes, self.store)
        self.operations = Operations(
            self.store, context.clock, context.base_url, context.config.subscription, context.config.location
        )
        self.events = Outbox(self.store, context.events, context.clock, self._event_shape)
        self.metrics = RequestMetrics(self.store)
        self.collector = collection.Collector(self)
        self.scoring = Scoring(self, self.scorers, self.metrics, self._random_seed)
        self.registries = registries.Registries(self)
        self.jobs = jobs.Jobs(self)
        self.types: dict[str, ResourceType] = {}
        for part in (
            discovery,
            datastores,
            computes,
            assets,
            registries,
            online_endpoints,
            deployments,
            batch,
            components,
            jobs,
            schedules,
        ):
            self.types.update(part.resource_types(self))
        self._arm = Arm(self.scopes, self.types, context.identity, self.permissions, context.base_url)

    def routes(self) -> list[BaseRoute]:
        """ARM's routes, which catch everything below `/subscriptions`, come last."""
        return [
            *self._authorization.routes(),
            *discovery.routes(self),
            *self.operations.routes(),
            *self.scoring.routes(),
            *batch.routes(self),
            *jobs.routes(self),
            *mlflow.routes(self),
            *self._arm.routes(),
        ]

    async def start(self) -> None:
        """Make what workspaces are born with, then take up what an earlier process left behind."""
        await asyncio.to_thread(self._seed)
        await self.events.start()
        await self.metrics.start()
        found = self.types["onlineendpoints/deployments"]
        assert isinstance(found, Deployments)
        found.restore()
        await self.operations.start()
        await jobs.start(self)
        await schedules.start(self)

    async def stop(self) -> None:
        await self._stop_parts()
        await self.scorers.stop()
        self.store.close()

    async def _stop_parts(self) -> None:
        await schedules.stop(self)
        await jobs.stop(self)
        await self.operations.stop()
        await self.scoring.stop()
        await self.metrics.stop()
        await self.events.stop()

    async def reset(self) -> None:
        """Forget everything and start as on a new state folder; `routes()` are others from then on.

        Jobs and scoring processes are ended. What costs time and knows nothing stays: the process that forks scoring processes.
        """
        await self._stop_parts()
        await self.scorers.clear()
        with self.store.transaction() as connection:
            tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'")
            for (table,) in tables.fetchall():
                connection.execute(f'DELETE FROM "{table}"')  # noqa: S608 - our own tables' names
        await asyncio.to_thread(self._remove_files)
        self._compose()
        await self.start()

    def _remove_files(self) -> None:
        """What jobs and deployments have left on disk; the keys that lie beside it stay."""
        state = self.context.state
        for folder in (state / "azureml", *(path for path in state.glob("jobs/*") if path.is_dir())):
            shutil.rmtree(folder, ignore_errors=True)

    def _seed(self) -> None:
        for scope in self.scopes:
            if scope.is_registry:
                continue
            with self.store.transaction():  # one wait for the disk, not one a resource
                for resource in (*datastores.seeds(scope), *computes.seeds(scope)):
                    if self.store.get(resource["id"]) is None:
                        self.store.put(resource["id"], resource)
            for datastore in self.store.children(f"{scope.id}/datastores"):
                properties = datastore["properties"]
                self.context.storage.ensure_container(properties["accountName"], properties["containerName"])
