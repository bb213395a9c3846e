"""What we need of azure-ai-ml beyond its public surface, in one place: a contract test holds it to the pinned version.

The public `begin_*` methods start a thread that polls until the operation ends, and registry copies block
until they have ended. We poll from durable timers, so here an operation has begun once Azure accepted it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pilotage.errors import Unavailable

if TYPE_CHECKING:
    from azure.ai.ml import MLClient
    from azure.core.rest import HttpResponse

CLOUD_VARIABLE = "AZUREML_CURRENT_CLOUD"
"""Where the SDK keeps the cloud's name for the rest of the process, right or wrong."""
# Seconds and counts: with these a call to a service that hangs or refuses ends within two minutes.
PATIENCE: dict[str, Any] = {"connection_timeout": 20, "read_timeout": 60, "timeout": 90, "retry_total": 3,
                            "retry_connect": 2, "retry_read": 2, "retry_status": 3, "retry_backoff_max": 10}


class _Accepting:
    """Generated operations whose `begin_*` return once the request is accepted: no poller thread is started."""

    def __init__(self, operations: Any) -> None:
        self._operations = operations

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._operations, name)
        return partial(_without_polling, attribute) if name.startswith("begin_") else attribute


def _without_polling(begin: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
    return begin(*args, **{**named, "polling": False})


def accepting(client: MLClient) -> MLClient:
    """The client, its online endpoint and deployment operations no longer polling."""
    endpoints: Any = client.online_endpoints
    deployments: Any = client.online_deployments
    endpoints._online_operation = _Accepting(endpoints._online_operation)
    deployments._online_deployment = _Accepting(deployments._online_deployment)
    return client


def require_cloud(metadata_url: str) -> str:
    """The resource manager's base URL, once it is the configured cloud's.

    When the metadata can't be loaded the SDK warns, falls back to public Azure and stays there: the token of
    a private cloud would be sent to the public one. Raises Unavailable, and makes the SDK look again next time.
    """
    from azure.ai.ml._azure_environments import _get_base_url_from_metadata, _get_default_cloud_name

    base_url = _get_base_url_from_metadata(_get_default_cloud_name())
    if urlsplit(base_url).netloc.casefold() != urlsplit(metadata_url).netloc.casefold():
        os.environ.pop(CLOUD_VARIABLE, None)
        raise Unavailable(f"ARM_CLOUD_METADATA_URL is {metadata_url}, but azure-ai-ml would use {base_url}: "
                          "can its metadata be loaded from here (certificates, proxy)?")
    return base_url


def base_url(client: MLClient) -> str:
    """The resource manager's base URL that a client uses."""
    return str(client._base_url)


def word(value: Any) -> str:
    """A state as Azure writes it: the SDK gives some as text and some as an enum, whose `str` is Python's own."""
    return str(getattr(value, "value", value) or "")


def workspace_guid(workspace: Any) -> str:
    """The id of a workspace in asset ids; the entity keeps it to itself."""
    return str(workspace._workspace_id)


def import_into_registry(client: MLClient, registry: str, name: str, version: str, source_id: str) -> str:
    """Ask a registry to copy an asset; returns once it accepted, with the operation's URL (empty: it needs none).

    Raises HttpResponseError.

    `models.share` swaps the client's scope while others use it, and `create_or_update` waits for the copy.
    """
    from azure.ai.ml.entities._assets.workspace_asset_reference import WorkspaceAssetReference

    reference = WorkspaceAssetReference(name=name, version=version, asset_id=source_id)
    headers = _registry_request(client, "POST", registry, "import", reference._to_rest_object()).headers
    return str(headers.get("Azure-AsyncOperation") or headers.get("Location") or "")


def registry_operation(client: MLClient, url: str) -> tuple[str, str]:
    """Status (`Succeeded`, `Failed`, `Canceled`, or a word on the way) and error of a registry's long operation.

    A `Location` has no status in its body: there 202 is on the way and an error is the operation's own.
    Raises HttpResponseError, for 404 too: operations are forgotten after a while.
    """
    from azure.core.rest import HttpRequest

    response = client._service_client_registry_arm.send_request(HttpRequest("GET", url, headers={"Accept": "application/json"}))
    body = response.json() if response.text() else {}
    error = body.get("error") or {} if isinstance(body, dict) else {}
    why = ": ".join(str(error[name]) for name in ("code", "message") if error.get(name))
    if response.status_code in (400, 409, 422):
        return "Failed", why or f"HTTP {response.status_code}"
    response.raise_for_status()
    status = body.get("status") if isinstance(body, dict) else None
    return str(status or ("InProgress" if response.status_code == 202 else "Succeeded")), why


def registry_reference(client: MLClient, registry: str, kind: str, name: str, version: str, uri: str) -> str | None:
    """A SAS URL with which a registry lets its asset's blobs be read; None when they can be read without."""
    answer = _registry_request(client, "POST", registry, f"datarefs/{name}/versions/{version}", {
        "assetId": f"azureml://registries/{registry}/{kind}/{name}/versions/{version}", "blobUri": uri}).json()
    return (answer["blobReferenceForConsumption"].get("credential") or {}).get("sasUri")


def _registry_request(client: MLClient, method: str, registry: str, path: str, body: dict[str, Any]) -> HttpResponse:
    from azure.ai.ml._utils._registry_utils import REGISTRY_DATAPLANE_API_VERSION
    from azure.core.rest import HttpRequest

    scope = (f"/subscriptions/{client.subscription_id}/resourceGroups/{client.resource_group_name}"
             f"/providers/Microsoft.MachineLearningServices/registries/{registry}")
    response = client._service_client_registry_arm.send_request(HttpRequest(
        method, f"{scope}/{path}", params={"api-version": REGISTRY_DATAPLANE_API_VERSION},
        headers={"Accept": "application/json"}, json=body))
    response.raise_for_status()
    return response
