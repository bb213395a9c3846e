"""Event Grid's control API, `/_emulator/eventgrid/...`: raw events, history, metrics, faults, and subscriptions in short form."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from emulator.config import SubscriptionConfig
from emulator.context import Clock
from emulator.event_grid.catalogue import Catalogue
from emulator.event_grid.delivery import Deliverer
from emulator.event_grid.faults import DeliveryFault, DeliveryFaults
from emulator.event_grid.schema import InvalidEvents, parse, timestamp
from emulator.event_grid.store import DeliveryStore
from emulator.event_grid.subscribing import Refused, Subscribing
from emulator.event_grid.subscriptions import VALIDATE_WITHIN, Subscription, Subscriptions
from emulator.event_grid.topics import UnknownTopic

_HISTORY = 1000
_OF_SUBSCRIPTIONS = ("MatchedEventCount", "DeliverySuccessCount", "DeliveryAttemptFailCount", "DroppedEventCount", "DeadLetteredCount")
_OF_TOPICS = ("PublishSuccessCount", "PublishFailCount", "UnmatchedEventCount")


class Control:
    """`publish` is the service's: (topic, events)."""

    def __init__(self, publish: Callable[[str, Sequence[dict[str, Any]]], None], store: DeliveryStore, subscriptions: Subscriptions,
                 subscribing: Subscribing, catalogue: Catalogue, faults: DeliveryFaults, deliverer: Deliverer, clock: Clock) -> None:
        self._publish, self._store, self._subscriptions, self._subscribing = publish, store, subscriptions, subscribing
        self._catalogue, self._faults, self._deliverer, self._clock = catalogue, faults, deliverer, clock

    def routes(self) -> list[BaseRoute]:
        root = "/_emulator/eventgrid"
        return [
            Route(f"{root}/publish", self._inject, methods=["POST"]),
            Route(f"{root}/deliveries", self._deliveries),
            Route(f"{root}/metrics", self._metrics),
            Route(f"{root}/faults", self._list_faults),
            Route(f"{root}/faults", self._add_fault, methods=["POST"]),
            Route(f"{root}/faults", self._clear_faults, methods=["DELETE"]),
            Route(f"{root}/faults/{{number:int}}", self._remove_fault, methods=["DELETE"]),
            Route(f"{root}/subscriptions", self._list),
            # A key may have a slash: that of a subscription whose name another topic's has too.
            Route(f"{root}/subscriptions/{{name:path}}", self._subscribe, methods=["PUT"]),
            Route(f"{root}/subscriptions/{{name:path}}", self._unsubscribe, methods=["DELETE"]),
            Route(f"{root}/validate/{{code}}", self._validate, methods=["GET", "POST"]),
        ]

    async def _inject(self, request: Request) -> Response:
        """{"topic", "events"}: raw events to any topic, system topics included: duplicates, permutations, other casings."""
        try:
            body = parse(await request.body())
            topic, events = body["topic"], body["events"]
            if not isinstance(topic, str) or not isinstance(events, list):
                raise ValueError("topic is a text, events a list")
            self._publish(topic, events)
        except (ValueError, KeyError, TypeError, RecursionError, InvalidEvents, UnknownTopic) as error:
            return _error("BadRequest", f"{type(error).__name__}: {error}")
        return JSONResponse({"accepted": len(events)})

    # --- what became of it ----------------------------------------------------------------------------

    async def _deliveries(self, request: Request) -> Response:
        query = request.query_params
        found = self._store.history(query.get("subscription"), _HISTORY)
        items = [
            {"number": delivery.number, "topic": delivery.topic, "subscription": delivery.subscription,
             "eventId": delivery.event["id"], "eventType": delivery.event["eventType"], "subject": delivery.event.get("subject"),
             "state": delivery.state, "attempts": delivery.attempts, "status": delivery.status, "outcome": delivery.outcome,
             "reason": delivery.reason, "published": timestamp(delivery.published), "due": timestamp(delivery.due),
             "history": [{"at": timestamp(at), "status": outcome.status, "outcome": outcome.word} for at, outcome in attempts]}
            for delivery, attempts in found
            if query.get("event") in (None, delivery.event["id"]) and query.get("state") in (None, delivery.state)]
        # Not a JSONResponse: what an emulated workspace publishes may not be UTF-8, and is to be seen all the same.
        return Response(json.dumps({"items": items}), media_type="application/json")

    async def _metrics(self, request: Request) -> Response:
        """Totals since the state folder was made, named as in Azure Monitor; `by` splits one by its error or reason."""
        return JSONResponse({
            "topics": _counts(self._store.metrics("topic"), _OF_TOPICS, ()),
            "subscriptions": _counts(self._store.metrics("subscription"), _OF_SUBSCRIPTIONS, [item.key for item in self._subscriptions])})

    # --- faults ---------------------------------------------------------------------------------------

    async def _list_faults(self, request: Request) -> Response:
        return JSONResponse({"items": self._faults.list()})

    async def _add_fault(self, request: Request) -> Response:
        try:
            rule = DeliveryFault.model_validate_json(await request.body())
        except ValidationError as error:
            return _error("BadRequest", str(error))
        if self._subscriptions.get(rule.subscription) is None:
            return _error("BadRequest", f"there is no subscription {rule.subscription!r}")
        number = self._faults.add(rule, self._clock.now())
        self._deliverer.wake()
        return JSONResponse({"id": number}, 201)

    async def _clear_faults(self, request: Request) -> Response:
        self._faults.clear()
        self._deliverer.wake()
        return Response(status_code=204)

    async def _remove_fault(self, request: Request) -> Response:
        removed = self._faults.remove(request.path_params["number"])
        self._deliverer.wake()
        return Response(status_code=204 if removed else 404)

    # --- subscriptions --------------------------------------------------------------------------------

    async def _list(self, request: Request) -> Response:
        return JSONResponse({"items": [self._described(item) for item in self._subscriptions]})

    async def _subscribe(self, request: Request) -> Response:
        """Make or replace a subscription; the body is platform.yaml's form. 400 when its endpoint fails the handshake.

        202 when the endpoint has taken the handshake without agreeing: open its validationUrl within ten minutes.
        """
        try:
            config = SubscriptionConfig.model_validate({**parse(await request.body()), "name": request.path_params["name"]})
            made = await self._subscribing.put(config)
        except (ValidationError, TypeError, InvalidEvents) as error:
            return _error("InvalidRequest", str(error))
        except Refused as refusal:
            return _error(refusal.code, str(refusal))
        return JSONResponse(self._described(made), 202 if self._subscriptions.provisioning(made) == "AwaitingManualAction" else 201)

    async def _unsubscribe(self, request: Request) -> Response:
        return Response(status_code=200 if self._subscribing.remove(request.path_params["name"]) else 204)

    async def _validate(self, request: Request) -> Response:
        """What a person opens, or an endpoint calls, to validate one that did not agree at once."""
        code = request.path_params["code"]
        asked = self._catalogue.asked_with(code)
        if asked is None:
            return _error("NotFound", "nobody was sent this validation code", 404)
        if self._clock.now() - asked > VALIDATE_WITHIN:
            return _error("BadRequest", "the validation code has expired: make the subscription again")
        self._catalogue.validate(code)
        self._deliverer.wake()
        return Response("Webhook successfully validated as a subscription endpoint")

    def _described(self, item: Subscription) -> dict[str, Any]:
        url = self._subscriptions.endpoint(item)
        return {**item.config.model_dump(mode="json"), "key": item.key, "provisioning": self._subscriptions.provisioning(item),
                "expired": self._subscriptions.is_over(item), "validated": url is not None and self._catalogue.is_validated(url)}


def _counts(found: dict[str, dict[str, dict[str, int]]], metrics: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    return {
        name: {metric: sum(found.get(name, {}).get(metric, {}).values()) for metric in metrics}
        | {"by": {metric: reasons for metric, reasons in found.get(name, {}).items() if any(reasons)}}
        for name in [*names, *(name for name in found if name not in names)]}


def _error(code: str, message: str, status: int = 400) -> Response:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
