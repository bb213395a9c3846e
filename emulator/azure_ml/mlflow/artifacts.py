"""Artifacts, proxied: what a plain MLflow client uploads and downloads without credentials for the storage account.

`mlflow-artifacts:/ExperimentRun/dcid.<run>/...` and `.../LoggedModels/<id>/...` lie in the workspace's artifact store
under just these paths, where Azure ML has them too; `mlflow-artifacts:/Models/<name>/<version>/...` reads a registered
model wherever it lies.
"""

from __future__ import annotations

import asyncio
import mimetypes
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from emulator.azure_ml.jobs.data import ARTIFACTS
from emulator.azure_ml.locations import BlobLocation
from emulator.azure_ml.mlflow.calls import Call, Json, Table
from emulator.azure_ml.mlflow.errors import invalid, missing
from emulator.azure_ml.mlflow.run_view import artifact_uri
from emulator.azure_ml.mlflow.runs import Runs
from emulator.azure_ml.resource import Scope

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

SCHEME = "mlflow-artifacts:/"
_STORE = "azureml://datastores/workspaceartifactstore/paths/"
_RUNS, _LOGGED, _MODELS = "ExperimentRun", "LoggedModels", "Models"


class Artifacts:
    def __init__(self, azure_ml: AzureMl, runs: Runs) -> None:
        self._azure_ml = azure_ml
        self._runs = runs

    def table(self) -> Table:
        return {"GET artifacts/list": self.list_of_run}

    async def list_of_run(self, call: Call) -> Json:
        run, path = self._runs.find(call), checked(call.fields.optional("path") or "")
        root = self._azure_ml.locations.blob(ARTIFACTS.format(run=run.name), call.scope)
        return {"root_uri": artifact_uri(run), "files": await self._listed(root, path, path)}

    async def list_of_path(self, call: Call) -> Json:
        """The proxy's own list: names are relative to the path asked for."""
        path = checked(call.fields.optional("path") or "")
        return {"files": await self._listed(self._location(call.scope, path, write=False), "", "")}

    async def download(self, scope: Scope, path: str) -> Response:
        location = self._location(scope, checked(path), write=False)
        if location.path not in await self._names(location):
            raise missing(f"There is no artifact {path}.")
        content = await asyncio.to_thread(self._azure_ml.context.storage.read, location.account, location.container, location.path)
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(location.name)}", "X-Content-Type-Options": "nosniff"}
        return Response(content, media_type=mimetypes.guess_type(location.name)[0] or "application/octet-stream", headers=headers)

    async def upload(self, scope: Scope, path: str, content: bytes) -> Response:
        location = self._location(scope, checked(path), write=True)
        storage = self._azure_ml.context.storage
        await asyncio.to_thread(storage.ensure_container, location.account, location.container)
        await asyncio.to_thread(storage.write, location.account, location.container, location.path, content)
        return Response("{}", media_type="application/json")

    def _location(self, scope: Scope, path: str, *, write: bool) -> BlobLocation:
        kind, _, rest = path.partition("/")
        owner, _, below = rest.partition("/")
        if write and not below and kind in (_RUNS, _LOGGED):
            raise invalid(f"Invalid artifact path {path!r}: it names no file.")
        match kind:
            case "ExperimentRun" if owner.startswith("dcid."):
                self._runs.named(scope, owner.removeprefix("dcid."))
                return self._azure_ml.locations.blob(_STORE + quote(path), scope)
            case "LoggedModels" if self._azure_ml.store.get(f"{scope.id}/loggedmodels/{owner}"):
                return self._azure_ml.locations.blob(_STORE + quote(path), scope)
            case "Models" if not write:
                version, _, inside = below.partition("/")
                _, model = self._azure_ml.locations.asset(f"azureml:{owner}:{version}", "models", scope)
                root = self._azure_ml.locations.blob(model["properties"]["modelUri"], scope)
                return root.at(root.container, "/".join(part for part in (root.path, inside) if part))
        raise missing(f"There is no place for artifacts at {path!r}.")

    async def _listed(self, root: BlobLocation, path: str, shown: str) -> list[Json]:
        """Files and folders right below `path` of a root; nothing for a path that is a file, as MLflow has it."""
        place = root.at(root.container, "/".join(part for part in (root.path, path) if part))
        below = f"{place.path}/" if place.path else ""
        found: dict[str, bool] = {}
        for name in await self._names(place):
            if name.startswith(below):
                first, _, more = name[len(below) :].partition("/")
                found[first] = found.get(first, False) or bool(more)
        prefix = f"{shown}/" if shown else ""
        return [{"path": prefix + name, "is_dir": folder} for name, folder in sorted(found.items())]

    async def _names(self, location: BlobLocation) -> list[str]:
        return await asyncio.to_thread(self._azure_ml.context.storage.list, location.account, location.container, location.path)


def checked(path: str) -> str:
    """A path without slashes at its ends; raises for one that leads elsewhere."""
    parts = path.strip("/").split("/")
    if any(part in (".", "..") for part in parts) or "\\" in path or "\0" in path or (len(parts) > 1 and "" in parts):
        raise invalid(f"Invalid artifact path {path!r}.")
    return path.strip("/")


def model_uri(name: str, version: str) -> str:
    """Where a plain client downloads a registered model from."""
    return f"{SCHEME}{_MODELS}/{name}/{version}"
