"""Activities on a production endpoint: its owner and epoch, its last-good split, its traffic.

Each traffic write checks the epoch before and after: a rollback that came in between has the last word,
because it writes until its split holds, and this writer stops.
"""

from __future__ import annotations

from activities.effect import effect
from pilotage.bootstrap import app
from pilotage.domain.phase import PromotionPhase
from pilotage.domain.plan import Plan
from pilotage.domain.rollout import check_sum, normal
from pilotage.errors import Busy
from pilotage.messages import LiveModel, Retained
from pilotage.planning import prior_state


def has_ended(owner: str) -> bool:
    """True when the owner's promotion is over, so that its ownership is only left behind.

    A rollback is not in this index, and keeps the endpoint until it is done: nobody rolls out over a rollback.
    """
    row = app().ledger.promotions.get(owner)
    return row is not None and PromotionPhase(row.phase).terminal


@effect
def acquire_endpoint(payload: dict) -> dict:
    """{"workspace", "endpoint", "promotion", "model", "version"} -> {"state": owned|busy|older, "epoch", "owner", "live"}."""
    got = app().ledger.endpoints.acquire(
        payload["workspace"], payload["endpoint"], payload["promotion"], payload["model"], payload["version"], has_ended)
    return {"state": got.state, "epoch": got.epoch, "owner": got.owner, "live": got.live.version if got.live else None}


@effect
def check_prior(payload: dict) -> dict:
    """{"plan"} -> {"differences"}: how production differs from what the approved plan expected."""
    plan = Plan.model_validate(payload["plan"])
    found = prior_state(app(), plan.workspace, plan.endpoint)
    expected = plan.prior
    differences = []
    if found.traffic != expected.traffic:
        differences.append(f"traffic is {found.traffic}, the plan expected {expected.traffic}")
    if found.models != expected.models:
        differences.append(f"models are {found.models}, the plan expected {expected.models}")
    return {"differences": differences}


@effect
def record_last_good(payload: dict) -> dict:
    """Read and keep what serves now, before the first change; the first record wins over every repeat."""
    this = app()
    workspace, endpoint = payload["workspace"], payload["endpoint"]
    kept = this.ledger.last_good.get(payload["promotion"])
    if kept is None:
        found = this.deployments.endpoint(workspace, endpoint)
        traffic = normal(found.traffic) if found else {}
        row = this.ledger.endpoints.get(workspace, endpoint)
        specs = {
            d.name: d.model_dump(mode="json", include={"workspace", "endpoint", "name", "model", "environment", "instance_type",
                                                       "instances", "tags"})
            for d in this.deployments.deployments(workspace, endpoint) if d.name in traffic
        }
        kept = this.ledger.last_good.record(payload["promotion"], {
            "traffic": traffic, "deployments": specs, "green": payload["name"], "keep": payload["keep"],
            "live": row.live.wire() if row and row.live else None})
    return {"last_good": kept}


@effect
def read_last_good(payload: dict) -> dict:
    """{"promotion"} -> {"last_good" | None}."""
    return {"last_good": app().ledger.last_good.get(payload["promotion"])}


@effect
def begin_traffic(payload: dict) -> dict:
    """{"workspace", "endpoint", "owner", "epoch", "traffic"}: refused StaleEpoch when a newer owner has the endpoint.

    A split that reads as wanted on an endpoint whose last change failed is written again: it may not be what serves.
    """
    this = app()
    workspace, endpoint, traffic = payload["workspace"], payload["endpoint"], payload["traffic"]
    check_sum(traffic)
    this.ledger.endpoints.check(workspace, endpoint, payload["owner"], payload["epoch"])
    found = this.deployments.endpoint(workspace, endpoint)
    if found is None or normal(found.traffic) != normal(traffic) or found.provisioning_state in ("Failed", "Canceled"):
        this.deployments.begin_set_traffic(workspace, endpoint, traffic)
    this.ledger.endpoints.check(workspace, endpoint, payload["owner"], payload["epoch"])
    return {}


@effect
def traffic_state(payload: dict) -> dict:
    """As `begin_traffic` -> {"settled", "holds", "traffic"}: the split as read back."""
    this = app()
    workspace, endpoint = payload["workspace"], payload["endpoint"]
    found = this.deployments.endpoint(workspace, endpoint)
    this.ledger.endpoints.check(workspace, endpoint, payload["owner"], payload["epoch"])
    if found is None:
        return {"settled": True, "holds": False, "traffic": {}}
    return {"settled": found.provisioning_state in ("Succeeded", "Failed", "Canceled"), "traffic": normal(found.traffic),
            "holds": found.provisioning_state == "Succeeded" and normal(found.traffic) == normal(payload["traffic"])}


@effect
def raise_epoch(payload: dict) -> dict:
    """{"workspace", "endpoint", "rollback", "promotion"} -> {"epoch", "displaced", "live"}: the owner from whom it was taken.

    The same rollback gets the same epoch again.
    """
    row = app().ledger.endpoints.raise_epoch(
        payload["workspace"], payload["endpoint"], payload["rollback"], payload.get("promotion"))
    return {"epoch": row.epoch, "displaced": row.displaced_owner, "live": row.live.wire() if row.live else None}


@effect
def release_endpoint(payload: dict) -> dict:
    """{"workspace", "endpoint", "owner", "epoch", "retained"[, "live"]} -> {"released"}; False when the epoch has moved on.

    Without `live` what is recorded as live stays; with `live` None nothing is live any more.
    """
    endpoints = app().ledger.endpoints
    row = endpoints.get(payload["workspace"], payload["endpoint"])
    live = row.live if row else None
    if "live" in payload:
        live = LiveModel.read(payload["live"]) if payload["live"] else None
    released = endpoints.release(payload["workspace"], payload["endpoint"], payload["owner"], payload["epoch"], live,
                                 [Retained.read(item) for item in payload["retained"]])
    return {"released": released}


@effect
def mark_rolled_back(payload: dict) -> dict:
    """{"promotion", "message", "at"}: show the promotion as rolled back, for good, also while it still writes its last entries."""
    promotions = app().ledger.promotions
    row = promotions.get(payload["promotion"])
    if row is not None and row.phase != PromotionPhase.ROLLED_BACK and not promotions.force_phase(
            row.id, row.phase, PromotionPhase.ROLLED_BACK.value, payload["message"], payload["at"]):
        raise Busy(f"{row.id} moved on from {row.phase} meanwhile")
    return {}
