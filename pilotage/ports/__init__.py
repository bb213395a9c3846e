"""What the app needs from outside, as protocols. Adapters implement them; tests use the in-memory doubles.

Every method may raise `Throttled`, `Unavailable` or `Busy` (try again) and `PermissionDenied`.
Calls block and set their own timeouts (at most two minutes); they run in the worker's thread pool.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

from pilotage.domain.policy import Guardrails, PromotionPolicy
from pilotage.ports.azureml import (
    Answer,
    ArtifactFile,
    Deployments,
    DeploymentSpec,
    DeploymentState,
    EndpointState,
    Jobs,
    JobSpec,
    JobState,
    ModelRegistry,
    ProgramSpec,
    ProgramStep,
    ScoringAddress,
    StepsSpec,
)
from pilotage.ports.people import FormClaims, Groups, Identity, LinkClaims, Notification, Notifier, Tickets
from pilotage.ports.stores import Records, Rows, Signer

__all__ = [
    "Answer", "ArtifactFile", "Clock", "DeploymentSpec", "DeploymentState", "Deployments", "EndpointState", "FormClaims",
    "Groups", "Identity", "JobSpec", "JobState", "Jobs", "LinkClaims", "ModelRegistry", "Notification", "Notifier",
    "Orchestrator", "PolicySource", "ProgramSpec", "ProgramStep", "Records", "Rows", "ScoringAddress", "Signer", "StepsSpec",
    "Tickets",
]


class Clock(Protocol):
    def now(self) -> datetime:
        """UTC, aware. Orchestrations never use it: they have their context's time."""


class PolicySource(Protocol):
    """Where policies come from. A policy that can't be read is an error of that policy only."""

    def policies(self) -> Sequence[PromotionPolicy]: ...

    def guardrails(self) -> Guardrails: ...

    def problems(self) -> Iterable[str]:
        """Why policies were left out, each with file, line and fix."""


class Orchestrator(Protocol):
    """The durable client, as far as triggers use it."""

    def state(self, instance_id: str) -> str | None:
        """Runtime status (`PENDING`, `RUNNING`, `COMPLETED`, `FAILED`, `TERMINATED`, ...); None: no such instance."""

    def start(self, orchestration: str, instance_id: str, message: dict[str, Any]) -> None:
        """Durable when it returns; a second start of one id is a success that starts nothing."""

    def raise_event(self, instance_id: str, event: str, data: dict[str, Any]) -> None: ...
