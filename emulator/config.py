"""`platform.yaml`: what the local platform consists of, validated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from string import Template
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from emulator.errors import EmulatorError

SYSTEM_TOPICS = "workspaces"
"""Stands for the system topic of each workspace among a subscription's topics."""

Schema = Literal["EventGridSchema", "CloudEventSchemaV1_0"]
_AccountName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]{3,24}$")]
_FILTERS = 25
_VALUE_LENGTH = 512
_HEADERS = 10


class ConfigError(EmulatorError):
    """platform.yaml is not valid; the message names the place."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class WorkspaceConfig(_Strict):
    name: str
    stage: Literal["dev", "staging", "prod"] | None = None
    account: _AccountName
    """Storage account of its default datastore."""


class RegistryConfig(_Strict):
    name: str
    account: _AccountName
    subscription: str
    resource_group: str


class IdentityConfig(_Strict):
    """A person (username) or a principal (client_id), or both."""

    id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
    """Letters, digits and underscores: it becomes part of a variable's name in `DIR/env`."""
    name: str
    object_id: str
    client_id: str | None = None
    username: str | None = None
    roles: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    graph_permissions: tuple[str, ...] = ()
    """Application permissions for Microsoft Graph, such as GroupMember.Read.All."""


class RoleDefinitionConfig(_Strict):
    """A custom role. Patterns of actions may have `*`: `Microsoft.MachineLearningServices/workspaces/models/*`."""

    name: str
    description: str = ""
    actions: Annotated[tuple[str, ...], Field(min_length=1)]
    not_actions: tuple[str, ...] = ()


class RoleAssignmentConfig(_Strict):
    """A role of an identity at a scope: `subscription` (the platform's), a workspace's or registry's name, or an ARM id."""

    identity: str
    role: str
    scope: str


class TopicConfig(_Strict):
    name: str
    input_schema: Schema | Literal["any"] = Field("any", alias="schema")
    """`any` takes both, which Azure's topics do not; name one and the other is refused, as there."""
    disable_local_auth: bool = False
    """True: keys and signatures are refused, tokens are taken."""


class AdvancedFilter(_Strict):
    """As in Azure: an operator, a key, and `value` or `values` as the operator asks for."""

    operator: Literal[
        "StringIn", "StringNotIn", "StringContains", "StringNotContains", "StringBeginsWith", "StringNotBeginsWith",
        "StringEndsWith", "StringNotEndsWith", "NumberIn", "NumberNotIn", "NumberLessThan", "NumberLessThanOrEquals",
        "NumberGreaterThan", "NumberGreaterThanOrEquals", "NumberInRange", "NumberNotInRange", "BoolEquals",
        "IsNullOrUndefined", "IsNotNull"]
    key: Annotated[str, StringConstraints(min_length=1)]
    value: Any = None
    values: tuple[Any, ...] = ()

    @model_validator(mode="after")
    def _operands(self) -> Self:
        if self.operator.startswith("Is"):
            if self.value is not None or self.values:
                raise ValueError(f"{self.operator} takes neither value nor values")
        elif self.operator == "BoolEquals":
            if not isinstance(self.value, bool) or self.values:
                raise ValueError("BoolEquals takes value: true or false")
        elif "Than" in self.operator:
            if not _is_number(self.value) or self.values:
                raise ValueError(f"{self.operator} takes value: a number")
        else:
            self._check_values()
        return self

    def _check_values(self) -> None:
        if self.value is not None or not 1 <= len(self.values) <= _FILTERS:
            raise ValueError(f"{self.operator} takes values: 1 to {_FILTERS} of them")
        if self.operator.endswith("Range"):
            right = all(isinstance(v, list | tuple) and len(v) == 2 and all(map(_is_number, v)) for v in self.values)
            kind = "pairs of numbers"
        elif self.operator.startswith("Number"):
            right, kind = all(map(_is_number, self.values)), "numbers"
        else:
            right = all(isinstance(v, str) and len(v) <= _VALUE_LENGTH for v in self.values)
            kind = f"texts of at most {_VALUE_LENGTH} characters"
        if not right:
            raise ValueError(f"{self.operator} takes values that are {kind}")


class DeliveryHeader(_Strict):
    """A header that each delivery carries: a text, or the value of an event's field (`source_field`, a dotted key)."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$")]
    value: Annotated[str, StringConstraints(pattern=r"^[\x20-\x7e]*$", max_length=4096)] | None = None
    source_field: Annotated[str, StringConstraints(min_length=1)] | None = None
    is_secret: bool = False

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.value is None) == (self.source_field is None):
            raise ValueError(f"the header {self.name!r} needs a value or a source_field, and not both")
        if self.name.casefold().startswith(("aeg-", "content-", "host")):
            raise ValueError(f"the header {self.name!r} is Event Grid's own")
        return self


class SubscriptionConfig(_Strict):
    """An event subscription: from which topics, what of it, and where to. Limits and defaults are Azure's."""

    name: str
    topics: Annotated[tuple[str, ...], Field(min_length=1)]
    """Names of custom topics or workspaces, or `workspaces` for the system topic of each workspace."""
    function: str | None = None
    """A function of the app, reached by its webhook."""
    endpoint: str | None = None
    event_types: tuple[str, ...] = ()
    """Empty: all."""
    subject_begins_with: str = ""
    subject_ends_with: str = ""
    subject_case_sensitive: bool = False
    advanced_filters: Annotated[tuple[AdvancedFilter, ...], Field(max_length=_FILTERS)] = ()
    filtering_on_arrays: bool = False
    """`enableAdvancedFilteringOnArrays`."""
    delivery_schema: Schema = "EventGridSchema"
    max_attempts: int = Field(30, ge=1, le=30)
    ttl_minutes: int = Field(1440, ge=1, le=1440)
    dead_letter: bool = True
    dead_letter_account: _AccountName | None = None
    """Where dead letters go instead of the platform's ledger account and `dead_letter_container`."""
    dead_letter_container: Annotated[str, StringConstraints(pattern=r"^[a-z0-9](-?[a-z0-9]){2,62}$")] | None = None
    labels: tuple[str, ...] = ()
    expires: AwareDatetime | None = None
    """From then on, in virtual time, it receives nothing: what waits for it is dropped."""
    max_events_per_batch: int = Field(1, ge=1, le=5000)
    preferred_batch_size_in_kilobytes: int = Field(64, ge=1, le=1024)
    headers: Annotated[tuple[DeliveryHeader, ...], Field(max_length=_HEADERS)] = ()
    """Of each delivery: Azure's delivery attribute mappings."""
    retry_jitter: float = Field(0, ge=0, le=1)
    """Each wait before another attempt grows by up to this share of it, drawn from `seed`. Azure's randomisation is
    small and not documented; 0 lets a test that moves the clock know where it is."""
    seed: int = 0
    delayed_delivery: bool = False
    """True: after ten failures in a row everything for this endpoint waits a while, as Azure does it."""

    @model_validator(mode="after")
    def _one_destination(self) -> Self:
        if (self.function is None) == (self.endpoint is None):
            raise ValueError(f"subscription {self.name!r} needs a function or an endpoint, and not both")
        return self

    @model_validator(mode="after")
    def _values_in_all(self) -> Self:
        if sum(max(len(rule.values), 1) for rule in self.advanced_filters if not rule.operator.startswith("Is")) > _FILTERS:
            raise ValueError(f"The maximum number of values allowed across all advanced filters is {_FILTERS}")
        return self


class SignInConfig(_Strict):
    """The app registration by which browsers sign in, as App Service Authentication (authsettingsV2) has it."""

    client_id: str
    scope: str = "openid profile"
    """Of the sign-in; with an application's scope (`api://app/.default`) its access token comes too."""


class AppConfig(_Strict):
    path: Path = Path()
    settings: dict[str, str] = {}
    sign_in: SignInConfig | None = None
    """None: the app stands without App Service Authentication."""


class PlatformConfig(_Strict):
    tenant: str
    subscription: str
    resource_group: str
    location: str
    workspaces: tuple[WorkspaceConfig, ...]
    registries: tuple[RegistryConfig, ...]
    ledger_account: _AccountName
    identities: tuple[IdentityConfig, ...]
    app_identity: str
    job_identity: str
    script_identity: str = ""
    """Whose token PILOTAGE_TOKEN in DIR/env is; none when empty."""
    groups_in_token: int = Field(200, ge=0)
    """A person in more groups than this has none in the token, which then points to Microsoft Graph; Entra's limit."""
    role_definitions: tuple[RoleDefinitionConfig, ...] = ()
    """Custom roles, beside Azure's built-in ones."""
    role_assignments: tuple[RoleAssignmentConfig, ...] | None = None
    """Left out: every identity owns everything. Given: who has no role gets 403."""
    core_quota: dict[str, Annotated[int, Field(ge=0)]] = {}
    """Cores of a family of virtual machines (`standardDSv2Family`) that the online deployments of one workspace may use
    together; `default` is for the families that are not named, 400 when left out."""
    topics: tuple[TopicConfig, ...] = ()
    subscriptions: tuple[SubscriptionConfig, ...] = ()
    dead_letter_container: str = "event-grid-dead-letters"
    dead_letter_delay_seconds: int = Field(300, ge=0)
    """How long after its last attempt an event is dead-lettered; Azure takes five minutes."""
    app: AppConfig = AppConfig()

    @field_validator("workspaces", "registries", "role_definitions", "topics", "subscriptions")
    @classmethod
    def _names_differ(cls, items: tuple[Any, ...]) -> tuple[Any, ...]:
        _differ("name", (item.name.casefold() for item in items))
        return items

    @field_validator("identities")
    @classmethod
    def _identities_differ(cls, items: tuple[IdentityConfig, ...]) -> tuple[IdentityConfig, ...]:
        for field in ("id", "object_id", "client_id", "username"):
            _differ(field, (value for item in items if (value := getattr(item, field)) is not None))
        return items

    @model_validator(mode="after")
    def _topics_exist(self) -> Self:
        known = {SYSTEM_TOPICS, *(topic.name for topic in self.topics), *(workspace.name for workspace in self.workspaces)}
        for subscription in self.subscriptions:
            if unknown := set(subscription.topics) - known:
                raise ValueError(f"subscription {subscription.name!r} names no topic of the platform: {', '.join(sorted(unknown))}")
        return self

    @property
    def accounts(self) -> tuple[str, ...]:
        """Every storage account of the platform."""
        homes = [*(workspace.account for workspace in self.workspaces), *(registry.account for registry in self.registries)]
        return tuple(dict.fromkeys([*homes, self.ledger_account]))

    def workspace_id(self, name: str) -> str:
        """ARM id of a workspace: the name of its system topic."""
        return (f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
                f"/providers/Microsoft.MachineLearningServices/workspaces/{name}")

    def scope_id(self, name: str) -> str:
        """ARM id of a role assignment's scope; raises ConfigError."""
        if name.startswith("/"):
            return name
        if name == "subscription":
            return f"/subscriptions/{self.subscription}"
        if any(workspace.name == name for workspace in self.workspaces):
            return self.workspace_id(name)
        for registry in self.registries:
            if registry.name == name:
                return (f"/subscriptions/{registry.subscription}/resourceGroups/{registry.resource_group}"
                        f"/providers/Microsoft.MachineLearningServices/registries/{name}")
        raise ConfigError(f"role_assignments: the scope {name!r} is no workspace or registry, not 'subscription', and no ARM id")

    def identity(self, identity_id: str) -> IdentityConfig:
        """Raises ConfigError."""
        for identity in self.identities:
            if identity.id == identity_id:
                return identity
        raise ConfigError(f"platform.yaml names no identity {identity_id!r}")

    def settings(self, values: Mapping[str, str]) -> dict[str, str]:
        """The app's settings with `${...}` filled in; raises ConfigError for a name that is not known."""
        try:
            return {key: _filled(key, text, values) for key, text in self.app.settings.items()}
        except KeyError as missing:
            raise ConfigError(f"app.settings uses ${{{missing.args[0]}}}; known are {', '.join(sorted(values))}") from None


_BUILT_IN = Path(__file__).with_name("default.yaml")


def chosen(path: Path | None) -> tuple[Path, Path]:
    """The configuration file to read and the folder that its paths are relative to: the one that is asked for, or
    platform.yaml of the current folder, or where there is none the built-in one."""
    found = path or Path("platform.yaml")
    if path is None and not found.exists():
        return _BUILT_IN, Path.cwd()
    return found, found.resolve().parent


def load(path: Path) -> PlatformConfig:
    """Read and validate the file; raises ConfigError."""
    try:
        return PlatformConfig.model_validate(yaml.safe_load(path.read_text()))
    except FileNotFoundError:
        raise ConfigError(f"{path} does not exist: give the path of a platform.yaml with --config, or leave it out") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error


def _filled(key: str, text: str, values: Mapping[str, str]) -> str:
    """Raises KeyError for a name that is not known, and ConfigError."""
    try:
        return Template(text).substitute(values)
    except ValueError as error:
        raise ConfigError(f"app.settings.{key}: {error}; a dollar sign itself is written $$") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _differ(field: str, values: Iterable[str]) -> None:
    seen: set[str] = set()
    for value in values:
        if value in seen:
            raise ValueError(f"{field} {value!r} appears twice")
        seen.add(value)
