"""Topics and system topics as resources of the management API."""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from emulator.config import PlatformConfig, TopicConfig
from emulator.errors import EmulatorError
from emulator.event_grid.subscribing import Subscribing
from emulator.event_grid.subscriptions import Subscriptions
from emulator.event_grid.topics import KEYS, Topics

_NAME = re.compile(r"[A-Za-z0-9-]{3,50}")
WORKSPACE_TYPE = "Microsoft.MachineLearningServices.Workspaces"
_EVENT_TYPES = ("ModelRegistered", "ModelDeployed", "RunCompleted", "DatasetDriftDetected", "RunStatusChanged")


class ArmRefusal(EmulatorError):
    """A status and Azure's error code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status, self.code = status, code


class TopicResources:
    """Raises ArmRefusal, and DeclaredTopic for what only platform.yaml may change."""

    def __init__(self, config: PlatformConfig, topics: Topics, subscriptions: Subscriptions, subscribing: Subscribing,
                 endpoint: Callable[[str], str]) -> None:
        self._config, self._topics, self._endpoint = config, topics, endpoint
        self._subscriptions, self._subscribing = subscriptions, subscribing

    def list(self, custom: bool) -> builtins.list[dict[str, Any]]:
        if custom:
            return [self._topics.described(topic, self._endpoint(topic.name)) for topic in self._topics]
        return [self._described(name, workspace) for name, workspace in self._topics.system_topics().items()]

    def get(self, custom: bool, name: str) -> dict[str, Any]:
        if custom:
            topic = self._topic(name)
            return self._topics.described(topic, self._endpoint(topic.name))
        workspace = self._topics.workspace_of(name)
        if workspace is None:
            raise self._missing("systemTopics", name)
        return self._described(name, workspace)

    def put(self, custom: bool, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        if not _NAME.fullmatch(name):
            raise ArmRefusal(400, "InvalidRequest", f"The name {name!r} must have 3 to 50 letters, numbers and hyphens.")
        if not isinstance(body.get("location"), str) or not body["location"]:
            raise ArmRefusal(400, "LocationRequired", "The location property is required for this definition.")
        properties = _object(body, "properties")
        if custom:
            self._topics.make(self._parsed(name, properties), _tags(body))
        else:
            self._put_system_topic(name, properties)
        return self.get(custom, name)

    def patch(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Tags and disableLocalAuth: the schema of a topic never changes."""
        topic = self._topic(name)
        properties = _object(body, "properties")
        disabled = properties.get("disableLocalAuth", topic.disable_local_auth)
        merged = {"inputSchema": topic.input_schema, "disableLocalAuth": disabled}
        self._topics.make(self._parsed(topic.name, merged), _tags(body) if "tags" in body else self._topics.tags(name))
        return self.get(True, name)

    def remove(self, custom: bool, name: str) -> bool:
        """True when there was one. A topic's subscriptions end with it."""
        if not custom:
            return self._topics.forget_system_topic(name)
        if self._topics.find(name) is None:
            return False
        keys = [item.key for item in self._subscriptions.of_topic(name) if len(item.config.topics) == 1]
        removed = self._topics.remove(name)
        for key in keys:
            self._subscribing.remove(key)
        return removed

    def keys(self, name: str) -> dict[str, str]:
        return self._topics.keys(self._topic(name).name)

    def regenerate(self, name: str, key: Any) -> dict[str, str]:
        topic = self._topic(name)
        if key not in KEYS:
            raise ArmRefusal(400, "InvalidRequest", "The property 'keyName' must be key1 or key2.")
        self._topics.regenerate(topic.name, key)
        return self._topics.keys(topic.name)

    def event_types(self, workspace: str) -> builtins.list[dict[str, Any]]:
        """What a workspace publishes."""
        if self._topics.workspace_with(self._config.workspace_id(workspace)) is None:
            raise self._missing("workspaces", workspace)
        root = f"providers/Microsoft.EventGrid/topicTypes/{WORKSPACE_TYPE}/eventTypes"
        return [{"id": f"{root}/Microsoft.MachineLearningServices.{name}", "name": f"Microsoft.MachineLearningServices.{name}",
                 "type": "Microsoft.EventGrid/topicTypes/eventTypes", "properties": {"displayName": name, "isInDefaultSet": True}}
                for name in _EVENT_TYPES]

    def _topic(self, name: str) -> TopicConfig:
        topic = self._topics.find(name)
        if topic is None:
            raise self._missing("topics", name)
        return topic

    def _parsed(self, name: str, properties: Mapping[str, Any]) -> TopicConfig:
        existing = self._topics.find(name)
        schema = properties.get("inputSchema") or (existing.input_schema if existing else "EventGridSchema")
        if existing is not None and existing.input_schema not in ("any", schema):
            raise ArmRefusal(400, "InvalidRequest", "The inputSchema of a topic can't be changed.")
        try:
            return TopicConfig.model_validate({"name": existing.name if existing else name, "schema": schema,
                                               "disable_local_auth": properties.get("disableLocalAuth") or False})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            place = {"schema": "inputSchema", "disable_local_auth": "disableLocalAuth"}.get(str(first["loc"][0]), str(first["loc"][0]))
            raise ArmRefusal(400, "InvalidRequest", f"The property 'properties.{place}' is invalid: {first['msg']}") from error

    def _put_system_topic(self, name: str, properties: Mapping[str, Any]) -> None:
        source, kind = properties.get("source"), properties.get("topicType")
        workspace = self._topics.workspace_with(source) if isinstance(source, str) else None
        if workspace is None:
            raise ArmRefusal(400, "InvalidRequest", f"The property 'properties.source' is no workspace of the platform: {source!r}")
        if not isinstance(kind, str) or kind.casefold() != WORKSPACE_TYPE.casefold():
            raise ArmRefusal(400, "InvalidRequest", f"The property 'properties.topicType' must be {WORKSPACE_TYPE}.")
        if self._topics.workspace_of(name) not in (None, workspace):
            raise ArmRefusal(400, "InvalidRequest", "The source of a system topic can't be changed.")
        self._topics.name_system_topic(name, workspace)

    def _described(self, name: str, workspace: str) -> dict[str, Any]:
        return {"id": f"{self._topics.provider_id}/systemTopics/{name}", "name": name, "type": "Microsoft.EventGrid/systemTopics",
                "location": self._config.location, "tags": {},
                "properties": {"provisioningState": "Succeeded", "topicType": WORKSPACE_TYPE,
                               "source": self._config.workspace_id(workspace)}}

    def _missing(self, kind: str, name: str) -> ArmRefusal:
        return ArmRefusal(404, "ResourceNotFound", f"The Resource 'Microsoft.EventGrid/{kind}/{name}' under resource group "
                                                   f"'{self._config.resource_group}' was not found.")


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = {} if body.get(name) is None else body[name]
    if not isinstance(found, Mapping):
        raise ArmRefusal(400, "InvalidRequest", f"The property '{name}' is not an object.")
    return found


def _tags(body: Mapping[str, Any]) -> dict[str, str]:
    tags = _object(body, "tags")
    if not all(isinstance(value, str) for value in tags.values()):
        raise ArmRefusal(400, "InvalidRequest", "The property 'tags' is not an object of texts.")
    return dict(tags)
