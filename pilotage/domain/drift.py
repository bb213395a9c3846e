"""Drift: an alert in one form whatever its source, and what an incident may do about it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pilotage.domain.assets import Frozen
from pilotage.domain.canonical import short_hash
from pilotage.domain.policy import OnDrift


class DriftAlert(Frozen):
    """One alert about one endpoint or model, from a monitor run, a custom topic or Azure Monitor."""

    source: str
    """`model_monitor`, `dataset_drift`, `custom` or `azure_monitor`."""
    key: str
    """What makes two deliveries the same alert (workspace and run id; the alert's own id)."""
    workspace: str | None = None
    endpoint: str | None = None
    model: str | None = None
    signal: str = ""
    summary: str = ""
    raised_at: str = ""
    metrics: dict[str, Any] = {}

    @property
    def hash(self) -> str:
        return short_hash(self.source, self.key, length=24)


class PastRun(Frozen):
    """A retraining that was started earlier."""

    incident: str
    started_at: str


class DriftDecision(Frozen):
    """What to do about an incident, and why."""

    action: str
    """`retrain`, `notify` or `suppress`."""
    reason: str


def decide(rule: OnDrift, past: Sequence[PastRun], now: datetime) -> DriftDecision:
    """Cool down and budget count from the starts of earlier retrainings (`now` in UTC)."""
    if rule.action == "notify":
        return DriftDecision(action="notify", reason="the policy asks for people, not for retraining")
    starts = sorted(datetime.fromisoformat(run.started_at) for run in past)
    if starts and now - starts[-1] < rule.cooldown:
        until = (starts[-1] + rule.cooldown).isoformat(timespec="seconds")
        return DriftDecision(action="suppress", reason=f"cooling down until {until} after the last retraining")
    recent = [start for start in starts if now - start < rule.budget.per]
    if len(recent) >= rule.budget.runs:
        return DriftDecision(action="suppress", reason=f"the budget of {rule.budget.runs} retrainings is used up until "
                             f"{(recent[0] + rule.budget.per).isoformat(timespec='seconds')}")
    return DriftDecision(action="retrain", reason=f"retraining {len(recent) + 1} of {rule.budget.runs} in the budget's time")
