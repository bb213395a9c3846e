"""Telling people. A decision link is made here and goes nowhere else: it is a secret, and histories are readable."""

from __future__ import annotations

from datetime import datetime

from activities.effect import effect
from pilotage.bootstrap import app
from pilotage.ports import LinkClaims, Notification

DECISIONS = ("awaiting_approval", "plan_changed", "reminder", "escalated")
"""Kinds that ask for a decision, and so carry a link."""


@effect
def notify(payload: dict) -> dict:
    """{"kind", "promotion", "title", "text", "facts"[, "stage", "plan_hash", "round", "expires_at", "channels", "key"]}."""
    this = app()
    link = token = decision = ""
    if payload["kind"] in DECISIONS:
        claims = LinkClaims(promotion=payload["promotion"], stage=payload["stage"], plan_hash=payload["plan_hash"], round=payload["round"])
        token = this.tickets.issue(claims, datetime.fromisoformat(payload["expires_at"]))
        base = this.settings.base_url.rstrip("/")
        link = f"{base}/api/promotions/{payload['promotion']}"
        decision = f"{base}/api/approvals/{payload['promotion']}/decision"
    this.notifier.send(Notification(kind=payload["kind"], title=payload["title"], text=payload["text"], promotion=payload["promotion"],
                                    link=link, decision_url=decision, link_token=token, facts=payload["facts"]))
    return {}
