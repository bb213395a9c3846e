"""Clients of workspaces and registries, each made once a process, as the identity configured for it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any

import httpx

from pilotage.azure_errors import azure_errors
from pilotage.credentials import credential
from pilotage.settings import AzureSettings, WorkspaceSettings

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.core.credentials import TokenCredential

WORKSPACE_ROLE = "AzureML Data Scientist on the workspace"
REGISTRY_ROLE = "AzureML Registry User on the registry"
HTTP_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
"""Seconds, for what is not asked through the SDK: scoring and run history."""


@dataclass(frozen=True)
class WorkspaceDetails:
    """What a workspace says of itself."""

    location: str
    guid: str
    discovery_url: str


class Workspace:
    """One workspace, its client and its credential."""

    def __init__(self, settings: WorkspaceSettings, client: MLClient, token_credential: TokenCredential, base_url: str) -> None:
        self.settings, self.client, self.credential = settings, client, token_credential
        self._base_url = base_url

    @property
    def name(self) -> str:
        return self.settings.name

    @cached_property
    def details(self) -> WorkspaceDetails:
        """Read once: none of it changes in a workspace's life."""
        from pilotage.azureml.sdk import workspace_guid

        with azure_errors(f"read workspace {self.name}", WORKSPACE_ROLE):
            found = self.client.workspaces.get(self.name)
        return WorkspaceDetails(location=str(found.location), guid=workspace_guid(found), discovery_url=str(found.discovery_url))

    def management_token(self) -> str:
        """A bearer token for the resource manager and the workspace's own services."""
        with azure_errors(f"get a token for workspace {self.name}", WORKSPACE_ROLE):
            return self.credential.get_token(f"{self._base_url.rstrip('/')}/.default").token


class Connections:
    """Every workspace and registry the app works in. Safe to use from several threads."""

    def __init__(self, settings: AzureSettings) -> None:
        self._settings = settings
        self._workspaces: dict[str, Workspace] = {}
        self._registries: dict[str, MLClient] = {}
        # One lock for all: the SDK writes the cloud's name to the process's environment while it makes a client.
        self._lock = Lock()

    def workspace(self, name: str) -> Workspace:
        """Raises InvalidInput for a workspace that isn't configured; Unavailable when the cloud's metadata can't be read."""
        settings = self._settings.workspace(name)
        with self._lock:
            if settings.arm_id not in self._workspaces:
                identity = credential(settings.client_id)
                client, base_url = self._connect(identity, subscription_id=settings.subscription,
                                                 resource_group_name=settings.resource_group, workspace_name=settings.name)
                self._workspaces[settings.arm_id] = Workspace(settings, client, identity, base_url)
            return self._workspaces[settings.arm_id]

    def registry(self, name: str) -> MLClient:
        """A registry's client. Raises NotFound when there is none of the name."""
        with self._lock:
            if name not in self._registries:
                with azure_errors(f"find registry {name}", REGISTRY_ROLE):
                    self._registries[name], _ = self._connect(
                        credential(self._settings.registry_client_id), registry_name=name)
            return self._registries[name]

    @cached_property
    def http(self) -> httpx.Client:
        """For scoring and run history; certificates and proxies as the environment says (SSL_CERT_FILE)."""
        return httpx.Client(timeout=HTTP_TIMEOUT, follow_redirects=False)

    def _connect(self, identity: TokenCredential, **scope: Any) -> tuple[MLClient, str]:
        from azure.ai.ml import MLClient

        from pilotage.azureml import sdk

        if self._settings.cloud_metadata_url:
            # Before a client is made: a registry's client sends its token while it is made.
            sdk.require_cloud(self._settings.cloud_metadata_url)
        client = MLClient(identity, enable_telemetry=False, show_progress=False, **sdk.PATIENCE, **scope)
        return sdk.accepting(client), sdk.base_url(client)
