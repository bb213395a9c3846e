"""Activities of the sweeper. Whether a thing may go is decided here, on what is read now, not on what was found before."""

from __future__ import annotations

from datetime import datetime

from activities.effect import effect
from activities.production import has_ended
from pilotage.bootstrap import app
from pilotage.domain.names import REHEARSAL_UNTIL
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.rollout import normal
from pilotage.errors import PilotageError
from pilotage.messages import EndpointRow, PromotionRow
from pilotage.ports import DeploymentState, EndpointState

PROMOTION_TAG = "pilotage-promotion"
DELETING = "Deleting"
ORPHANS_AT_ONCE = 40
"""What one answer holds at the names' longest; the next sweep takes the rest."""


@effect
def reap(payload: dict) -> dict:
    """{"promotion", "at"} -> {"rollback": {...} | None}: close a promotion whose instance is gone; say what must be undone."""
    ledger = app().ledger
    row = ledger.promotions.get(payload["promotion"])
    if row is None or PromotionPhase(row.phase).terminal:
        return {"rollback": None}
    owned = ledger.endpoints.get(row.workspace, row.endpoint) if row.endpoint else None
    if owned is not None and _is_left_halfway(row, owned):
        return {"rollback": {"promotion": row.id, "workspace": row.workspace, "endpoint": row.endpoint}}
    if owned is not None and owned.live is not None and owned.live.promotion == row.id:
        phase, message = PromotionPhase.SUCCEEDED, "its rollout was over before its orchestration ended"
    else:
        phase, message = PromotionPhase.TERMINATED, f"its orchestration ended while {row.phase}; retry to start again"
    ledger.promotions.force_phase(row.id, row.phase, phase.value, message, payload["at"])
    return {"rollback": None}


def _is_left_halfway(row: PromotionRow, owned: EndpointRow) -> bool:
    """True while the promotion's traffic may stand: it owns the endpoint, or its rollback took that and did not end well.

    (A rollback that ends well shows the promotion as rolled back, and then nobody asks.)
    """
    last_good = app().ledger.last_good.get(row.id)
    if last_good is None:
        return False
    if owned.owner == row.id:
        return True
    if owned.rollback is None or owned.owner not in (None, owned.rollback) or row.id not in owned.displaced:
        return False
    accepted = app().ledger.passports.entries(owned.rollback)[:1]
    live = owned.live.wire() if owned.live else None
    return live == last_good["live"] and all(entry.data.get("promotion") == row.id for entry in accepted)


@effect
def find_orphans(payload: dict) -> dict:
    """{"at"} -> {"orphans": [{"workspace", "endpoint", "name", "promotion", "why"}], "unread": [why]}.

    An orphan carries our tag, takes no traffic, is not live, is not kept for a rollback, its promotion is over, and
    nobody is at work on its endpoint; or a rehearsal made it that should have ended long ago. A workspace that can't be
    read does not hide the others' orphans.
    """
    this = app()
    at = datetime.fromisoformat(payload["at"])
    policies = this.policies.policies()
    workspaces = {stage.workspace for policy in policies for stage in policy.stages}
    workspaces |= {policy.match.workspace for policy in policies if policy.match.workspace}  # where rehearsals are
    orphans, unread = [], []
    for workspace in sorted(workspaces | {row.workspace for row in this.ledger.endpoints.all()}):
        try:
            for endpoint in this.deployments.endpoints(workspace):
                orphans += [_orphan(found, why) for found in this.deployments.deployments(workspace, endpoint.name)
                            if (why := _why_orphaned(endpoint, found, at))]
        except PilotageError as error:
            if error.retryable:
                raise
            unread.append(f"{workspace}: {type(error).__name__}: {error}"[:300])
    return {"orphans": orphans[:ORPHANS_AT_ONCE], "unread": unread[:ORPHANS_AT_ONCE // 10]}


@effect
def remove_orphan(payload: dict) -> dict:
    """{"workspace", "endpoint", "name", "at"} -> {"begun"}: False when it is no orphan any more (a rollback may want it back)."""
    deployments = app().deployments
    where = (payload["workspace"], payload["endpoint"])
    endpoint, found = deployments.endpoint(*where), deployments.deployment(*where, payload["name"])
    if endpoint is None or found is None or found.provisioning_state == DELETING:
        return {"begun": True}
    if _why_orphaned(endpoint, found, datetime.fromisoformat(payload["at"])) is None:
        return {"begun": False}
    deployments.begin_delete_deployment(*where, payload["name"])
    return {"begun": True}


def _orphan(found: DeploymentState, why: str) -> dict[str, str]:
    return {"workspace": found.workspace, "endpoint": found.endpoint, "name": found.name, "promotion": found.tags.get(PROMOTION_TAG, ""),
            "why": why}


def _why_orphaned(endpoint: EndpointState, found: DeploymentState, at: datetime) -> str | None:
    """Why a deployment may go; None while anybody may still want it, and for what is not ours."""
    if found.name in normal(endpoint.traffic) or found.provisioning_state == DELETING:
        return None
    if (until := found.tags.get(REHEARSAL_UNTIL)) is not None:
        return "its rehearsal should have ended long ago" if _is_over(until, at) else None
    promotion = found.tags.get(PROMOTION_TAG)
    if promotion is None:
        return None
    row = app().ledger.endpoints.get(found.workspace, found.endpoint)
    if row is not None:
        if row.owner is not None and not has_ended(row.owner):
            return None  # a rollback may just be bringing it back
        if row.live is not None and row.live.deployment == found.name:
            return None
        kept = [item for item in row.retained if item.deployment == found.name]
        if kept:
            return "kept long enough" if datetime.fromisoformat(kept[0].until) <= at else None
    known = app().ledger.promotions.get(promotion)
    # A promotion that this ledger does not know is another Pilotage's, which shares the workspace.
    return f"its promotion is {known.phase}" if known is not None and PromotionPhase(known.phase).terminal else None


def _is_over(until: str, at: datetime) -> bool:
    """False for a tag that somebody else wrote: what can't be read is nobody's to delete."""
    try:
        return datetime.fromisoformat(until) <= at
    except (ValueError, TypeError):
        return False


@effect
def drop_retained(payload: dict) -> dict:
    """{"workspace", "endpoint", "name"}: it is gone, so nothing is kept."""
    app().ledger.endpoints.drop_retained(payload["workspace"], payload["endpoint"], payload["name"])
    return {}
