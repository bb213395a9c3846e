"""A command's files: code and inputs brought here from the storage account, outputs and logs taken there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.azure_ml.jobs.failures import RunFailed
from emulator.azure_ml.locations import BlobLocation, Locations
from emulator.azure_ml.resource import Scope
from emulator.azure_ml.scopes import Scopes
from emulator.context import Storage

Json = dict[str, Any]

ARTIFACTS = "azureml://datastores/workspaceartifactstore/paths/ExperimentRun/dcid.{run}/"
_OUTPUT = "azureml://datastores/workspaceblobstore/paths/azureml/{run}/{output}"
"""Where Azure ML puts an output that names no place of its own."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One run's folder in the platform's state."""

    root: Path

    @property
    def code(self) -> Path:
        return self.root / "code"

    @property
    def inputs(self) -> Path:
        return self.root / "inputs"

    @property
    def outputs(self) -> Path:
        return self.root / "outputs"

    @property
    def home(self) -> Path:
        return self.root / "home"

    @property
    def logs(self) -> Path:
        """Mirrors the artifact store: `user_logs/std_log.txt`."""
        return self.root / "logs"

    def prepare(self) -> None:
        """Empty, whatever an attempt that was cut off has left; the log goes on."""
        self.discard()
        for folder in (self.code, self.inputs, self.outputs, self.home, self.logs):
            folder.mkdir(parents=True, exist_ok=True)

    def discard(self) -> None:
        """Everything but the logs."""
        for folder in (self.code, self.inputs, self.outputs, self.home):
            shutil.rmtree(folder, ignore_errors=True)


class Data:
    """Blocking: call it in a thread."""

    def __init__(self, locations: Locations, scopes: Scopes, storage: Storage) -> None:
        self._locations = locations
        self._scopes = scopes
        self._storage = storage

    def fetch_code(self, code: Json | None, folder: Folder) -> None:
        if code is not None:
            self._fetch(self._locations.blob(code["uri"], self._scopes.of_id(code["id"])), folder.code)

    def fetch_input(self, name: str, value: Json, mode: str | None, scope: Scope, folder: Folder) -> str:
        """An input as the command sees it: its text, the path of its file or folder here, or (mode direct) its address."""
        if "literal" in value:
            return str(value["literal"])
        home = self._scopes.of_id(value["scope"]) if value.get("scope") else scope
        location = self._locations.blob(value["uri"], home)
        if (mode or "").lower() == "direct":
            return self._locations.datastore_uri(location, scope) or location.url
        found = self._fetch(location, folder.inputs / name)
        if found is None:
            raise RunFailed("DataAccessError", f"The input {name} was not found at {value['uri']}.")
        return str(found)

    def output_path(self, name: str, definition: Json, folder: Folder) -> str:
        """Where the command writes an output: a folder that exists, or a file that does not yet."""
        path = folder.outputs / name
        if definition["type"] != "uri_file":
            path.mkdir(parents=True, exist_ok=True)
        return str(path)

    def store_output(self, name: str, definition: Json, run_name: str, scope: Scope, folder: Folder) -> Json:
        """Upload an output; returns `{"type", "uri"}`."""
        source = folder.outputs / name
        uri = output_uri(name, definition, run_name)
        location = self._locations.blob(uri, scope)
        if definition["type"] == "uri_file":
            if not source.is_file():
                raise RunFailed("UserError", f"The command did not write its output {name}.")
            self._storage.ensure_container(location.account, location.container)
            self._storage.write(location.account, location.container, location.path, source.read_bytes())
            return {"type": definition["type"], "uri": uri}
        self._storage.upload(location.account, location.container, location.path, source)
        return {"type": definition["type"], "uri": uri.rstrip("/") + "/"}

    def store_logs(self, run_name: str, scope: Scope, folder: Folder) -> None:
        if any(folder.logs.rglob("*")):
            location = self._locations.blob(ARTIFACTS.format(run=run_name), scope)
            self._storage.upload(location.account, location.container, location.path, folder.logs)

    def _fetch(self, location: BlobLocation, target: Path) -> Path | None:
        """Bring a blob, or all blobs below a path, to `target`; returns the file or folder, None if there is none."""
        names = self._storage.list(location.account, location.container, location.path)
        if location.path in names:
            target.mkdir(parents=True, exist_ok=True)
            file = target / location.name
            file.write_bytes(self._storage.read(location.account, location.container, location.path))
            return file
        below = location.path + "/" if location.path else ""
        if not any(name.startswith(below) for name in names):
            return None
        self._storage.download(location.account, location.container, below, target)
        return target


def output_uri(name: str, definition: Json, run_name: str) -> str:
    """An output's address: what was asked for with its placeholders filled in, or Azure ML's default."""
    asked = definition.get("uri")
    if not asked:
        return _OUTPUT.format(run=run_name, output=name)
    return (
        str(asked)
        .replace("${{name}}", run_name)
        .replace("${{output_name}}", name)
        .replace("${{default_datastore}}", "workspaceblobstore")
    )
