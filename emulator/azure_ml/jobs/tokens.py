"""A job's own token: what `AZUREML_RUN_TOKEN` and `MLFLOW_TRACKING_TOKEN` hold inside a job.

As in Azure ML it is a JSON Web Token that the workspace signs for one run: it speaks for the identity that jobs act
as, in the run's workspace only, and is worth nothing once the run has ended.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emulator.access import wrong_audience
from emulator.azure_ml.jobs.logs import signing_key
from emulator.azure_ml.jobs.outputs import job_caller
from emulator.azure_ml.jobs.runs import TRACKED, Run, Runs
from emulator.azure_ml.resource import PROVIDER, Scope
from emulator.context import Caller, Unauthorized

if TYPE_CHECKING:
    from emulator.azure_ml.service import AzureMl

_HEADER = {"alg": "HS256", "typ": "JWT"}
_ROLE = "Contributor"
_TRACKING = (f"{PROVIDER}/workspaces/experiments/", f"{PROVIDER}/workspaces/metadata/artifacts/")
"""The actions that a run's own token is made for."""


@dataclass(frozen=True, slots=True)
class RunCaller(Caller):
    """A job that speaks for itself, by its run's token."""


class RunTokens:
    def __init__(self, azure_ml: AzureMl, runs: Runs, key: Path) -> None:
        self._azure_ml = azure_ml
        self._runs = runs
        self._key = signing_key(key)

    def issue(self, run: Run) -> str:
        claims = {"iss": "azureml", "role": _ROLE, "scope": run.scope_id, "runId": run.name, "attempt": run.attempts}
        signed = f"{_encode(_HEADER)}.{_encode(claims)}"
        return f"{signed}.{self._signature(signed)}"

    def caller(self, authorization: str | None, scope: Scope) -> Caller:
        """Who sent a request to a workspace's data plane: a run, or whoever a platform token names.

        Raises `Unauthorized`, for a token that is meant for another service too.
        """
        token = (authorization or "").removeprefix("Bearer ").strip()
        claims = self._claims(token)
        if claims is None:
            caller = self._azure_ml.context.identity.caller(authorization)
            if (wrong := wrong_audience(caller, self._azure_ml.context.base_url)) is not None:
                raise Unauthorized(wrong)
            return caller
        if str(claims.get("scope", "")).lower() != scope.id.lower():
            raise Unauthorized("The token of a run is for the run's own workspace.")
        run = self._runs.find(scope.id, str(claims.get("runId")))
        if run is None or run.terminal:
            raise Unauthorized("The run of this token has ended.")
        job = job_caller(self._azure_ml)
        return RunCaller(job.object_id, job.name, job.client_id)

    def require(self, caller: Caller, action: str, scope: Scope, run: Run | None = None) -> None:
        """Raise `Forbidden` unless a caller may do `action` in a workspace, on `run` when it is about one.

        A job may track itself wherever it runs, whatever its identity's roles: by its run's token anything of its
        workspace, by a token of the identity that jobs act as only a run that a job of the platform is busy with.
        """
        going_on = run is not None and run.kind != TRACKED and not run.terminal
        own = isinstance(caller, RunCaller) or (going_on and caller.object_id == job_caller(self._azure_ml).object_id)
        if not (own and action.startswith(_TRACKING)):
            self._azure_ml.permissions.require(caller, action, scope)

    def _claims(self, token: str) -> dict[str, Any] | None:
        """The claims of a token that this platform signed for a run; None for any other."""
        signed, _, signature = token.rpartition(".")
        if not signed or not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            return None
        payload = signed.partition(".")[2]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        return claims if isinstance(claims, dict) else None

    def _signature(self, signed: str) -> str:
        digest = hmac.new(self._key, signed.encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def _encode(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
