"""Deterministic names: the same meaning always gets the same name, so a repeat finds what is there.

Limits are Azure's: durable instance ids and table keys may hold none of `/\\#?`; online deployment
names have 3 to 32 characters, begin with a letter and hold letters, digits and `-`.
"""

from __future__ import annotations

import re
from datetime import datetime

from pilotage.domain.canonical import short_hash

INSTANCE_ID_LIMIT = 100
REHEARSAL_UNTIL = "pilotage-until"
"""Tag of what a rehearsal made: when it may be taken away, whatever became of the rehearsal."""


def slug(text: str, limit: int) -> str:
    """Lower-case letters, digits and single dashes, at most `limit` characters, never empty."""
    cleaned = re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")[:limit].strip("-")
    return cleaned or "x"


def promotion_id(source_id: str, model: str, version: str, policy: str, attempt: int = 1) -> str:
    """The durable instance id of one promotion.

    `source_id` is the ARM id of the workspace, or `azureml://registries/{r}` for a model that was
    registered in the registry directly. Ids are case-insensitive in Azure, so all is folded.
    """
    tail = short_hash(source_id.casefold(), model.casefold(), version.casefold(), policy.casefold())
    return f"promote-{slug(model, 32)}-{slug(version, 12)}-{tail}-{attempt}"


def rollback_id(promotion: str, number: int) -> str:
    """The instance id of the n-th rollback of a promotion."""
    return f"rollback-{promotion}-{number}"


def promotion_of(passport: str) -> str | None:
    """The promotion that a rollback's passport is of: one that was asked for, or a child's of the promotion; None for others."""
    if (asked := re.fullmatch(r"rollback-(promote-.+)-\d+", passport)) is not None:
        return asked[1]
    parent, colon, _ = passport.partition(":")
    return parent if colon else None


def incident_id(policy: str, endpoint: str, number: int) -> str:
    """The instance id of the n-th drift incident of a policy's endpoint."""
    return f"drift-{slug(policy, 40)}-{short_hash(policy.casefold(), endpoint.casefold())}-{number}"


def child_id(parent: str, step: str) -> str:
    """The instance id of a sub-orchestration: readable, unique, within the limit."""
    name = f"{parent}:{step}"
    if len(name) <= INSTANCE_ID_LIMIT:
        return name
    return f"{name[: INSTANCE_ID_LIMIT - 13]}-{short_hash(name)}"


def rehearsal_tags(until: datetime) -> dict[str, str]:
    """Tags of what `pilotage gates run` makes, by which the sweeper finds it when its own end did not come."""
    return {"pilotage-role": "rehearsal", REHEARSAL_UNTIL: until.isoformat()}


def staging_deployment(promotion: str) -> str:
    """The candidate's deployment on a shared staging endpoint: `c` and a hash."""
    return f"c{short_hash(promotion)}"


def production_deployment(version: str, promotion: str) -> str:
    """A production deployment: readable by its model version, unique by its promotion."""
    return f"v{slug(version, 16)}-{short_hash(promotion, length=8)}"


def retraining_job(incident: str, attempt: int) -> str:
    """The Azure ML job name of one retraining: a repeat of the submission finds the same job."""
    return f"retrain-{slug(incident, 90)}-{attempt}"


def gate_job(promotion: str, gate: str) -> str:
    """The Azure ML job of one gate of one promotion: a repeat of the submission finds the same job."""
    return f"gate-{slug(gate, 40)}-{short_hash(promotion, gate)}"


def endpoint_key(workspace: str, endpoint: str) -> str:
    """The ledger's key of an endpoint's ownership row."""
    return f"{workspace.casefold()}|{endpoint.casefold()}"
