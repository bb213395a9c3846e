"""Topics: custom ones with their access keys, and each workspace's system topic."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from typing import Any

from emulator.config import SYSTEM_TOPICS, PlatformConfig, TopicConfig
from emulator.errors import EmulatorError
from emulator.event_grid.access import topic_key
from emulator.event_grid.catalogue import Catalogue

KEYS = ("key1", "key2")


class UnknownTopic(EmulatorError):
    """Neither a custom topic nor the ARM id of a workspace."""


class DeclaredTopic(EmulatorError):
    """The topic is platform.yaml's, and only that file can change it."""


class Topics:
    """Those of platform.yaml, and those that the management API has made; names in any case."""

    def __init__(self, config: PlatformConfig, catalogue: Catalogue) -> None:
        self._config, self._catalogue = config, catalogue
        self._of_file = {topic.name.casefold(): topic for topic in config.topics}
        self._made = {name.casefold(): TopicConfig.model_validate(body["topic"]) for name, body in catalogue.topics("topics").items()}
        self._tags = {name.casefold(): dict(body["tags"]) for name, body in catalogue.topics("topics").items()}
        self._aliases = {name.casefold(): (name, str(body["workspace"])) for name, body in catalogue.topics("systemTopics").items()}
        self._workspaces = {workspace.name.casefold(): workspace.name for workspace in config.workspaces}
        self._workspace_ids = {config.workspace_id(name).casefold(): name for name in self._workspaces.values()}

    # --- custom topics ------------------------------------------------------------------------------

    def __iter__(self) -> Iterator[TopicConfig]:
        return iter({**self._of_file, **self._made}.values())

    def find(self, name: str) -> TopicConfig | None:
        """A custom topic."""
        return self._made.get(name.casefold()) or self._of_file.get(name.casefold())

    def make(self, topic: TopicConfig, tags: dict[str, str]) -> None:
        """Make a custom topic, or change one; its keys stay. Raises DeclaredTopic."""
        name = topic.name.casefold()
        if name in self._of_file:
            raise DeclaredTopic(f"the topic {topic.name} is declared in platform.yaml: change it there")
        if name not in self._made:
            for key in KEYS:
                self.regenerate(topic.name, key)
        self._catalogue.keep_topic("topics", topic.name, {"topic": topic.model_dump(mode="json", by_alias=True), "tags": tags})
        self._made[name], self._tags[name] = topic, tags

    def remove(self, name: str) -> bool:
        """Raises DeclaredTopic."""
        if name.casefold() in self._of_file:
            raise DeclaredTopic(f"the topic {name} is declared in platform.yaml: remove it there")
        self._catalogue.forget_topic("topics", name)
        self._tags.pop(name.casefold(), None)
        return self._made.pop(name.casefold(), None) is not None

    def tags(self, name: str) -> dict[str, str]:
        return self._tags.get(name.casefold(), {})

    def keys(self, name: str) -> dict[str, str]:
        """key1 and key2; those of a declared topic are the same at each start until they are made anew."""
        found = self.find(name)
        return {key: topic_key(found.name if found else name, key) for key in KEYS} | self._catalogue.keys(name)

    def regenerate(self, name: str, key: str) -> None:
        """What was signed with the old key, and the key itself, opens nothing from now on."""
        self._catalogue.keep_key(name, key, base64.b64encode(secrets.token_bytes(32)).decode())

    # --- system topics ------------------------------------------------------------------------------

    def system_topics(self) -> dict[str, str]:
        """Name -> workspace. Each workspace has one of its own name; more names may have been given."""
        return {name: name for name in self._workspaces.values()} | dict(self._aliases.values())

    def name_system_topic(self, name: str, workspace: str) -> None:
        self._catalogue.keep_topic("systemTopics", name, {"workspace": workspace})
        self._aliases[name.casefold()] = (name, workspace)

    def forget_system_topic(self, name: str) -> bool:
        """The name goes; the workspace's events are still published."""
        self._catalogue.forget_topic("systemTopics", name)
        return self._aliases.pop(name.casefold(), None) is not None

    def workspace_of(self, system_topic: str) -> str | None:
        name = system_topic.casefold()
        return self._aliases[name][1] if name in self._aliases else self._workspaces.get(name)

    def workspace_with(self, arm_id: str) -> str | None:
        return self._workspace_ids.get(arm_id.rstrip("/").casefold())

    # --- both ---------------------------------------------------------------------------------------

    def arm_id(self, topic: str) -> str:
        """What an event says it comes from: `topic` is a custom topic's name, or a workspace's ARM id."""
        found = self.find(topic)
        return f"{self.provider_id}/topics/{found.name}" if found else topic

    @property
    def provider_id(self) -> str:
        return f"/subscriptions/{self._config.subscription}/resourceGroups/{self._config.resource_group}/providers/Microsoft.EventGrid"

    def names(self, topic: str) -> set[str]:
        """What a subscription may call a topic, in lower case. An ARM id is a workspace's system topic. Raises UnknownTopic."""
        if self.find(topic):
            return {topic.casefold()}
        if workspace := self.workspace_with(topic):
            return {SYSTEM_TOPICS, workspace.casefold()}
        raise UnknownTopic(f"the platform has no topic {topic!r}")

    def is_known(self, name: str) -> bool:
        """Whether a subscription may name it."""
        return name.casefold() == SYSTEM_TOPICS or self.find(name) is not None or name.casefold() in self._workspaces

    def described(self, topic: TopicConfig, endpoint: str) -> dict[str, Any]:
        """As Azure describes it."""
        return {
            "id": self.arm_id(topic.name), "name": topic.name, "type": "Microsoft.EventGrid/topics", "location": self._config.location,
            "tags": self.tags(topic.name),
            "properties": {"provisioningState": "Succeeded", "endpoint": endpoint, "publicNetworkAccess": "Enabled",
                           "inputSchema": "EventGridSchema" if topic.input_schema == "any" else topic.input_schema,
                           "disableLocalAuth": topic.disable_local_auth}}
