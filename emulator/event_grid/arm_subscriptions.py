"""Event subscriptions as resources of the management API."""

from __future__ import annotations

import builtins
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from emulator.config import PlatformConfig, SubscriptionConfig
from emulator.context import Clock
from emulator.event_grid.arm_body import described, described_headers, parse_properties
from emulator.event_grid.arm_topics import WORKSPACE_TYPE, ArmRefusal
from emulator.event_grid.subscribing import Subscribing
from emulator.event_grid.subscriptions import Subscription, Subscriptions
from emulator.event_grid.topics import Topics

CUSTOM_TYPE = "Microsoft.EventGrid.Topics"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path has its subscriptions: `topic` is what Topics.names takes, `called` what a subscription calls it."""

    topic: str
    called: str
    arm_id: str
    """Of what is subscribed to."""
    root: str
    """Before `/{name}` in the id of a subscription."""
    type: str
    input_schema: str


class SubscriptionResources:
    """Raises ArmRefusal, and Refused for a body that can't be."""

    def __init__(self, config: PlatformConfig, topics: Topics, subscriptions: Subscriptions, subscribing: Subscribing,
                 clock: Clock) -> None:
        self._config, self._topics, self._clock = config, topics, clock
        self._subscriptions, self._subscribing = subscriptions, subscribing
        group = f"/subscriptions/{config.subscription}/resourceGroups/{config.resource_group}/providers"
        self._storage_id, self._app_id = f"{group}/Microsoft.Storage/storageAccounts", f"{group}/Microsoft.Web/sites/local"

    def place(self, kind: str, name: str) -> Place:
        """`kind`: topics, systemtopics or workspaces."""
        if kind == "topics":
            topic = self._topics.find(name)
            if topic is None:
                raise self._missing(f"topics/{name}")
            arm_id = self._topics.arm_id(topic.name)
            return Place(topic.name, topic.name, arm_id, f"{arm_id}/providers/Microsoft.EventGrid/eventSubscriptions",
                         "Microsoft.EventGrid/eventSubscriptions", topic.input_schema)
        workspace = self._topics.workspace_of(name) if kind == "systemtopics" else \
            self._topics.workspace_with(self._config.workspace_id(name))
        if workspace is None:
            raise self._missing(f"{'systemTopics' if kind == 'systemtopics' else 'workspaces'}/{name}")
        arm_id = self._config.workspace_id(workspace)
        if kind == "systemtopics":
            return Place(arm_id, workspace, arm_id, f"{self._topics.provider_id}/systemTopics/{name}/eventSubscriptions",
                         "Microsoft.EventGrid/systemTopics/eventSubscriptions", "EventGridSchema")
        return Place(arm_id, workspace, arm_id, f"{arm_id}/providers/Microsoft.EventGrid/eventSubscriptions",
                     "Microsoft.EventGrid/eventSubscriptions", "EventGridSchema")

    def list(self, place: Place) -> builtins.list[dict[str, Any]]:
        return [self._described(place, item) for item in self._subscriptions.of_topic(place.topic)]

    def everywhere(self, topic_type: str | None, location: str | None) -> builtins.list[dict[str, Any]]:
        """Of all topics, or of those of a type; there is one location."""
        if location is not None and location.casefold().replace(" ", "") != self._config.location.casefold():
            return []
        kinds = {CUSTOM_TYPE.casefold(): [("topics", topic.name) for topic in self._topics],
                 WORKSPACE_TYPE.casefold(): [("workspaces", workspace.name) for workspace in self._config.workspaces]}
        if topic_type is not None and topic_type.casefold() not in kinds:
            raise ArmRefusal(400, "InvalidRequest", f"The platform has no topics of the type {topic_type}.")
        chosen = [kinds[topic_type.casefold()]] if topic_type is not None else kinds.values()
        return [item for names in chosen for kind, name in names for item in self.list(self.place(kind, name))]

    def get(self, place: Place, name: str) -> dict[str, Any]:
        return self._described(place, self._find(place, name))

    async def put(self, place: Place, name: str, properties: Any) -> dict[str, Any]:
        self._check_made(self._subscriptions.find(place.topic, name))
        config = parse_properties(name, place.called, properties, input_schema=place.input_schema, now=self._clock.now(),
                                  accounts=self._config.accounts)
        made = await self._subscribing.put(config, self._subscriptions.key_for(config))
        return self._described(place, made)

    async def patch(self, place: Place, name: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What is given replaces what was there; of a destination, the rest of it stays."""
        item = self._find(place, name)
        self._check_made(item)
        properties = self._properties(item.config, secrets=True)
        destination = changes.get("destination")
        if isinstance(destination, Mapping):
            old, given = properties["destination"], destination.get("properties") or {}
            if destination.get("endpointType", old["endpointType"]) == old["endpointType"] and isinstance(given, Mapping):
                changes = {**changes, "destination": {**old, "properties": {**old["properties"], **given}}}
        return await self.put(place, item.config.name, {**properties, **changes})

    def remove(self, place: Place, name: str) -> bool:
        """True when there was one."""
        item = self._subscriptions.find(place.topic, name)
        if item is None:
            return False
        self._check_made(item)
        return self._subscribing.remove(item.key)

    def full_url(self, place: Place, name: str) -> dict[str, str]:
        item = self._find(place, name)
        if item.config.endpoint is None:
            raise ArmRefusal(400, "InvalidRequest", f"The destination of the event subscription {name} is no WebHook.")
        return {"endpointUrl": item.config.endpoint}

    def delivery_attributes(self, place: Place, name: str) -> builtins.list[dict[str, Any]]:
        return described_headers(self._find(place, name).config, secrets=False)

    def _check_made(self, item: Subscription | None) -> None:
        if item is not None and not item.is_made:
            raise ArmRefusal(409, "Conflict", f"The event subscription {item.config.name} is declared in platform.yaml: change it there.")

    def _find(self, place: Place, name: str) -> Subscription:
        item = self._subscriptions.find(place.topic, name)
        if item is None:
            raise ArmRefusal(404, "ResourceNotFound", f"Event subscription doesn't exist: {place.root}/{name}")
        return item

    def _described(self, place: Place, item: Subscription) -> dict[str, Any]:
        return {"id": f"{place.root}/{item.config.name}", "name": item.config.name, "type": place.type,
                "properties": {"topic": place.arm_id, "provisioningState": self._subscriptions.provisioning(item),
                               **self._properties(item.config)}}

    def _properties(self, config: SubscriptionConfig, *, secrets: bool = False) -> dict[str, Any]:
        return described(config, self._storage_id, self._app_id, self._config.ledger_account, self._config.dead_letter_container,
                         secrets=secrets)

    def _missing(self, what: str) -> ArmRefusal:
        return ArmRefusal(404, "ResourceNotFound",
                          f"The Resource '{what}' under resource group '{self._config.resource_group}' was not found.")
