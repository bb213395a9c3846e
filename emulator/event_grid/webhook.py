"""What goes over the wire to a subscriber: the handshake, and events one at a time."""

from __future__ import annotations

import json
import ssl
import uuid
from pathlib import Path
from typing import Any

import httpx

from emulator.config import SubscriptionConfig
from emulator.context import Clock
from emulator.event_grid.retry import Outcome
from emulator.event_grid.schema import timestamp, to_cloud, to_grid
from emulator.event_grid.store import Delivery, DeliveryStore

ANSWER_WITHIN = 30.0
"""Seconds that an endpoint has to answer; real time."""
ORIGIN = "eventgrid.azure.net"
AWAITING = Outcome(None, "AwaitingManualAction")
"""The endpoint took the validation event and did not echo its code: somebody may still open the validation address."""


class Webhooks:
    """Sends to endpoints; one gets events only once it has shown that it wants them.

    `validation_url` is the address at which a person proves it, with the code appended.
    """

    def __init__(self, store: DeliveryStore, clock: Clock, bundle: Path, validation_url: str) -> None:
        self._store, self._clock, self._validation_url = store, clock, validation_url
        self._http = httpx.AsyncClient(timeout=ANSWER_WITHIN, trust_env=False,
                                       verify=ssl.create_default_context(cafile=str(bundle)))

    async def close(self) -> None:
        await self._http.aclose()

    async def deliver(self, url: str, subscription: SubscriptionConfig, delivery: Delivery) -> Outcome:
        """One attempt. The handshake counts as part of it when the endpoint has not been validated."""
        cloud = subscription.delivery_schema == "CloudEventSchemaV1_0"
        if not self._store.is_validated(url):
            outcome = await self.validate(url, cloud)
            if not outcome.delivered:
                return outcome
        event = to_cloud(delivery.event) if cloud else to_grid(delivery.event)
        headers = {
            "content-type": f"application/{'cloudevents-batch+json' if cloud else 'json'}; charset=utf-8",
            "aeg-event-type": "Notification", "aeg-subscription-name": subscription.name.upper(),
            "aeg-delivery-count": str(delivery.attempts), "aeg-output-event-id": str(uuid.uuid5(uuid.NAMESPACE_OID, str(delivery.number))),
            "aeg-data-version": str(event.get("dataVersion", "")), "aeg-metadata-version": "1"}
        return await self._send("POST", url, [event], headers)

    async def validate(self, url: str, cloud: bool) -> Outcome:
        """The handshake of the delivery schema; Success once the endpoint is validated."""
        code = str(uuid.uuid4()).upper()
        self._store.ask(url, code)
        outcome, answer = await (self._ask_cloud(url) if cloud else self._ask_grid(url, code))
        if outcome.delivered and answer is not None and _agrees(answer, cloud, code):
            self._store.validate(code)
            return outcome
        return AWAITING if outcome.delivered else outcome

    async def _ask_grid(self, url: str, code: str) -> tuple[Outcome, httpx.Response | None]:
        event = {"id": str(uuid.uuid4()), "topic": "", "subject": "", "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
                 "eventTime": timestamp(self._clock.now()), "dataVersion": "2", "metadataVersion": "1",
                 "data": {"validationCode": code, "validationUrl": f"{self._validation_url}/{code}"}}
        return await self._exchange("POST", url, [event], {"content-type": "application/json; charset=utf-8",
                                                           "aeg-event-type": "SubscriptionValidation"})

    async def _ask_cloud(self, url: str) -> tuple[Outcome, httpx.Response | None]:
        return await self._exchange("OPTIONS", url, None, {"WebHook-Request-Origin": ORIGIN})

    async def _send(self, method: str, url: str, body: Any, headers: dict[str, str]) -> Outcome:
        return (await self._exchange(method, url, body, headers))[0]

    async def _exchange(self, method: str, url: str, body: Any, headers: dict[str, str]) -> tuple[Outcome, httpx.Response | None]:
        try:
            answer = await self._http.request(method, url, headers=headers, content=None if body is None else json.dumps(body))
        except httpx.TimeoutException:
            return Outcome(None, "TimedOut"), None
        except (httpx.HTTPError, httpx.InvalidURL):
            return Outcome(None, "SocketError"), None
        return Outcome.of(answer.status_code), answer


def _agrees(answer: httpx.Response, cloud: bool, code: str) -> bool:
    if cloud:
        return answer.headers.get("WebHook-Allowed-Origin") in ("*", ORIGIN)
    try:
        said = answer.json()
    except ValueError:
        return False
    return isinstance(said, dict) and said.get("validationResponse") == code
