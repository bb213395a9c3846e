"""Whom a drift alert is for: the policies whose production endpoint it is about."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence

from pilotage.domain.assets import Frozen
from pilotage.domain.drift import DriftAlert
from pilotage.domain.policy import PromotionPolicy

IsLive = Callable[[PromotionPolicy], bool | None]
"""Whether a model is live on the policy's production endpoint; None: no rollout ever asked for that endpoint."""


class Targets(Frozen):
    """The policies to act on; none, and the reason, when the alert is for nobody or nobody can tell for whom."""

    policies: list[PromotionPolicy] = []
    reason: str = ""


def drifting(alert: DriftAlert, policies: Sequence[PromotionPolicy], is_live: IsLive) -> Targets:
    """Find the policies. Alerts from staging, and of endpoints where nothing is live any more, are for nobody.

    A monitor's event names its workspace and no endpoint. Where several production endpoints are in that
    workspace, those with a live model come first, and then the monitor's name decides.
    """
    about = [policy for policy in policies if _is_about(alert, policy)]
    if not about:
        return Targets(reason=f"no policy has {_describe(alert)} in production: alerts from staging, and of what no policy "
                       "deploys, start nothing")
    ruled = [policy for policy in about if policy.on_drift is not None]
    if not ruled:
        return Targets(reason=f"{', '.join(policy.name for policy in about)} says nothing of on_drift")
    # An endpoint that no rollout ever asked for may well serve: somebody deployed to it before Pilotage did.
    awake = [policy for policy in ruled if is_live(policy) is not False]
    if not awake:
        return Targets(reason=f"{_describe(alert)} has no live model: an idle endpoint does not drift")
    if alert.endpoint or alert.model or len(awake) == 1:
        return Targets(policies=awake)
    live = [policy for policy in awake if is_live(policy)]
    if len(live) == 1:
        return Targets(policies=live)
    named = [policy for policy in live or awake if _is_named(policy, alert)]
    if len(named) == 1:
        return Targets(policies=named)
    return Targets(reason=f"{_describe(alert)} may mean {', '.join(policy.name for policy in named or live or awake)}: tag the monitor "
                   "with pilotage.endpoint, or name it after its endpoint")


def _is_about(alert: DriftAlert, policy: PromotionPolicy) -> bool:
    stage = policy.production
    if not (alert.workspace or alert.endpoint or alert.model):
        return False
    if alert.workspace and alert.workspace.casefold() != stage.workspace.casefold():
        return False
    if alert.endpoint and alert.endpoint.casefold() != stage.target.endpoint.casefold():
        return False
    return not alert.model or fnmatch.fnmatchcase(alert.model.casefold(), policy.match.model.casefold())


def _is_named(policy: PromotionPolicy, alert: DriftAlert) -> bool:
    """Signals are commonly called `<monitor>_<signal>`, and monitors after what they watch."""
    told = _folded(f"{alert.signal} {alert.metrics.get('experiment', '')}")
    return any(f" {_folded(name)} " in f" {told} " for name in (policy.production.target.endpoint, policy.name))


def _folded(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", " ", text.casefold()).strip()


def _describe(alert: DriftAlert) -> str:
    told = [f"workspace {alert.workspace}" if alert.workspace else "", f"endpoint {alert.endpoint}" if alert.endpoint else "",
            f"model {alert.model}" if alert.model else ""]
    return ", ".join(text for text in told if text) or "nothing"
