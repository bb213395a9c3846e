"""Run history: what Azure ML's own records say of a job, among it the object id of who submitted it."""

from __future__ import annotations

from threading import Lock
from typing import Any
from urllib.parse import quote

import httpx

from pilotage.azure_errors import of_status
from pilotage.azureml.connections import WORKSPACE_ROLE, Connections, Workspace
from pilotage.errors import NotFound, Unavailable


class RunHistory:
    """Reads runs from the service that a workspace's discovery document names."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._services: dict[str, str] = {}
        self._lock = Lock()

    def run(self, workspace: Workspace, job: str) -> dict[str, Any] | None:
        """A run's record; None when there is none."""
        url = f"{self._service(workspace)}/history/v1.0{workspace.settings.arm_id}/runs/{job}"
        try:
            return self._get(url, f"read the history of job {job}", workspace.management_token())
        except NotFound:
            return None

    def metrics(self, workspace: Workspace, run: str) -> dict[str, float]:
        """Last values that a run logged by MLflow; empty when there is no such run, or it logged none."""
        url = f"{self._service(workspace)}/mlflow/v1.0{workspace.settings.arm_id}/api/2.0/mlflow/runs/get?run_id={quote(run)}"
        try:
            found = self._get(url, f"read the metrics of job {run}", workspace.management_token())
        except NotFound:
            return {}
        logged = ((found.get("run") or {}).get("data") or {}).get("metrics") or []
        return {str(metric["key"]): float(metric["value"]) for metric in logged}

    def _service(self, workspace: Workspace) -> str:
        with self._lock:
            if workspace.settings.arm_id not in self._services:
                document = self._get(workspace.details.discovery_url, f"discover the services of workspace {workspace.name}")
                url = document.get("history") or document.get("api") or ""
                if not url.startswith("https://"):
                    raise Unavailable(f"workspace {workspace.name}: its discovery document names no run history service")
                self._services[workspace.settings.arm_id] = url.rstrip("/")
            return self._services[workspace.settings.arm_id]

    def _get(self, url: str, what: str, token: str | None = None) -> dict[str, Any]:
        try:
            response = self._connections.http.get(url, headers={"Authorization": f"Bearer {token}"} if token else {})
        except httpx.HTTPError as error:
            raise Unavailable(f"{what}: {error}") from error
        if not response.is_success:
            raise of_status(response.status_code, what, WORKSPACE_ROLE)
        try:
            found = response.json()
        except ValueError as error:
            raise Unavailable(f"{what}: the answer is not JSON") from error
        return found if isinstance(found, dict) else {}


def owner(run: dict[str, Any]) -> tuple[str, str | None]:
    """(display name, object id or None) of who submitted a run."""
    created_by = run.get("createdBy") or {}
    return str(created_by.get("userName") or "unknown"), created_by.get("userObjectId") or None


def failure(run: dict[str, Any]) -> str:
    """What a run says of why it failed; empty when it says nothing."""
    error = (run.get("error") or {}).get("error") or {}
    return str(error.get("message") or "")[:1000]
