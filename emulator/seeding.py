"""`emulator seed`: assets and endpoints from a file, made with the real azure-ai-ml.

Each item is what `az ml ... create --file` takes, with `kind` and, where there are several, `workspace`. Paths are relative to
the file. Items are made in the order of the file; one that is there already is left as it is.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from emulator.errors import EmulatorError

if TYPE_CHECKING:
    from azure.ai.ml import MLClient

Kind = Literal["model", "data", "environment", "endpoint", "deployment"]


class InvalidSeed(EmulatorError):
    """The file can't be used; the message names the item and what is wrong with it."""


class Item(BaseModel):
    """What every item has; the rest is Azure's own schema, which the SDK checks."""

    model_config = ConfigDict(extra="allow", coerce_numbers_to_str=True)

    kind: Kind
    workspace: str = ""
    name: str
    version: str = ""


def sow(file: Path, variables: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Yields `{"outcome": "made" or "there", "kind", "name"}` as it goes; raises InvalidSeed. `variables` are those of `DIR/env`."""
    items = read(file)
    # The SDK finds the platform by these. This process is ours alone: nothing else in it reads them.
    os.environ.update(variables)
    os.environ.setdefault("TQDM_DISABLE", "1")
    clients: dict[str, MLClient] = {}
    for item in items:
        workspace = item.workspace or variables.get("AZUREML_WORKSPACE_DEV") or ""
        if not workspace:
            raise InvalidSeed(f"{item.kind} {item.name}: say in which workspace, the platform has none with the stage dev")
        try:
            client = clients.get(workspace) or clients.setdefault(workspace, _client(workspace, variables))
            made = _make(item, client, file)
        except Exception as error:
            # The SDK's errors have no common root, and all of them mean that this item could not be made.
            raise InvalidSeed(f"{item.kind} {item.name}: {str(error).strip() or type(error).__name__}") from error
        name = f"{item.name}:{item.version}" if item.version else item.name
        yield {"outcome": "made" if made else "there", "kind": item.kind, "name": name}


def read(file: Path) -> list[Item]:
    """Raises InvalidSeed."""
    try:
        found = yaml.safe_load(file.read_text())
        items = TypeAdapter(list[Item]).validate_python(found or [])
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidSeed(f"{file} can't be read: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise InvalidSeed(f"{file}: {where}: {first['msg']} (a list of items with kind and name)") from error
    for item in items:
        if item.kind in ("model", "data", "environment") and not item.version:
            raise InvalidSeed(f"{file}: {item.kind} {item.name} needs a version: without one, each run would make another")
        if item.kind == "deployment" and not (item.model_extra or {}).get("endpoint_name"):
            raise InvalidSeed(f"{file}: deployment {item.name} needs an endpoint_name")
    return items


def _client(workspace: str, variables: Mapping[str, str]) -> MLClient:
    from azure.ai.ml import MLClient
    from azure.identity import DefaultAzureCredential

    return MLClient(DefaultAzureCredential(), variables["AZURE_SUBSCRIPTION_ID"], variables["AZURE_RESOURCE_GROUP"], workspace)


def _make(item: Item, client: MLClient, file: Path) -> bool:
    """False when it is there already."""
    from azure.ai import ml
    from azure.core.exceptions import ResourceNotFoundError

    spec = item.model_dump(exclude={"kind", "workspace"}, exclude_defaults=True)

    def loaded(load: Callable[..., Any]) -> Any:
        return load(source=io.StringIO(yaml.safe_dump(spec)), relative_origin=str(file.resolve()))

    match item.kind:
        case "model" | "data" | "environment":
            assets: Any = {"model": client.models, "data": client.data, "environment": client.environments}[item.kind]
            load = {"model": ml.load_model, "data": ml.load_data, "environment": ml.load_environment}[item.kind]
            look, make = lambda: assets.get(item.name, item.version), lambda: assets.create_or_update(loaded(load))
        case "endpoint":
            endpoints = client.online_endpoints
            look = lambda: endpoints.get(item.name)  # noqa: E731
            make = lambda: endpoints.begin_create_or_update(loaded(ml.load_online_endpoint)).result()  # noqa: E731
        case "deployment":
            deployments, endpoint = client.online_deployments, str(spec["endpoint_name"])
            look = lambda: deployments.get(item.name, endpoint)  # noqa: E731
            make = lambda: _deploy(client, loaded(ml.load_online_deployment), spec)  # noqa: E731
    try:
        look()
    except ResourceNotFoundError:
        make()
        return True
    return False


def _deploy(client: MLClient, deployment: Any, spec: dict[str, Any]) -> None:
    """The first deployment of an endpoint gets its traffic, as with `az ml online-deployment create --all-traffic`."""
    client.online_deployments.begin_create_or_update(deployment).result()
    endpoint = client.online_endpoints.get(spec["endpoint_name"])
    if not endpoint.traffic:
        endpoint.traffic = {deployment.name: 100}
        client.online_endpoints.begin_create_or_update(endpoint).result()
