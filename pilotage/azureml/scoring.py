"""Scoring requests, sent by ourselves: the SDK's `invoke` keeps its headers for every later call of the process."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock

import httpx

from pilotage.azure_errors import azure_errors
from pilotage.azureml.connections import WORKSPACE_ROLE, Connections
from pilotage.errors import Unavailable
from pilotage.ports import Answer, ScoringAddress

DEPLOYMENT_HEADER = "azureml-model-deployment"


@dataclass(frozen=True)
class _Access:
    """How an endpoint is reached: a secret, so it is shown by no repr."""

    url: str
    secret: str

    def __repr__(self) -> str:
        return f"_Access({self.url})"


class Scoring:
    """Sends requests to endpoints; their keys or tokens are read when first needed, and again when refused."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections
        self._known: dict[tuple[str, str], _Access] = {}
        self._lock = Lock()

    def score(self, workspace: str, endpoint: str, body: bytes, deployment: str | None) -> Answer:
        """One request, to the deployment or by the traffic's dice. Raises Unavailable when nothing answers, NotFound."""
        answer = self._send(self._access(workspace, endpoint), body, deployment)
        if answer.status == 401:
            self.forget(workspace, endpoint)  # a regenerated key, an expired token
            answer = self._send(self._access(workspace, endpoint), body, deployment)
        return answer

    def address(self, workspace: str, endpoint: str, deployment: str) -> ScoringAddress:
        """URL and headers of one deployment. The secret is read anew: a long load test must not end by an old token."""
        self.forget(workspace, endpoint)
        access = self._access(workspace, endpoint)
        return ScoringAddress(url=access.url, headers=_headers(access, deployment))

    def forget(self, workspace: str, endpoint: str) -> None:
        """Read the endpoint's address and secret again next time."""
        with self._lock:
            self._known.pop(_key(workspace, endpoint), None)

    def _access(self, workspace: str, endpoint: str) -> _Access:
        with self._lock:
            known = self._known.get(_key(workspace, endpoint))
        if known is not None:
            return known
        client = self._connections.workspace(workspace).client
        with azure_errors(f"get access to endpoint {workspace}/{endpoint}", WORKSPACE_ROLE):
            url = client.online_endpoints.get(endpoint).scoring_uri
            keys = client.online_endpoints.get_keys(endpoint)
        if not url:
            raise Unavailable(f"endpoint {workspace}/{endpoint} has no scoring address yet")
        # Keys, or with Entra authentication a token: the endpoint says which.
        access = _Access(url, getattr(keys, "primary_key", None) or getattr(keys, "access_token", None) or "")
        with self._lock:
            self._known[_key(workspace, endpoint)] = access
        return access

    def _send(self, access: _Access, body: bytes, deployment: str | None) -> Answer:
        headers = _headers(access, deployment)
        started = time.perf_counter()
        try:
            response = self._connections.http.post(access.url, content=body, headers=headers)
        except httpx.HTTPError as error:
            raise Unavailable(f"{access.url} did not answer: {type(error).__name__}: {error}") from error
        return Answer(status=response.status_code, body=response.text, seconds=time.perf_counter() - started,
                      deployment=response.headers.get(DEPLOYMENT_HEADER, ""))


def _headers(access: _Access, deployment: str | None) -> dict[str, str]:
    headers = {"Authorization": f"Bearer {access.secret}", "Content-Type": "application/json", "Accept": "application/json"}
    return headers if deployment is None else headers | {DEPLOYMENT_HEADER: deployment}


def _key(workspace: str, endpoint: str) -> tuple[str, str]:
    return workspace.casefold(), endpoint.casefold()
