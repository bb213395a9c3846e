"""A plan's outlook: how long it will take, when it may begin, what it costs. Estimates, so they stand outside the plan's hash.

What nobody knows beforehand is not counted, and named: how long Azure provisions, how long people think.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from pilotage.domain.gate_specs import ALONE
from pilotage.domain.plan import Plan
from pilotage.domain.policy import PromotionPolicy, Stage
from pilotage.domain.strict import format_duration

HOURS_OF_A_MONTH = 730
CURRENCY_NOTE = "in the currency of the policy's instance_cost_per_hour, by list price: without discounts, storage and traffic"


def outlook(policy: PromotionPolicy, about: Plan | Literal["staging", "production"], at: datetime, window: dict[str, Any],
            gates_known: bool) -> dict[str, Any]:
    """The outlook of a stage from `at` on (aware); JSON.

    `window`: {"open", "opens_at", "closes_at", "why"} as the activity `window_state` answers it. `gates_known`: the gates were run,
    so their time is over; otherwise the longest that they may take is counted. A plan tells more than its stage's name: whether
    anything serves now that would be kept.
    """
    stage = policy.production if isinstance(about, Plan) or about == "production" else policy.staging
    parts = [] if gates_known else _gates(policy)
    if stage.name == "production":
        parts += [{"what": f"bake at {step.traffic} % of the traffic", "duration": format_duration(step.bake)}
                  for step in policy.rollout.steps if step.bake]
    gates = timedelta(0) if gates_known else _gates_time(policy)
    bakes = sum((step.bake for step in policy.rollout.steps), timedelta(0)) if stage.name == "production" else timedelta(0)
    earliest = _earliest(stage, at, gates, bakes, window)
    kept = stage.name == "production" and not (isinstance(about, Plan) and not about.prior.traffic)
    return {
        "estimated_duration": format_duration(gates + bakes), "parts": parts,
        "not_counted": ["provisioning by Azure", "what the checks take", "the decisions of people"],
        "window": {key: window.get(key) for key in ("open", "opens_at", "closes_at", "why")},
        "earliest_end": earliest.isoformat() if earliest else None,
        "cost": _cost(stage, bakes if stage.name == "production" else gates, policy.rollout.keep_previous if kept else timedelta(0)),
    }


def _earliest(stage: Stage, at: datetime, gates: timedelta, bakes: timedelta, window: dict[str, Any]) -> datetime | None:
    """When it may be over; None when no opening is known. The gates run while production waits, and after staging's own wait."""
    opens = at
    if not window["open"]:
        if window["opens_at"] is None:
            return None
        opens = datetime.fromisoformat(window["opens_at"])
    return max(at + gates, opens) + bakes if stage.name == "production" else max(at, opens) + gates


def _gates(policy: PromotionPolicy) -> list[dict[str, str]]:
    waves = _waves(policy)
    return [{"what": f"{what}, at most", "duration": format_duration(longest)} for what, longest in waves if longest]


def _gates_time(policy: PromotionPolicy) -> timedelta:
    return sum((longest for _, longest in _waves(policy)), timedelta(0))


def _waves(policy: PromotionPolicy) -> list[tuple[str, timedelta]]:
    """Gates run side by side, but for those that would disturb the others: they come after."""
    together = [gate.spec.timeout for gate in policy.staging.gates if gate.kind not in ALONE]
    alone = [gate.spec.timeout for gate in policy.staging.gates if gate.kind in ALONE]
    return [("gates side by side", max(together, default=timedelta(0))), ("gates that run alone", max(alone, default=timedelta(0)))]


def _cost(stage: Stage, lasting: timedelta, keep: timedelta) -> dict[str, Any]:
    """What the deployment costs; or why nobody can tell."""
    each = stage.target.instance_cost_per_hour
    if each is None:
        return {"unknown": f"the policy does not say what an instance costs: set target.instance_cost_per_hour of {stage.name}"}
    an_hour = each * stage.target.instances
    cost = {"currency_note": CURRENCY_NOTE, "instance_cost_per_hour": each, "during_rollout": _money(an_hour, lasting),
            "kept_previous": _money(an_hour, keep)}
    # Staging is taken down again: it costs nothing from month to month.
    return cost | {"per_month": round(an_hour * HOURS_OF_A_MONTH, 2) if stage.name == "production" else 0.0}


def _money(an_hour: float, lasting: timedelta) -> float:
    return round(an_hour * lasting.total_seconds() / 3600, 2)
