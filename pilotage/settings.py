"""What an operator configures: environment variables, validated once, each error naming the variable and the fix.

In Azure these are the Function App's application settings; secrets are Key Vault references there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, Json, SecretStr, StringConstraints, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from pilotage.errors import InvalidInput

_ROOT = Path(__file__).resolve().parent.parent
LINK_KEY_BYTES = 32

Https = Annotated[str, StringConstraints(pattern=r"^https://[^/\s]+(/\S*)?$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^/\s]+(/\S*)?$")]
Text = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]


class WorkspaceSettings(BaseModel):
    """Where one Azure ML workspace is, and as whom Pilotage works in it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    subscription: str
    resource_group: str
    client_id: str | None = None
    """Client id of the user-assigned identity of this stage; None: the app's default identity."""

    @property
    def arm_id(self) -> str:
        return (f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"
                f"/providers/Microsoft.MachineLearningServices/workspaces/{self.name}")


class _WorkspaceEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    subscription: str | None = None
    resource_group: str | None = None
    client_id: str | None = None


class AzureSettings(BaseModel):
    """Where the workspaces and registries are: all that is needed to work in them, such as on a data scientist's machine."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    subscription: Text = Field(alias="AZURE_SUBSCRIPTION_ID", description="the subscription of the workspaces")
    resource_group: Text = Field(alias="AZURE_RESOURCE_GROUP", description="the resource group of the workspaces")
    workspaces: Json[dict[str, _WorkspaceEntry]] | dict[str, _WorkspaceEntry] | None = Field(
        None, alias="PILOTAGE_WORKSPACES", union_mode="left_to_right",
        description='JSON such as {"mlw-prod": {"resource_group": "rg-prod", "client_id": "<identity>"}}, or nothing')
    registry_client_id: Text | None = Field(
        None, alias="PILOTAGE_REGISTRY_CLIENT_ID", description="client id of the identity that writes to registries, or nothing")
    cloud_metadata_url: Url | None = Field(
        None, alias="ARM_CLOUD_METADATA_URL", description="where the cloud's endpoints are published, for clouds other than the public one")
    gates_data_limit: Annotated[int, Field(ge=1)] = Field(
        32 * 1024 * 1024, alias="PILOTAGE_GATES_DATA_LIMIT",
        description="bytes of data, such as 33554432: a gate with more runs as an Azure ML job instead of in the function")
    gates_environment: Annotated[str, StringConstraints(pattern=r"^azureml:\S+$")] | None = Field(
        None, alias="PILOTAGE_GATES_ENVIRONMENT",
        description="an environment asset with the gates' libraries, such as azureml:pilotage-gates@latest, or nothing")
    gates_compute: Text = Field("cpu-cluster", alias="PILOTAGE_GATES_COMPUTE", description="the compute on which such jobs run")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Read the variables; an empty one counts as absent. Raises InvalidInput that lists every problem."""
        known = {field.alias for field in cls.model_fields.values()}
        found: dict[str, Any] = {name: value for name, value in environ.items() if name in known and value.strip()}
        try:
            return cls.model_validate(found)
        except ValidationError as error:
            raise InvalidInput("settings: " + "; ".join(_problems(error, cls))) from None

    def workspace(self, name: str) -> WorkspaceSettings:
        """Where a workspace that a policy names is; names are case-insensitive.

        Without PILOTAGE_WORKSPACES every name is taken from the default subscription and group; with it,
        it is the full list, so that a policy can't reach a workspace nobody meant. Raises InvalidInput.
        """
        entry = _WorkspaceEntry()
        if self.workspaces is not None:
            listed = {key.casefold(): (key, value) for key, value in self.workspaces.items()}
            if name.casefold() not in listed:
                raise InvalidInput(f"workspace {name!r} is not in PILOTAGE_WORKSPACES ({', '.join(sorted(self.workspaces))}): add it there")
            name, entry = listed[name.casefold()]
        return WorkspaceSettings(
            name=name, subscription=entry.subscription or self.subscription,
            resource_group=entry.resource_group or self.resource_group, client_id=entry.client_id)


class Settings(AzureSettings):
    """The validated settings. Secrets are `SecretStr`: neither repr nor logs show them."""

    ledger_blob_url: Https = Field(alias="PILOTAGE_LEDGER_BLOB_URL", description="such as https://account.blob.core.windows.net")
    ledger_table_url: Https = Field(alias="PILOTAGE_LEDGER_TABLE_URL", description="such as https://account.table.core.windows.net")
    ledger_container: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9]{2,62}$")] = Field(
        "pilotage", alias="PILOTAGE_LEDGER_CONTAINER",
        description="3 to 63 lower-case letters and digits, a letter first: it names a blob container and a table")
    policies: Path = Field(_ROOT / "policies", alias="PILOTAGE_POLICIES", description="the folder with the promotion policies")
    auth_issuer: Url = Field(
        alias="PILOTAGE_AUTH_ISSUER", description="such as https://login.microsoftonline.com/<tenant id>/v2.0")
    auth_audience: Text = Field("api://pilotage", alias="PILOTAGE_AUTH_AUDIENCE", description="the app registration's id or URI")
    auth_client_id: Text | None = Field(
        None, alias="PILOTAGE_AUTH_CLIENT_ID",
        description="the app registration's client id, which is the audience of v2 access tokens and of browsers' id tokens, or nothing")
    graph_url: Url = Field(
        "https://graph.microsoft.com", alias="PILOTAGE_GRAPH_URL",
        description="Microsoft Graph of your cloud, such as https://graph.microsoft.com: asked about groups that do not fit into a token")
    link_key: SecretStr = Field(
        alias="PILOTAGE_LINK_KEY", description=f"a random secret of at least {LINK_KEY_BYTES} bytes, such as `openssl rand -hex 32` prints")
    signing_key_id: Https | None = Field(
        None, alias="PILOTAGE_SIGNING_KEY_ID", description="the Key Vault key that signs passports, by its URL with version")
    signing_key: Path | None = Field(
        None, alias="PILOTAGE_SIGNING_KEY", validate_default=True,
        description="a PEM file with a P-256 key, on one machine; in Azure set PILOTAGE_SIGNING_KEY_ID instead")
    base_url: Url = Field(alias="PILOTAGE_BASE_URL", description="the app's public address, such as https://pilotage.azurewebsites.net")
    notify_webhook: SecretStr | None = Field(
        None, alias="PILOTAGE_NOTIFY_WEBHOOK", description="an http(s) URL that accepts JSON, or nothing")
    notify_channels: SecretStr | None = Field(
        None, alias="PILOTAGE_NOTIFY_CHANNELS",
        description='JSON such as {"ml-team": "workflows://..."}: channel names of the policies to apprise URLs, or nothing')
    dead_letter_container: Annotated[str, StringConstraints(pattern=r"^[a-z0-9](-?[a-z0-9]){2,62}$")] = Field(
        "event-grid-dead-letters", alias="PILOTAGE_DEAD_LETTER_CONTAINER", description="a blob container's name")
    clock_file: Path | None = Field(None, alias="PILOTAGE_CLOCK_FILE", description="path of a file that shifts the clock, or nothing")

    @property
    def auth_audiences(self) -> list[str]:
        """What a token may be for: the application id URI, and the client id where it is told."""
        return [self.auth_audience, *([self.auth_client_id] if self.auth_client_id else [])]

    @field_validator("signing_key")
    @classmethod
    def _one_signing_key(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        """Without a key nobody could tell a passport that was changed; with two nobody could tell which signs."""
        in_vault = info.data.get("signing_key_id") is not None
        if value is None and not in_vault:
            raise PydanticCustomError("missing", "it is not set")
        if value is not None and in_vault:
            raise ValueError("PILOTAGE_SIGNING_KEY_ID is set too")
        return value

    @field_validator("link_key")
    @classmethod
    def _long_enough(cls, value: SecretStr) -> SecretStr:
        if len(value.get_secret_value().encode()) < LINK_KEY_BYTES:
            raise ValueError("it is too short")
        return value

    @field_validator("notify_channels")
    @classmethod
    def _are_channels(cls, value: SecretStr | None) -> SecretStr | None:
        from pilotage.notify.channels import read_channels

        read_channels(value)
        return value

    @field_validator("notify_webhook")
    @classmethod
    def _is_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith(("https://", "http://")):
            raise ValueError("it is not a URL")
        return value


def _problems(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One sentence a variable; never the value, which may be a secret."""
    fixes = {field.alias: field.description for field in model.model_fields.values()}
    problems: dict[str, str] = {}
    for item in error.errors(include_input=False, include_url=False):
        told = str(item["loc"][0])
        field = model.model_fields.get(told)  # a default that is refused is told by the field's name
        name = str(field.alias) if field is not None else told
        what = "is not set" if item["type"] == "missing" else "is not valid"
        problems.setdefault(name, f"{name} {what}: set it to {fixes.get(name, 'something else')}")
    return list(problems.values())
