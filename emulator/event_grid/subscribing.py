"""Making a subscription: its topics exist, its endpoint shakes hands, and then it is there."""

from __future__ import annotations

from emulator.config import SYSTEM_TOPICS, SubscriptionConfig
from emulator.errors import EmulatorError
from emulator.event_grid.delivery import Deliverer
from emulator.event_grid.subscriptions import Subscription, Subscriptions
from emulator.event_grid.topics import Topics
from emulator.event_grid.webhook import AWAITING, Webhooks


class Refused(EmulatorError):
    """A subscription can't be made so; `code` is Azure's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Subscribing:
    """What both APIs do to make, replace and end subscriptions."""

    def __init__(self, subscriptions: Subscriptions, webhooks: Webhooks, deliverer: Deliverer, topics: Topics) -> None:
        self._subscriptions, self._webhooks, self._deliverer, self._topics = subscriptions, webhooks, deliverer, topics

    async def put(self, config: SubscriptionConfig, key: str | None = None) -> Subscription:
        """Make or replace; raises Refused, and what was there stays.

        The endpoint that has not agreed yet may be validated within ten minutes by its validation address: see
        `Subscriptions.provisioning`.
        """
        if unknown := self._subscriptions.unknown_topics(config):
            raise Refused("InvalidRequest", f"the platform has no topic {', '.join(unknown)}")
        if config.endpoint is not None:
            outcome = await self._webhooks.validate(config.endpoint, config, self._topic_of(config))
            if not outcome.delivered and outcome != AWAITING:
                got = f"response code {outcome.status}" if outcome.status else outcome.word
                raise Refused("Url validation", f"Webhook validation handshake failed for {config.endpoint.partition('?')[0]}. "
                                                f"Http request failed with {got}.")
        made = self._subscriptions.put(config.name if key is None else key, config)
        self._deliverer.wake()
        return made

    def remove(self, key: str) -> bool:
        removed = self._subscriptions.remove(key)
        self._deliverer.wake()
        return removed

    def _topic_of(self, config: SubscriptionConfig) -> str:
        """What the validation event says it is about."""
        name = config.topics[0]
        return self._topics.arm_id(name) if name.casefold() != SYSTEM_TOPICS and self._topics.find(name) else name
