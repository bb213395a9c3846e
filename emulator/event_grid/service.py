"""Event Grid put together: the publishing endpoint, the sink that the emulated workspaces publish to, and the APIs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.config import PlatformConfig
from emulator.context import Clock, IdentityVerifier, Storage
from emulator.event_grid import access
from emulator.event_grid.arm import Management
from emulator.event_grid.catalogue import Catalogue
from emulator.event_grid.control import Control
from emulator.event_grid.database import Database
from emulator.event_grid.dead_letters import DeadLetters
from emulator.event_grid.delivery import Deliverer
from emulator.event_grid.faults import DeliveryFaults
from emulator.event_grid.retry import Outcome
from emulator.event_grid.schema import InvalidEvents, accept, check_published, parse
from emulator.event_grid.store import Delivery, DeliveryStore
from emulator.event_grid.subscribing import Subscribing
from emulator.event_grid.subscriptions import Subscriptions
from emulator.event_grid.topics import Topics
from emulator.event_grid.webhook import Webhooks

REQUEST_LIMIT = 1024 * 1024
"""Bytes of one request, and so of one event."""
BATCH_LIMIT = 5000


class EventGrid:
    """Implements `EventSink` and the `Service` protocol.

    `function_url` gives the webhook of a function, None while the app is not up.
    """

    def __init__(self, config: PlatformConfig, state: Path, base_url: str, clock: Clock, identity: IdentityVerifier, storage: Storage,
                 bundle: Path, function_url: Callable[[str], str | None]) -> None:
        self._config, self._base_url, self._clock, self._identity = config, base_url, clock, identity
        self._storage, self._function_url = storage, function_url
        self._database = Database(state / "event_grid.sqlite")
        self._catalogue = Catalogue(self._database)
        self._webhooks = Webhooks(self._catalogue, clock, bundle, f"{base_url}/_emulator/eventgrid/validate")
        self._compose()

    def _compose(self) -> None:
        """Put the parts together over the database."""
        config, clock, catalogue = self._config, self._clock, self._catalogue
        self._store = DeliveryStore(self._database)
        self._topics = Topics(config, catalogue)
        self._subscriptions = Subscriptions(config, self._topics, catalogue, self._store, clock, self._function_url)
        faults = DeliveryFaults()
        self._deliverer = Deliverer(
            self._store, clock, self._subscriptions, self._webhooks,
            DeadLetters(self._storage, config.ledger_account, config.dead_letter_container),
            timedelta(seconds=config.dead_letter_delay_seconds), faults)
        subscribing = Subscribing(self._subscriptions, self._webhooks, self._deliverer, self._topics)
        self._control = Control(self.publish, self._store, self._subscriptions, subscribing, catalogue, faults, self._deliverer, clock)
        self._management = Management(config, self._topics, self._subscriptions, subscribing, self._identity, self.topic_endpoint, clock)

    def topic_endpoint(self, topic: str) -> str:
        """What a publisher is given, with `topic_key`."""
        return f"{self._base_url}/topics/{topic}/api/events"

    def topic_key(self, topic: str) -> str:
        return self._topics.keys(topic)["key1"]

    def routes(self) -> list[BaseRoute]:
        return [Route("/topics/{topic}/api/events", self._publish, methods=["POST"]),
                *self._control.routes(), *self._management.routes()]

    async def start(self) -> None:
        self._deliverer.start()

    async def stop(self) -> None:
        await self._deliverer.stop()
        await self._webhooks.close()
        self._database.close()

    async def reset(self) -> None:
        """Forget events, deliveries, what the APIs have made and faults; what platform.yaml declares, and keys, stay.

        `routes()` are others then.
        """
        await self._deliverer.stop()
        tables = self._database.read("select name from sqlite_master where type='table' "
                                     "and name not like 'sqlite%' and name != 'access_key'")
        self._database.write(lambda db: [db.execute(f"delete from {table}") for (table,) in tables])  # noqa: S608 - our own names
        self._compose()
        await self.start()

    def wake(self) -> None:
        """An endpoint has come up: look at what is due now."""
        self._deliverer.wake()

    def publish(self, topic: str, events: Sequence[dict[str, Any]]) -> None:
        """Durable when it returns; all of them or, raising InvalidEvents or UnknownTopic, none."""
        custom = self._topics.find(topic)
        now, name, source = self._clock.now(), custom.name if custom else topic, self._topics.arm_id(topic)
        accepted = [accept(event, source, custom.input_schema if custom else "any", now) for event in events]
        deliveries, unmatched = self._subscriptions.matching(topic, accepted)
        if accepted:
            self._store.add(name, deliveries, now, len(accepted), unmatched)
        if deliveries:
            self._deliverer.wake()

    # --- for the platform's pages -------------------------------------------------------------------

    @property
    def subscriptions(self) -> Subscriptions:
        return self._subscriptions

    @property
    def topics(self) -> tuple[str, ...]:
        """Names of the custom topics: declared ones, and those that were made by the API."""
        return tuple(topic.name for topic in self._topics)

    def deliveries(self, subscription: str | None, limit: int) -> list[tuple[Delivery, list[tuple[datetime, Outcome]]]]:
        """The newest deliveries and their attempts, newest last."""
        return self._store.history(subscription, limit)

    def delivery_counts(self) -> dict[str, int]:
        """State -> number of deliveries that are kept."""
        return {str(state): int(number) for state, number in self._database.read("select state, count(*) from delivery group by state")}

    def metrics(self, kind: Literal["topic", "subscription"]) -> dict[str, dict[str, dict[str, int]]]:
        """Name -> metric -> reason -> count."""
        return self._store.metrics(kind)

    # --- publishing ---------------------------------------------------------------------------------

    async def _publish(self, request: Request) -> Response:
        topic = self._topics.find(request.path_params["topic"])
        if topic is None:
            return _error(404, "NotFound", f"there is no topic {request.path_params['topic']!r}")
        keys = self._topics.keys(topic.name).values()
        if problem := access.refusal(request.headers, keys, self.topic_endpoint(topic.name), self._identity, not topic.disable_local_auth):
            return self._refused(topic.name, 401, "Unauthorized", problem)
        body = await request.body()
        if len(body) > REQUEST_LIMIT:
            return self._refused(topic.name, 413, "PayloadTooLarge", f"the maximum size of a request is {REQUEST_LIMIT} bytes")
        try:
            events = parse(body)
            if events == []:
                raise InvalidEvents("This resource is configured to receive events. The JSON received does not conform to the expected "
                                    "schema. Token Expected: StartObject, Actual Token Received: EndArray.")
            events = events if isinstance(events, list) else [events]
            if len(events) > BATCH_LIMIT:
                return self._refused(topic.name, 413, "PayloadTooLarge", f"a batch has at most {BATCH_LIMIT} events")
            names = {topic.name.casefold(), self._topics.arm_id(topic.name).casefold()}
            for event in events:
                check_published(event, names)
            self.publish(topic.name, events)
        except (InvalidEvents, RecursionError) as error:
            # RecursionError: deep enough to be read, too deep to be written.
            return self._refused(topic.name, 400, "BadRequest", str(error))
        return Response(status_code=200)

    def _refused(self, topic: str, status: int, code: str, message: str) -> Response:
        self._store.refused(topic, code)
        return _error(status, code, message)


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message, "details": [{"code": code, "message": message}]}}, status)
