"""The plan: exactly what will change in production. Its hash is what people approve.

Intent is hashed: digests, targets, steps, the approval rule and the prior state we expect.
Estimates and times stand outside the hash.
"""

from __future__ import annotations

from typing import Any

from pilotage.domain.assets import Frozen
from pilotage.domain.canonical import digest


class PriorState(Frozen):
    """What serves before the rollout; a rollout refuses to start from another."""

    exists: bool
    traffic: dict[str, int] = {}
    """Deployment -> percent, without zeros."""
    models: dict[str, str] = {}
    """Deployment with traffic -> model asset id."""


class Plan(Frozen):
    """What a rollout will do."""

    schema_: int = 1
    promotion: str
    stage: str = "production"
    model: str
    """Asset id of the registry's model version."""
    model_digest: str
    environment: str | None
    environment_definition: str
    """`sha256:...`, or `unpinned`."""
    workspace: str
    endpoint: str
    deployment: str
    instance_type: str
    instances: int
    steps: list[dict[str, Any]]
    """[{"traffic": percent, "for": ISO duration}]."""
    keep_previous: str
    approval: dict[str, Any] | str
    policy: str
    policy_hash: str
    evidence: list[dict[str, Any]]
    """Gate, outcome and digest of each gate's evidence."""
    prior: PriorState
    resources: list[dict[str, str]] = []
    """Everything that will be made, changed or removed, in order: [{"action", "resource", "detail"}]."""

    @property
    def hash(self) -> str:
        """`sha256:<hex>` of the canonical JSON."""
        return digest(self.model_dump(mode="json"))


def plan_differences(approved: Plan, current: Plan) -> list[str]:
    """The fields in which two plans differ, for telling people why an approval is void."""
    one, two = approved.model_dump(mode="json"), current.model_dump(mode="json")
    return [f"{name}: {one[name]!r} -> {two[name]!r}" for name in one if one[name] != two[name] and name != "resources"]
