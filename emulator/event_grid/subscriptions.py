"""The event subscriptions: those of platform.yaml, and those that the APIs have made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from emulator.config import PlatformConfig, SubscriptionConfig
from emulator.context import Clock
from emulator.event_grid.catalogue import Catalogue
from emulator.event_grid.filters import wants
from emulator.event_grid.store import DeliveryStore
from emulator.event_grid.topics import Topics

VALIDATE_WITHIN = timedelta(minutes=10)
"""How long an endpoint that did not echo its code may be validated by its address, in virtual time."""
type Provisioning = Literal["Succeeded", "AwaitingManualAction", "Failed"]


@dataclass(frozen=True, slots=True)
class Subscription:
    """`key` is its name, or `{topic}/{name}` where another topic has a subscription of that name."""

    key: str
    config: SubscriptionConfig
    is_made: bool
    """By an API, not by platform.yaml: it takes part once its endpoint has shaken hands."""


class Subscriptions:
    """By key. One that an API has made outlives a restart, and replaces one of the file with the same key."""

    def __init__(self, config: PlatformConfig, topics: Topics, catalogue: Catalogue, store: DeliveryStore, clock: Clock,
                 function_url: Callable[[str], str | None]) -> None:
        self._topics, self._catalogue, self._store, self._clock, self._function_url = topics, catalogue, store, clock, function_url
        self._of_file = {item.name: Subscription(item.name, item, False) for item in config.subscriptions}
        self._made = {key: Subscription(key, SubscriptionConfig.model_validate_json(body), True)
                      for key, body in catalogue.subscriptions().items()}
        store.drop_others([item.key for item in self])

    def __iter__(self) -> Iterator[Subscription]:
        return iter({**self._of_file, **self._made}.values())

    def get(self, key: str) -> Subscription | None:
        return self._made.get(key) or self._of_file.get(key)

    def put(self, key: str, config: SubscriptionConfig) -> Subscription:
        self._catalogue.keep_subscription(key, config.model_dump_json())
        made = self._made[key] = Subscription(key, config, True)
        return made

    def remove(self, key: str) -> bool:
        """Ends one that an API has made; what it had not delivered is dropped."""
        self._made.pop(key, None)
        removed = self._catalogue.forget_subscription(key)
        self._store.drop_others([item.key for item in self])
        return removed

    def matching(self, topic: str, events: Iterable[Mapping[str, Any]]) -> tuple[list[tuple[str, dict[str, Any]]], int]:
        """(key, event) for each delivery that these events ask for, and how many events nobody wants. Raises UnknownTopic."""
        names = self._topics.names(topic)
        listening = [item for item in self if names & {name.casefold() for name in item.config.topics} and self._takes_part(item)]
        found: list[tuple[str, dict[str, Any]]] = []
        unmatched = 0
        for event in events:
            keys = [item.key for item in listening if wants(item.config, event)]
            found += [(key, dict(event)) for key in keys]
            unmatched += not keys
        return found, unmatched

    def _takes_part(self, item: Subscription) -> bool:
        return not self.is_over(item) and (not item.is_made or self.provisioning(item) == "Succeeded")

    def is_over(self, item: Subscription) -> bool:
        """Its expiration has passed."""
        return item.config.expires is not None and self._clock.now() >= item.config.expires

    def provisioning(self, item: Subscription) -> Provisioning:
        """As Azure names it. A function of the app needs no proof; another endpoint has to shake hands."""
        url = item.config.endpoint
        if url is None or self._catalogue.is_validated(url):
            return "Succeeded"
        asked = self._catalogue.asked(url)
        waits = asked is None or self._clock.now() - asked <= VALIDATE_WITHIN
        return "AwaitingManualAction" if waits else "Failed"

    def unknown_topics(self, config: SubscriptionConfig) -> list[str]:
        """The names among a subscription's topics that are none."""
        return [name for name in config.topics if not self._topics.is_known(name)]

    def endpoint(self, item: Subscription) -> str | None:
        """Where it delivers; None while the app that has its function is not up."""
        config = item.config
        return config.endpoint or (self._function_url(config.function) if config.function else None)

    # --- as the management API finds them: by topic and name ------------------------------------------

    def of_topic(self, topic: str) -> list[Subscription]:
        """Those that listen to a topic (see `Topics.names`) and are not over."""
        names = self._topics.names(topic)
        return [item for item in self if names & {name.casefold() for name in item.config.topics} and not self.is_over(item)]

    def find(self, topic: str, name: str) -> Subscription | None:
        """One of a topic; one that listens to this topic alone goes before one that listens to others too."""
        found = [item for item in self.of_topic(topic) if item.config.name.casefold() == name.casefold()]
        return min(found, key=lambda item: len(item.config.topics), default=None)

    def key_for(self, config: SubscriptionConfig) -> str:
        """The key under which a topic's subscription is kept: that of the one it replaces, its name, or one with the topic's."""
        for item in self._made.values():  # one that is over is replaced too
            if (item.config.name.casefold(), _folded(item.config.topics)) == (config.name.casefold(), _folded(config.topics)):
                return item.key
        taken = {item.key.casefold() for item in self}
        return f"{config.topics[0]}/{config.name}" if config.name.casefold() in taken else config.name


def _folded(names: Iterable[str]) -> list[str]:
    return [name.casefold() for name in names]
