"""Dead letters, as Event Grid writes them to a blob container."""

from __future__ import annotations

import json
import uuid
from typing import Any

from emulator.config import SubscriptionConfig
from emulator.context import Storage
from emulator.event_grid.schema import timestamp, to_cloud, to_grid
from emulator.event_grid.store import Delivery


class DeadLetters:
    """`{container}/{topic}/{SUBSCRIPTION}/{yyyy}/{MM}/{dd}/{HH}/{guid}.json`, each an array of events with what became of them."""

    def __init__(self, storage: Storage, account: str, container: str) -> None:
        self._storage, self._account, self._container = storage, account, container

    def write(self, delivery: Delivery, subscription: SubscriptionConfig) -> None:
        """Blocks. Writing one twice leaves one: its name comes from the delivery."""
        account = subscription.dead_letter_account or self._account
        container = subscription.dead_letter_container or self._container
        self._storage.ensure_container(account, container)
        self._storage.write(account, container, _name(delivery, subscription.name), json.dumps([_entry(delivery, subscription)]).encode())


def _name(delivery: Delivery, subscription: str) -> str:
    topic = delivery.topic.rsplit("/", 1)[-1]
    # By the hour of its last attempt, or of its publishing when there was none.
    hour = delivery.attempted or delivery.published
    guid = uuid.uuid5(uuid.NAMESPACE_OID, f"{delivery.topic}/{delivery.number}")
    return f"{topic}/{subscription.upper()}/{hour:%Y/%m/%d/%H}/{guid}.json"


def _entry(delivery: Delivery, subscription: SubscriptionConfig) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "deadLetterReason": delivery.reason, "deliveryAttempts": delivery.attempts, "lastDeliveryOutcome": delivery.outcome,
        "publishTime": timestamp(delivery.published)}
    if delivery.status is not None:
        facts["lastHttpStatusCode"] = delivery.status
    if delivery.attempted is not None:
        facts["lastDeliveryAttemptTime"] = timestamp(delivery.attempted)
    if subscription.delivery_schema == "CloudEventSchemaV1_0":
        # Attributes of CloudEvents are written in lower case.
        return {**to_cloud(delivery.event), **{name.lower(): value for name, value in facts.items()}}
    return {**to_grid(delivery.event), **facts}
