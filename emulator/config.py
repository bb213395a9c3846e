"""`platform.yaml`: what the local platform consists of, validated."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from emulator.context import EmulatorError


class ConfigError(EmulatorError):
    """platform.yaml is not valid; the message names the place."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkspaceConfig(_Strict):
    name: str
    stage: Literal["dev", "staging", "prod"] | None = None
    account: str
    """Storage account of its default datastore."""


class RegistryConfig(_Strict):
    name: str
    account: str
    subscription: str
    resource_group: str


class IdentityConfig(_Strict):
    """A person (username) or a principal (client_id), or both."""

    id: str
    name: str
    object_id: str
    client_id: str | None = None
    username: str | None = None
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()


class TopicConfig(_Strict):
    name: str
    schema_: Literal["EventGridSchema", "CloudEventSchemaV1_0"] = Field("EventGridSchema", alias="schema")


class AdvancedFilter(_Strict):
    """As in Azure: operator, key, and value or values."""

    operator: str
    key: str
    value: Any = None
    values: tuple[Any, ...] = ()


class SubscriptionConfig(_Strict):
    name: str
    topics: tuple[str, ...]
    """Names of custom topics, or `workspaces` for the system topic of each workspace."""
    function: str | None = None
    endpoint: str | None = None
    event_types: tuple[str, ...] = ()
    subject_begins_with: str = ""
    subject_ends_with: str = ""
    advanced_filters: tuple[AdvancedFilter, ...] = ()
    delivery_schema: Literal["EventGridSchema", "CloudEventSchemaV1_0"] = "EventGridSchema"
    max_attempts: int = Field(30, ge=1, le=30)
    ttl_minutes: int = Field(1440, ge=1, le=1440)


class AppConfig(_Strict):
    path: Path = Path()
    settings: dict[str, str] = {}


class PlatformConfig(_Strict):
    tenant: str
    subscription: str
    resource_group: str
    location: str
    workspaces: tuple[WorkspaceConfig, ...]
    registries: tuple[RegistryConfig, ...]
    ledger_account: str
    identities: tuple[IdentityConfig, ...]
    app_identity: str
    job_identity: str
    topics: tuple[TopicConfig, ...] = ()
    subscriptions: tuple[SubscriptionConfig, ...] = ()
    dead_letter_container: str = "event-grid-dead-letters"
    app: AppConfig = AppConfig()

    @property
    def accounts(self) -> tuple[str, ...]:
        """Every storage account of the platform."""
        homes = [*self.workspaces, *self.registries]
        return tuple(dict.fromkeys([*(home.account for home in homes), self.ledger_account]))

    def workspace_id(self, name: str) -> str:
        """ARM id of a workspace: the name of its system topic."""
        return (f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
                f"/providers/Microsoft.MachineLearningServices/workspaces/{name}")

    def identity(self, identity_id: str) -> IdentityConfig:
        for identity in self.identities:
            if identity.id == identity_id:
                return identity
        raise ConfigError(f"platform.yaml names no identity {identity_id!r}")

    def settings(self, values: dict[str, str]) -> dict[str, str]:
        """The app's settings with `${...}` filled in; raises ConfigError for a name that is not known."""
        try:
            return {key: Template(text).substitute(values) for key, text in self.app.settings.items()}
        except KeyError as missing:
            raise ConfigError(f"app.settings uses ${{{missing.args[0]}}}; known are {', '.join(sorted(values))}") from None


def load(path: Path) -> PlatformConfig:
    """Read and validate the file; raises ConfigError."""
    try:
        return PlatformConfig.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: run this in the folder that has platform.yaml, or give --config") from None
    except (yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
