"""Topics and their publishing endpoint, subscriptions, and the sink that the emulated workspaces publish to."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.config import PlatformConfig, SubscriptionConfig
from emulator.context import Clock, EmulatorError, IdentityVerifier, Storage, Unauthorized
from emulator.event_grid.delivery import Deliverer
from emulator.event_grid.filters import wants
from emulator.event_grid.schema import BATCH_LIMIT, EVENT_LIMIT, InvalidEvents, check, sas_is_valid
from emulator.event_grid.store import DeliveryStore


class EventGrid:
    """Implements `EventSink` and the `Service` protocol."""

    def __init__(self, config: PlatformConfig, state: Path, clock: Clock, identity: IdentityVerifier, storage: Storage,
                 function_url: Callable[[str], str | None]) -> None:
        self._config, self._clock, self._identity, self._function_url = config, clock, identity, function_url
        self._store = DeliveryStore(state / "eventgrid.sqlite")
        self._subscriptions = {item.name: item for item in config.subscriptions}
        self._deliverer = Deliverer(self._store, clock, storage, config.ledger_account, config.dead_letter_container,
                                    self._subscriptions.get, self._endpoint)

    @staticmethod
    def topic_key(topic: str) -> str:
        """A throw-away access key, the same at each start."""
        return base64.b64encode(hashlib.sha256(f"local-platform:{topic}".encode()).digest()).decode()

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/topics/{topic}/api/events", self._publish, methods=["POST"]),
            Route("/_emulator/eventgrid/publish", self._inject, methods=["POST"]),
            Route("/_emulator/eventgrid/deliveries", self._deliveries),
            Route("/_emulator/eventgrid/subscriptions", self._list),
            Route("/_emulator/eventgrid/subscriptions/{name}", self._subscribe, methods=["PUT"]),
            Route("/_emulator/eventgrid/subscriptions/{name}", self._unsubscribe, methods=["DELETE"]),
        ]

    async def start(self) -> None:
        self._deliverer.start()

    async def stop(self) -> None:
        await self._deliverer.stop()
        self._store.close()

    def wake(self) -> None:
        """An endpoint has come up: look at what is due now."""
        self._deliverer.wake()

    def publish(self, topic: str, events: Sequence[dict[str, Any]]) -> None:
        """Durable when it returns; raises InvalidEvents."""
        checked = [check(event, topic) for event in events]
        items = [(topic, subscription.name, event) for event in checked for subscription in self._subscriptions.values()
                 if self._listens(subscription, topic) and wants(subscription, event)]
        if items:
            self._store.add(items, self._clock.now())
            self._deliverer.wake()

    def _listens(self, subscription: SubscriptionConfig, topic: str) -> bool:
        if topic.startswith("/"):
            return "workspaces" in subscription.topics or topic.casefold() in {t.casefold() for t in subscription.topics}
        return topic in subscription.topics

    def _endpoint(self, subscription: SubscriptionConfig) -> str | None:
        return subscription.endpoint or (self._function_url(subscription.function) if subscription.function else None)

    # --- HTTP -----------------------------------------------------------------------------------

    async def _publish(self, request: Request) -> Response:
        topic = request.path_params["topic"]
        if topic not in {item.name for item in self._config.topics}:
            return _error(404, "NotFound", f"there is no topic {topic!r}")
        if not self._may_publish(request, topic):
            return _error(401, "Unauthorized", "the request carries no valid aeg-sas-key, aeg-sas-token or bearer token")
        body = await request.body()
        if len(body) > EVENT_LIMIT:
            return _error(413, "PayloadTooLarge", f"a batch has at most {EVENT_LIMIT} bytes")
        try:
            events = await request.json()
            events = events if isinstance(events, list) else [events]
            if len(events) > BATCH_LIMIT:
                return _error(413, "PayloadTooLarge", f"a batch has at most {BATCH_LIMIT} events")
            self.publish(topic, events)
        except ValueError as error:
            return _error(400, "BadRequest", f"the body is not JSON: {error}")
        except InvalidEvents as error:
            return _error(400, "BadRequest", str(error))
        return Response(status_code=200)

    def _may_publish(self, request: Request, topic: str) -> bool:
        key = self.topic_key(topic)
        if given := request.headers.get("aeg-sas-key"):
            return secrets.compare_digest(given, key)
        token = request.headers.get("aeg-sas-token")
        authorization = request.headers.get("authorization", "")
        if token is None and authorization.lower().startswith("sharedaccesssignature "):
            token = authorization.split(" ", 1)[1]
        if token is not None:
            return sas_is_valid(token, key, datetime.now(UTC))
        try:
            self._identity.caller(authorization)
        except Unauthorized:
            return False
        return True

    async def _inject(self, request: Request) -> Response:
        """Publish raw events to any topic, system topics included: duplicates, permutations, other casings."""
        body = await request.json()
        try:
            self.publish(body["topic"], body["events"])
        except (KeyError, InvalidEvents) as error:
            return _error(400, "BadRequest", f"{type(error).__name__}: {error}")
        return JSONResponse({"accepted": len(body["events"])})

    async def _deliveries(self, request: Request) -> Response:
        items = self._store.history(request.query_params.get("subscription"))
        return JSONResponse({"items": [
            {"number": d.number, "topic": d.topic, "subscription": d.subscription,
             "eventId": d.event["id"], "eventType": d.event["eventType"],
             "subject": d.event.get("subject"), "state": d.state, "attempts": d.attempts, "outcome": d.outcome, "status": d.status,
             "published": d.published.isoformat(), "due": d.due.isoformat()} for d in items]})

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"items": [item.model_dump(mode="json") for item in self._subscriptions.values()]})

    async def _subscribe(self, request: Request) -> Response:
        """Add or replace a subscription, for as long as the platform runs."""
        try:
            item = SubscriptionConfig.model_validate({**await request.json(), "name": request.path_params["name"]})
            wants(item, {"eventType": "", "subject": ""})
        except (ValidationError, EmulatorError) as error:
            return _error(400, "BadRequest", str(error))
        self._subscriptions[item.name] = item
        self._deliverer.wake()
        return JSONResponse(item.model_dump(mode="json"), 201)

    async def _unsubscribe(self, request: Request) -> Response:
        found = self._subscriptions.pop(request.path_params["name"], None)
        return Response(status_code=204 if found is None else 200)


def _error(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
