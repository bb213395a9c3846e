"""What a deployment runs on: its model, code and logs, materialised on this machine."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

from emulator.azure_ml.errors import AzureMlError, BadRequest, OperationFailed
from emulator.azure_ml.locations import Locations
from emulator.azure_ml.resource import Scope
from emulator.azure_ml.scorers import ScorerSpec
from emulator.azure_ml.store import Resource
from emulator.azure_ml.transfers import fetch
from emulator.context import Clock, Storage

LOGS = {"inferenceserver": "inference-server.log", "storageinitializer": "storage-initializer.log"}
"""The containers of a deployment, in lower case, and the files that keep what they print."""
CURATED = "azureml://registries/azureml/"
"""Microsoft's own registry: its environments are taken as they are named."""


class Materials:
    """Folders below `root`, one a deployment: endpoint names are unique in the platform's region.

    Nothing is shared between deployments or revisions: each sees what its blobs were when it was made.
    """

    def __init__(
        self, root: Path, locations: Locations, storage: Storage, clock: Clock, mlflow_script: Path
    ) -> None:
        self._root = root
        self._locations = locations
        self._storage = storage
        self._clock = clock
        self._mlflow_script = mlflow_script

    async def prepare(self, scope: Scope, deployment: Resource, revision: str) -> ScorerSpec:
        """Fetch model and code for a revision; raises `OperationFailed` for what is missing or unfit."""
        properties = deployment["properties"]
        deployment_id, home = deployment["id"], self.home(deployment["id"], revision)
        try:
            model = await self._model(scope, properties.get("model"), deployment_id, home)
            self._check_environment(scope, properties.get("environmentId"))
            if code := properties.get("codeConfiguration"):
                script, code_dir = await self._code(scope, code, deployment_id, home)
            elif model is not None and model["properties"].get("modelType") == "mlflow_model":
                script, code_dir = self._mlflow_script, home / "code"
                code_dir.mkdir(parents=True, exist_ok=True)
            else:
                raise BadRequest(
                    "Scoring script and environment are required: only MLflow models are deployed without."
                )
        except AzureMlError as missing:
            raise OperationFailed(missing.message, code="BadArgument") from missing
        variables: dict[str, Any] = properties.get("environmentVariables") or {}
        return ScorerSpec(
            entry_script=str(script),
            model_dir=str(home / "model") if model is not None else None,
            cwd=str(code_dir),
            home=str(home),
            log=str(self._folder(deployment_id) / LOGS["inferenceserver"]),
            environment={name: str(value) for name, value in variables.items()},
        )

    def home(self, deployment_id: str, revision: str) -> Path:
        """The folder of all that is fetched for a revision."""
        return self._folder(deployment_id) / revision

    def note(self, deployment_id: str, line: str) -> None:
        """Add a line to the log of the storage initializer."""
        folder = self._folder(deployment_id)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / LOGS["storageinitializer"]).open("a") as log:
            log.write(f"{self._clock.now():%Y-%m-%dT%H:%M:%S} {line}\n")

    def log(self, deployment_id: str, container: str, lines: int) -> str:
        """The end of a container's log; raises `BadRequest` for a container that there isn't."""
        name = LOGS.get(container.lower())
        if name is None:
            raise BadRequest(f"containerType {container!r} is not InferenceServer or StorageInitializer.")
        path = self._folder(deployment_id) / name
        if not path.exists():
            return ""
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) + "\n"

    def discard_revision(self, home: str | Path) -> None:
        shutil.rmtree(home, ignore_errors=True)

    def discard(self, deployment_id: str) -> None:
        shutil.rmtree(self._folder(deployment_id), ignore_errors=True)

    async def _model(
        self, scope: Scope, reference: str | None, deployment_id: str, home: Path
    ) -> Resource | None:
        if not reference:
            return None
        owner, model = self._locations.asset(reference, "models", scope)
        location = self._locations.blob(model["properties"]["modelUri"], owner)
        self.note(deployment_id, f"Downloading model {model['id']} from {location.url}")
        await asyncio.to_thread(fetch, self._storage, location, home / "model")
        return model

    async def _code(
        self, scope: Scope, code: dict[str, Any], deployment_id: str, home: Path
    ) -> tuple[Path, Path]:
        """The scoring script and the folder it is in."""
        owner, snapshot = self._locations.asset(code["codeId"], "codes", scope)
        location = self._locations.blob(snapshot["properties"]["codeUri"], owner)
        self.note(deployment_id, f"Downloading code from {location.url}")
        fetched = await asyncio.to_thread(fetch, self._storage, location, home / "snapshot")
        folder = (fetched if fetched.is_dir() else fetched.parent).resolve()
        script = (folder / code["scoringScript"]).resolve()
        if not script.is_file() or not script.is_relative_to(folder):
            raise BadRequest(f"The scoring script {code['scoringScript']} is not in the code.")
        return script, folder

    def _check_environment(self, scope: Scope, reference: str | None) -> None:
        """The environment must exist; every deployment runs in the inference image, whatever it names."""
        if reference and not reference.lower().startswith(CURATED):
            self._locations.asset(reference, "environments", scope)

    def _folder(self, deployment_id: str) -> Path:
        *_, endpoint, _, deployment = deployment_id.lower().split("/")
        return self._root / endpoint / deployment
