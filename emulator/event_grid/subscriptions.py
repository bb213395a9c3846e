"""The event subscriptions: those of platform.yaml, and those that the control API has made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from emulator.config import SYSTEM_TOPICS, PlatformConfig, SubscriptionConfig
from emulator.errors import EmulatorError
from emulator.event_grid.filters import wants
from emulator.event_grid.store import DeliveryStore


class UnknownTopic(EmulatorError):
    """Neither a custom topic nor the ARM id of a workspace."""


class Subscriptions:
    """By name. One made by the control API outlives a restart, and replaces one of the file with the same name."""

    def __init__(self, config: PlatformConfig, store: DeliveryStore, function_url: Callable[[str], str | None]) -> None:
        self._store, self._function_url = store, function_url
        self._of_file = {item.name: item for item in config.subscriptions}
        self._made = {name: SubscriptionConfig.model_validate_json(body) for name, body in store.subscriptions().items()}
        self._topics = {topic.name.casefold() for topic in config.topics}
        self._workspaces = {config.workspace_id(workspace.name).casefold(): workspace.name for workspace in config.workspaces}
        store.drop_others([item.name for item in self])

    def __iter__(self) -> Iterator[SubscriptionConfig]:
        return iter({**self._of_file, **self._made}.values())

    def get(self, name: str) -> SubscriptionConfig | None:
        return self._made.get(name) or self._of_file.get(name)

    def put(self, subscription: SubscriptionConfig) -> None:
        self._store.keep_subscription(subscription.name, subscription.model_dump_json())
        self._made[subscription.name] = subscription

    def remove(self, name: str) -> bool:
        """Ends one that the control API has made; what it had not delivered is dropped."""
        self._made.pop(name, None)
        removed = self._store.forget_subscription(name)
        self._store.drop_others([item.name for item in self])
        return removed

    def matching(self, topic: str, events: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
        """(topic, subscription, event) for each delivery that these events ask for. Raises UnknownTopic."""
        names = self._names(topic)
        listening = [item for item in self if names & {name.casefold() for name in item.topics}]
        return [(topic, item.name, dict(event)) for event in events for item in listening if wants(item, event)]

    def _names(self, topic: str) -> set[str]:
        """What a subscription may call a topic, in lower case. An ARM id is a workspace's system topic."""
        name = topic.casefold()
        if name in self._topics:
            return {name}
        if name in self._workspaces:
            return {SYSTEM_TOPICS, self._workspaces[name].casefold()}
        raise UnknownTopic(f"the platform has no topic {topic!r}")

    def unknown_topics(self, subscription: SubscriptionConfig) -> list[str]:
        """The names among a subscription's topics that are none."""
        known = {SYSTEM_TOPICS, *self._topics, *(name.casefold() for name in self._workspaces.values())}
        return [name for name in subscription.topics if name.casefold() not in known]

    def endpoint(self, subscription: SubscriptionConfig) -> str | None:
        """Where it delivers; None while the app that has its function is not up."""
        return subscription.endpoint or (self._function_url(subscription.function) if subscription.function else None)
