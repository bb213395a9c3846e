"""What goes over the wire to a subscriber: the handshake, and events, alone or in batches."""

from __future__ import annotations

import json
import ssl
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from emulator.config import SubscriptionConfig
from emulator.context import Clock
from emulator.event_grid.catalogue import Catalogue
from emulator.event_grid.filters import value_at
from emulator.event_grid.retry import Outcome
from emulator.event_grid.schema import timestamp, to_cloud, to_grid
from emulator.event_grid.store import Delivery

ANSWER_WITHIN = 30.0
"""Seconds that an endpoint has to answer; real time."""
ORIGIN = "eventgrid.azure.net"
AWAITING = Outcome(None, "AwaitingManualAction")
"""The endpoint took the handshake and did not agree: somebody may still open the validation address."""


class Webhooks:
    """Sends to endpoints; one gets events only once it has shown that it wants them.

    `validation_url` is the address at which a person proves it, with the code appended.
    """

    def __init__(self, catalogue: Catalogue, clock: Clock, bundle: Path, validation_url: str) -> None:
        self._catalogue, self._clock, self._validation_url = catalogue, clock, validation_url
        self._http = httpx.AsyncClient(timeout=ANSWER_WITHIN, trust_env=False,
                                       verify=ssl.create_default_context(cafile=str(bundle)))

    async def close(self) -> None:
        await self._http.aclose()

    async def deliver(self, url: str, subscription: SubscriptionConfig, deliveries: Sequence[Delivery]) -> Outcome:
        """One attempt for all of them. The handshake counts as part of it when the endpoint has not been validated."""
        cloud = is_cloud(subscription)
        if not self._catalogue.is_validated(url):
            outcome = await self.validate(url, subscription, deliveries[0].event["topic"])
            if not outcome.delivered:
                return outcome
        events = [to_cloud(delivery.event) if cloud else to_grid(delivery.event) for delivery in deliveries]
        # A CloudEvent that is not part of a batch is no list.
        alone = cloud and subscription.max_events_per_batch == 1
        return (await self._exchange("POST", url, events[0] if alone else events, _headers(subscription, deliveries, events, alone)))[0]

    async def validate(self, url: str, subscription: SubscriptionConfig, topic: str) -> Outcome:
        """The handshake of the delivery schema; Success once the endpoint is validated, AWAITING when it may be later."""
        code = str(uuid.uuid4()).upper()
        self._catalogue.ask(url, code, self._clock.now())
        cloud = is_cloud(subscription)
        outcome, answer = await (self._ask_cloud(url, code) if cloud else self._ask_grid(url, code, subscription, topic))
        if outcome.delivered and answer is not None and _agrees(answer, cloud, code):
            self._catalogue.validate(code)
            return outcome
        return AWAITING if outcome.delivered else outcome

    async def _ask_grid(self, url: str, code: str, subscription: SubscriptionConfig,
                        topic: str) -> tuple[Outcome, httpx.Response | None]:
        event = {"id": str(uuid.uuid4()), "topic": topic, "subject": "", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
                 "eventTime": timestamp(self._clock.now()), "dataVersion": "2", "metadataVersion": "1",
                 "data": {"validationCode": code, "validationUrl": f"{self._validation_url}/{code}"}}
        return await self._exchange("POST", url, [event], {
            **_own_headers(subscription, {}), "content-type": "application/json; charset=utf-8",
            "aeg-event-type": "SubscriptionValidation", "aeg-subscription-name": _ascii(subscription.name.upper())})

    async def _ask_cloud(self, url: str, code: str) -> tuple[Outcome, httpx.Response | None]:
        return await self._exchange("OPTIONS", url, None, {
            "WebHook-Request-Origin": ORIGIN, "WebHook-Request-Callback": f"{self._validation_url}/{code}"})

    async def _exchange(self, method: str, url: str, body: Any, headers: dict[str, str]) -> tuple[Outcome, httpx.Response | None]:
        try:
            answer = await self._http.request(method, url, headers=headers, content=None if body is None else json.dumps(body))
        except httpx.TimeoutException:
            return Outcome(None, "TimedOut"), None
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError):
            # ValueError: an address whose host can't be encoded.
            return Outcome(None, "SocketError"), None
        return Outcome.of(answer.status_code), answer


def is_cloud(subscription: SubscriptionConfig) -> bool:
    return subscription.delivery_schema == "CloudEventSchemaV1_0"


def _headers(subscription: SubscriptionConfig, deliveries: Sequence[Delivery], events: Sequence[dict[str, Any]],
             alone: bool) -> dict[str, str]:
    """Those of a notification; what differs within a batch is the first event's."""
    kind = "json" if not is_cloud(subscription) else "cloudevents+json" if alone else "cloudevents-batch+json"
    return {
        **_own_headers(subscription, deliveries[0].event), "content-type": f"application/{kind}; charset=utf-8",
        "aeg-event-type": "Notification", "aeg-subscription-name": _ascii(subscription.name.upper()),
        "aeg-delivery-count": str(deliveries[0].attempts),
        "aeg-output-event-id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(deliveries[0].number))),
        "aeg-data-version": _ascii(str(events[0].get("dataVersion", ""))), "aeg-metadata-version": "1"}


def _own_headers(subscription: SubscriptionConfig, event: dict[str, Any]) -> dict[str, str]:
    """Those that the subscription asks for; a field that the event has not gives none."""
    found = {}
    for header in subscription.headers:
        value = header.value if header.source_field is None else value_at(event, header.source_field)
        if value is not None:
            found[header.name] = _ascii(value if isinstance(value, str) else json.dumps(value))
    return found


def _ascii(text: str) -> str:
    """What may stand in a header: a publisher's words must not keep an event from being sent."""
    return "".join(char if " " <= char <= "~" else "?" for char in text).strip()


def _agrees(answer: httpx.Response, cloud: bool, code: str) -> bool:
    if cloud:
        return answer.headers.get("WebHook-Allowed-Origin") in ("*", ORIGIN)
    try:
        said = answer.json()
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("validationResponse") == code
