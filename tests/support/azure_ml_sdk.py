"""Clients of the real SDK for the platform, and the few calls that several tests make."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from tests.support.platform import LivePlatform

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.ai.ml.entities import ManagedOnlineDeployment, Model


class Sdk:
    """The environment must be the platform's already: the SDK reads it when a client is made."""

    def __init__(self, platform: LivePlatform) -> None:
        self.platform = platform

    @cached_property
    def dev(self) -> MLClient:
        return self._workspace("DEV")

    @cached_property
    def staging(self) -> MLClient:
        return self._workspace("STAGING")

    @cached_property
    def prod(self) -> MLClient:
        return self._workspace("PROD")

    @cached_property
    def registry(self) -> MLClient:
        from azure.ai.ml import MLClient
        from azure.identity import DefaultAzureCredential

        return MLClient(DefaultAzureCredential(), registry_name=self.platform.env["AZUREML_REGISTRY"])

    def register(self, name: str, version: str, folder: Path, **tags: str) -> Model:
        """Upload a folder and register it as an MLflow model on the development workspace."""
        from azure.ai.ml.entities import Model

        model = Model(name=name, version=version, type="mlflow_model", path=str(folder), tags=tags)
        return self.dev.models.create_or_update(model)

    def share(self, model: Model) -> str:
        """Copy a model to the registry under its own name and version; the id there."""
        registry = self.platform.env["AZUREML_REGISTRY"]
        shared = self.dev.models.share(
            model.name,
            model.version,
            share_with_name=model.name,
            share_with_version=model.version,
            registry_name=registry,
        )
        return str(shared.id)

    def begin_import(self, model: Model) -> None:
        """What `share` begins by, without waiting for its end."""
        from azure.ai.ml._utils._registry_utils import begin_import_registry_asset

        workspace = self.dev.workspaces.get(self.platform.env["AZUREML_WORKSPACE_DEV"])
        guid = str(workspace.discovery_url).rpartition("/")[2]
        source = f"azureml://locations/{workspace.location}/workspaces/{guid}/models/{model.name}/versions/{model.version}"
        wanted = {
            "referenceType": "Id",
            "destinationName": model.name,
            "destinationVersion": model.version,
            "sourceAssetId": source,
        }
        operations = self.registry.models
        begin_import_registry_asset(
            operations._registry_service_client,
            operations._resource_group_name,
            operations._registry_name,
            {"properties": wanted},
            wait=False,
        )

    def deploy(self, endpoint: str, name: str, model: str, **settings: Any) -> ManagedOnlineDeployment:
        """Create or update a deployment on the production workspace and wait for its end."""
        from azure.ai.ml.entities import ManagedOnlineDeployment

        given: dict[str, Any] = {"instance_type": "Standard_DS3_v2", "instance_count": 1, **settings}
        deployment = ManagedOnlineDeployment(name=name, endpoint_name=endpoint, model=model, **given)
        return self.prod.online_deployments.begin_create_or_update(deployment).result()

    def route(self, endpoint: str, mirror: dict[str, int] | None = None, **traffic: int) -> None:
        found = self.prod.online_endpoints.get(endpoint)
        found.traffic, found.mirror_traffic = traffic, mirror or {}
        self.prod.online_endpoints.begin_create_or_update(found).result()

    def score(
        self, endpoint: str, x: float = 20.0, deployment: str | None = None, **body: Any
    ) -> httpx.Response:
        """Post one row to the endpoint as a client would; `body` replaces the row."""
        content = body or {"input_data": {"columns": ["x"], "data": [[x]]}}
        keys = self.prod.online_endpoints.get_keys(endpoint)
        headers = {"Authorization": f"Bearer {keys.primary_key}"}
        if deployment:
            headers["azureml-model-deployment"] = deployment
        uri = self.prod.online_endpoints.get(endpoint).scoring_uri
        return httpx.post(
            uri, json=content, headers=headers, verify=self.platform.env["SSL_CERT_FILE"], timeout=60
        )

    def _workspace(self, stage: str) -> MLClient:
        from azure.ai.ml import MLClient
        from azure.identity import DefaultAzureCredential

        where = (
            self.platform.env[key]
            for key in ("AZURE_SUBSCRIPTION_ID", "AZURE_RESOURCE_GROUP", f"AZUREML_WORKSPACE_{stage}")
        )
        # Ada has no right to write to production; the app's identity has.
        identity = self.platform.env["EMULATOR_CLIENT_ID_PILOTAGE"] if stage == "PROD" else os.environ.get("AZURE_CLIENT_ID")
        return MLClient(DefaultAzureCredential(managed_identity_client_id=identity), *where)
