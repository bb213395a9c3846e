"""Datastores: where in blob storage a workspace's path is."""

from __future__ import annotations

from pilotage.azure_errors import azure_errors
from pilotage.azureml.connections import WORKSPACE_ROLE, Workspace
from pilotage.azureml.locations import BlobPath, DatastorePath
from pilotage.errors import InvalidInput


def in_datastore(home: Workspace, at: DatastorePath) -> BlobPath:
    """The container and path. Raises NotFound for an unknown datastore, InvalidInput for one that is no blob storage."""
    with azure_errors(f"read datastore {at.datastore} of {home.name}", WORKSPACE_ROLE):
        found = home.client.datastores.get(at.datastore)
    container = getattr(found, "container_name", None) or getattr(found, "filesystem", None)
    account, endpoint = getattr(found, "account_name", None), getattr(found, "endpoint", None) or "core.windows.net"
    if not container or not account:
        raise InvalidInput(f"datastore {at.datastore} of {home.name} is neither blob storage nor a Data Lake: "
                           "Pilotage can't read and digest its files")
    return BlobPath(f"https://{account}.blob.{endpoint}", container, at.path)
