"""Orchestrations: plain durabletask generators. Order, timers, waits, compensation; no I/O, clock or settings."""

from __future__ import annotations

from orchestrations.approval import approval
from orchestrations.drift import drift
from orchestrations.gate import gate
from orchestrations.promotion import promotion
from orchestrations.retraining import retraining
from orchestrations.rollback import rollback
from orchestrations.rollout import rollout
from orchestrations.staging import staging
from orchestrations.sweep import sweep
from orchestrations.telling import tell_people

ORCHESTRATORS = (promotion, staging, gate, approval, rollout, rollback, drift, retraining, sweep, tell_people)
