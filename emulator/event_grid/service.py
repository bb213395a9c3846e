"""Topics and their publishing endpoint, the sink that the emulated workspaces publish to, and Event Grid's control API."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.config import PlatformConfig, SubscriptionConfig
from emulator.context import Clock, IdentityVerifier, Storage
from emulator.event_grid import access
from emulator.event_grid.dead_letters import DeadLetters
from emulator.event_grid.delivery import Deliverer
from emulator.event_grid.schema import InvalidEvents, accept, timestamp
from emulator.event_grid.store import DeliveryStore
from emulator.event_grid.subscriptions import Subscriptions, UnknownTopic
from emulator.event_grid.webhook import AWAITING, Webhooks

REQUEST_LIMIT = 1024 * 1024
"""Bytes of one request, and so of one event."""
BATCH_LIMIT = 5000
_HISTORY = 1000


class EventGrid:
    """Implements `EventSink` and the `Service` protocol.

    `function_url` gives the webhook of a function, None while the app is not up.
    """

    def __init__(self, config: PlatformConfig, state: Path, base_url: str, clock: Clock, identity: IdentityVerifier, storage: Storage,
                 bundle: Path, function_url: Callable[[str], str | None]) -> None:
        self._config, self._base_url, self._clock, self._identity = config, base_url, clock, identity
        self._topics = {topic.name: topic for topic in config.topics}
        self._store = DeliveryStore(state / "event_grid.sqlite")
        self._subscriptions = Subscriptions(config, self._store, function_url)
        self._webhooks = Webhooks(self._store, clock, bundle, f"{base_url}/_emulator/eventgrid/validate")
        self._deliverer = Deliverer(
            self._store, clock, self._subscriptions, self._webhooks,
            DeadLetters(storage, config.ledger_account, config.dead_letter_container),
            timedelta(seconds=config.dead_letter_delay_seconds))

    def topic_endpoint(self, topic: str) -> str:
        """What a publisher is given, with `topic_key`."""
        return f"{self._base_url}/topics/{topic}/api/events"

    def topic_key(self, topic: str) -> str:
        return access.topic_key(topic)

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/topics/{topic}/api/events", self._publish, methods=["POST"]),
            Route("/_emulator/eventgrid/publish", self._inject, methods=["POST"]),
            Route("/_emulator/eventgrid/deliveries", self._deliveries),
            Route("/_emulator/eventgrid/subscriptions", self._list),
            Route("/_emulator/eventgrid/subscriptions/{name}", self._subscribe, methods=["PUT"]),
            Route("/_emulator/eventgrid/subscriptions/{name}", self._unsubscribe, methods=["DELETE"]),
            Route("/_emulator/eventgrid/validate/{code}", self._validate),
        ]

    async def start(self) -> None:
        self._deliverer.start()

    async def stop(self) -> None:
        await self._deliverer.stop()
        await self._webhooks.close()
        self._store.close()

    def wake(self) -> None:
        """An endpoint has come up: look at what is due now."""
        self._deliverer.wake()

    def publish(self, topic: str, events: Sequence[dict[str, Any]]) -> None:
        """Durable when it returns; all of them or, raising InvalidEvents or UnknownTopic, none."""
        schema = self._topics[topic].input_schema if topic in self._topics else "any"
        now = self._clock.now()
        accepted = [accept(event, topic, schema, now) for event in events]
        if deliveries := self._subscriptions.matching(topic, accepted):
            self._store.add(deliveries, now)
            self._deliverer.wake()

    # --- publishing ---------------------------------------------------------------------------------

    async def _publish(self, request: Request) -> Response:
        topic = request.path_params["topic"]
        if topic not in self._topics:
            return _error(404, "NotFound", f"there is no topic {topic!r}")
        if not access.may_publish(request.headers, topic, self.topic_endpoint(topic), self._identity):
            return _error(401, "Unauthorized", "the request carries no valid aeg-sas-key, aeg-sas-token or bearer token")
        body = await request.body()
        if len(body) > REQUEST_LIMIT:
            return _error(413, "PayloadTooLarge", f"the maximum size of a request is {REQUEST_LIMIT} bytes")
        try:
            events = await request.json()
        except ValueError as error:
            return _error(400, "BadRequest", f"the body is not JSON: {error}")
        events = events if isinstance(events, list) else [events]
        if len(events) > BATCH_LIMIT:
            return _error(413, "PayloadTooLarge", f"a batch has at most {BATCH_LIMIT} events")
        try:
            self.publish(topic, events)
        except InvalidEvents as error:
            return _error(400, "BadRequest", str(error))
        return Response(status_code=200)

    async def _inject(self, request: Request) -> Response:
        """{"topic", "events"}: raw events to any topic, system topics included: duplicates, permutations, other casings."""
        try:
            body = await request.json()
            topic, events = body["topic"], body["events"]
            self.publish(topic, events)
        except (ValueError, KeyError, TypeError, InvalidEvents, UnknownTopic) as error:
            return _error(400, "BadRequest", f"{type(error).__name__}: {error}")
        return JSONResponse({"accepted": len(events)})

    # --- what became of it ----------------------------------------------------------------------------

    async def _deliveries(self, request: Request) -> Response:
        query = request.query_params
        found = self._store.history(query.get("subscription"), _HISTORY)
        return JSONResponse({"items": [
            {"number": delivery.number, "topic": delivery.topic, "subscription": delivery.subscription,
             "eventId": delivery.event["id"], "eventType": delivery.event["eventType"], "subject": delivery.event.get("subject"),
             "state": delivery.state, "attempts": delivery.attempts, "status": delivery.status, "outcome": delivery.outcome,
             "reason": delivery.reason, "published": timestamp(delivery.published), "due": timestamp(delivery.due),
             "history": [{"at": timestamp(at), "status": outcome.status, "outcome": outcome.word} for at, outcome in attempts]}
            for delivery, attempts in found
            if query.get("event") in (None, delivery.event["id"]) and query.get("state") in (None, delivery.state)]})

    # --- subscriptions --------------------------------------------------------------------------------

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"items": [self._described(item) for item in self._subscriptions]})

    async def _subscribe(self, request: Request) -> Response:
        """Make or replace a subscription; the body is platform.yaml's form. 400 when its endpoint fails the handshake.

        202 when the endpoint has taken the validation event without answering it: open its validationUrl.
        """
        try:
            item = SubscriptionConfig.model_validate({**await request.json(), "name": request.path_params["name"]})
        except (ValidationError, ValueError, TypeError) as error:
            return _error(400, "InvalidRequest", str(error))
        if unknown := self._subscriptions.unknown_topics(item):
            return _error(400, "InvalidRequest", f"the platform has no topic {', '.join(unknown)}")
        status = 201
        if item.endpoint is not None:
            outcome = await self._webhooks.validate(item.endpoint, item.delivery_schema == "CloudEventSchemaV1_0")
            if outcome == AWAITING and item.delivery_schema == "EventGridSchema":
                status = 202
            elif not outcome.delivered:
                return _error(400, "Url validation", f"Webhook validation handshake failed for {item.endpoint}: {outcome.word}")
        self._subscriptions.put(item)
        self._deliverer.wake()
        return JSONResponse(self._described(item), status)

    async def _unsubscribe(self, request: Request) -> Response:
        return Response(status_code=200 if self._subscriptions.remove(request.path_params["name"]) else 204)

    async def _validate(self, request: Request) -> Response:
        """What a person opens to validate an endpoint that can't answer for itself."""
        if not self._store.validate(request.path_params["code"]):
            return _error(404, "NotFound", "nobody was sent this validation code")
        return Response("Webhook successfully validated as a subscription endpoint")

    def _described(self, item: SubscriptionConfig) -> dict[str, Any]:
        url = self._subscriptions.endpoint(item)
        return {**item.model_dump(mode="json"), "validated": url is not None and self._store.is_validated(url)}


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
