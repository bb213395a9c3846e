"""Activities of the sweeper. Whether a thing may go is decided here, on what is read now, not on what was found before."""

from __future__ import annotations

from datetime import datetime

from activities.effect import effect
from pilotage.bootstrap import app
from pilotage.domain.names import child_id
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.rollout import normal
from pilotage.messages import EndpointRow

PROMOTION_TAG = "pilotage-promotion"


@effect
def reap(payload: dict) -> dict:
    """{"promotion", "at"} -> {"rollback": {...} | None}: close a promotion whose instance is gone; say what must be undone."""
    ledger = app().ledger
    row = ledger.promotions.get(payload["promotion"])
    if row is None or PromotionPhase(row.phase).terminal:
        return {"rollback": None}
    was = PromotionPhase(row.phase)
    owned = ledger.endpoints.get(row.workspace, row.endpoint) if row.endpoint else None
    undo = None
    if was is PromotionPhase.ROLLING_OUT and owned is not None and owned.owner == row.id and ledger.last_good.get(row.id) is not None:
        undo = {"id": child_id(row.id, "reaped"), "promotion": row.id, "workspace": row.workspace, "endpoint": row.endpoint}
    else:
        ledger.promotions.force_phase(row.id, row.phase, PromotionPhase.TERMINATED.value,
                                      f"its orchestration ended while {was.value}; retry to start again", payload["at"])
    return {"rollback": undo}


@effect
def find_orphans(payload: dict) -> dict:
    """{"at"} -> {"orphans": [{"workspace", "endpoint", "name", "promotion", "why"}]}.

    An orphan carries our tag, takes no traffic, is not live, is not kept for a rollback, and its promotion is over.
    """
    this = app()
    at = datetime.fromisoformat(payload["at"])
    orphans = []
    for workspace in sorted({stage.workspace for policy in this.policies.policies() for stage in policy.stages}):
        for endpoint in this.deployments.endpoints(workspace):
            row = this.ledger.endpoints.get(workspace, endpoint.name)
            for deployment in this.deployments.deployments(workspace, endpoint.name):
                promotion = deployment.tags.get(PROMOTION_TAG)
                if promotion is None or deployment.name in normal(endpoint.traffic) or deployment.provisioning_state == "Deleting":
                    continue
                why = _why_orphaned(row, deployment.name, promotion, at)
                if why:
                    orphans.append({"workspace": workspace, "endpoint": endpoint.name, "name": deployment.name,
                                    "promotion": promotion, "why": why})
    return {"orphans": orphans[:50]}


def _why_orphaned(row: EndpointRow | None, name: str, promotion: str, at: datetime) -> str | None:
    if row is not None:
        if row.live is not None and row.live.deployment == name:
            return None
        kept = [item for item in row.retained if item.deployment == name]
        if kept:
            return "kept long enough" if datetime.fromisoformat(kept[0].until) <= at else None
        if row.owner is not None and row.owner == promotion:
            return None
    found = app().ledger.promotions.get(promotion)
    if found is None:
        return "its promotion is unknown to the ledger"
    return f"its promotion is {found.phase}" if PromotionPhase(found.phase).terminal else None


@effect
def drop_retained(payload: dict) -> dict:
    """{"workspace", "endpoint", "name"}: it is gone, so nothing is kept."""
    app().ledger.endpoints.drop_retained(payload["workspace"], payload["endpoint"], payload["name"])
    return {}
