"""The workspaces and registries of the platform: found by name, by ARM path and by asset id."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING, Any

from emulator.azure_ml.errors import NotFound
from emulator.azure_ml.resource import PROVIDER, Scope

if TYPE_CHECKING:
    from emulator.config import PlatformConfig

_GUIDS = uuid.UUID("6f1a1d5e-52ce-4c27-9f1c-0a4c5b0a7d11")
"""Namespace of workspace ids: a workspace keeps its id when its state is thrown away."""


class Scopes:
    def __init__(self, scopes: list[Scope], tenant: str, base_url: str) -> None:
        self._scopes = scopes
        self._tenant = tenant
        self._base_url = base_url

    @classmethod
    def of(cls, config: PlatformConfig, base_url: str) -> Scopes:
        """The scopes that the platform's configuration names."""
        scopes = [
            _scope(
                "workspaces",
                item.name,
                config.subscription,
                config.resource_group,
                config.location,
                item.account,
            )
            for item in config.workspaces
        ]
        scopes.extend(
            _scope(
                "registries", item.name, item.subscription, item.resource_group, config.location, item.account
            )
            for item in config.registries
        )
        return cls(scopes, config.tenant, base_url)

    def __iter__(self) -> Any:
        return iter(self._scopes)

    def workspace(self, name: str) -> Scope:
        """Raises `NotFound`."""
        return self._named("workspaces", name)

    def registry(self, name: str) -> Scope:
        """Raises `NotFound`."""
        return self._named("registries", name)

    def workspace_by_guid(self, guid: str) -> Scope:
        """The workspace whose `workspaceId` is `guid`; raises `NotFound`."""
        for scope in self._scopes:
            if scope.kind == "workspaces" and scope.guid.lower() == guid.lower():
                return scope
        raise NotFound(f"There is no workspace with id {guid}.")

    def find(self, kind: str, subscription: str, group: str, name: str) -> Scope:
        """The scope of an ARM path, whose parts are compared in any case; raises `NotFound`."""
        for scope in self.of_group(kind, subscription, group):
            if scope.name.lower() == name.lower():
                return scope
        raise NotFound(
            f"The Resource '{PROVIDER}/{kind}/{name}' under resource group '{group}' was not found.",
            code="ResourceNotFound",
        )

    def of_id(self, resource_id: str) -> Scope:
        """The scope that a resource's ARM id lies in; raises `NotFound`."""
        for scope in self._scopes:
            if resource_id.lower() == scope.id.lower() or resource_id.lower().startswith(
                scope.id.lower() + "/"
            ):
                return scope
        raise NotFound(f"{resource_id} is not in a workspace or registry of this platform.")

    def of_group(self, kind: str, subscription: str, group: str | None) -> list[Scope]:
        """The scopes of a kind in a resource group, or in all of a subscription."""
        return [
            scope
            for scope in self._scopes
            if scope.kind == kind.lower()
            and scope.subscription.lower() == subscription.lower()
            and (group is None or scope.resource_group.lower() == group.lower())
        ]

    def resource(self, scope: Scope) -> dict[str, Any]:
        """The ARM resource of a workspace or registry."""
        group = f"/subscriptions/{scope.subscription}/resourceGroups/{scope.resource_group}/providers"
        identity = {
            "type": "SystemAssigned",
            "principalId": str(uuid.uuid5(_GUIDS, scope.id.lower() + "/identity")),
            "tenantId": self._tenant,
        }
        properties: dict[str, Any] = {"publicNetworkAccess": "Enabled", "provisioningState": "Succeeded"}
        if scope.is_registry:
            properties |= {
                "discoveryUrl": f"{self._base_url}/registrymanagement/v1.0/registries/{scope.name}/discovery",
                "mlFlowRegistryUri": f"azureml://{self._host}/mlflow/v1.0{scope.id}",
                "regionDetails": [
                    {"location": scope.location, "acrDetails": [], "storageAccountDetails": []}
                ],
            }
        else:
            properties |= {
                "workspaceId": scope.guid,
                "friendlyName": scope.name,
                "description": "",
                "discoveryUrl": f"{self._base_url}/discovery/workspaces/{scope.guid}",
                "mlFlowTrackingUri": f"azureml://{self._host}/mlflow/v1.0{scope.id}",
                "storageAccount": f"{group}/Microsoft.Storage/storageAccounts/{scope.account}",
                "keyVault": f"{group}/Microsoft.KeyVault/vaults/kv-{scope.name}",
                "applicationInsights": f"{group}/Microsoft.Insights/components/appi-{scope.name}",
            }
        return {
            "id": scope.id,
            "name": scope.name,
            "type": f"{PROVIDER}/{scope.kind}",
            "location": scope.location,
            "tags": {},
            "identity": identity,
            "kind": "Default",
            "sku": {"name": "Basic", "tier": "Basic"},
            "properties": properties,
        }

    @property
    def _host(self) -> str:
        return re.sub(r"^https?://", "", self._base_url)

    def _named(self, kind: str, name: str) -> Scope:
        for scope in self._scopes:
            if scope.kind == kind and scope.name.lower() == name.lower():
                return scope
        raise NotFound(f"There is no {PROVIDER}/{kind} named {name}.")


def _scope(kind: str, name: str, subscription: str, group: str, location: str, account: str) -> Scope:
    guid = str(uuid.uuid5(_GUIDS, f"{subscription}/{group}/{kind}/{name}".lower()))
    return Scope(kind, name, subscription, group, location, account, guid)
