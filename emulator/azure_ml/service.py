"""Azure Machine Learning as one service: its parts, their routes, their start and stop."""

from __future__ import annotations

import asyncio
from pathlib import Path

from starlette.routing import BaseRoute

from emulator.azure_ml import (
    assets,
    components,
    computes,
    datastores,
    deployments,
    discovery,
    jobs,
    online_endpoints,
    registries,
)
from emulator.azure_ml.arm import Arm
from emulator.azure_ml.deployments import Deployments
from emulator.azure_ml.events import Outbox
from emulator.azure_ml.locations import Locations
from emulator.azure_ml.operations import Operations
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
        self.locations = Locations(self.scopes, self.store)
        self.operations = Operations(
            self.store, context.clock, context.base_url, context.config.subscription, context.config.location
        )
        self.events = Outbox(self.store, context.events, context.clock, event_shape)
        self.metrics = RequestMetrics(self.store)
        self.scorers = Scorers(context.state / "logs" / "inference-host.log", image)
        self.scoring = Scoring(self, self.scorers, self.metrics, seed)
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
            components,
            jobs,
        ):
            self.types.update(part.resource_types(self))
        self._arm = Arm(self.scopes, self.types, context.identity)

    def routes(self) -> list[BaseRoute]:
        """ARM's routes, which catch everything below `/subscriptions`, come last."""
        return [
            *discovery.routes(self),
            *self.operations.routes(),
            *self.scoring.routes(),
            *jobs.routes(self),
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

    async def stop(self) -> None:
        await jobs.stop(self)
        await self.operations.stop()
        await self.scoring.stop()
        await self.scorers.stop()
        await self.metrics.stop()
        await self.events.stop()
        self.store.close()

    def _seed(self) -> None:
        for scope in self.scopes:
            if scope.is_registry:
                continue
            for resource in (*datastores.seeds(scope), *computes.seeds(scope)):
                if self.store.get(resource["id"]) is None:
                    self.store.put(resource["id"], resource)
            for datastore in self.store.children(f"{scope.id}/datastores"):
                properties = datastore["properties"]
                self.context.storage.ensure_container(properties["accountName"], properties["containerName"])
