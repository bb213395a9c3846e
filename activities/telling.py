"""Telling people. A decision link is made here and goes nowhere else: it is a secret, and histories are readable."""

from __future__ import annotations

import logging
from datetime import datetime
from urllib.parse import quote

from activities.effect import effect
from pilotage.bootstrap import App, app
from pilotage.domain.canonical import digest
from pilotage.errors import PilotageError, Throttled, Unavailable
from pilotage.planning import prospects
from pilotage.ports import LinkClaims, Notification

log = logging.getLogger("pilotage.notify")
DECISIONS = ("awaiting_approval", "plan_changed", "reminder", "escalated")
"""Kinds that ask for a decision, and so carry a link."""


@effect
def notify(payload: dict) -> dict:
    """{"kind", "promotion", "title", "text", "facts"[, "stage", "plan_hash", "round", "expires_at", "channels", "key"]}
    -> {"channels": {name: "told" | "told before" | "failed: ..."}}.

    A channel that was told is not told again by a repeat. Raises Unavailable while one that may yet accept it does not.
    """
    this = app()
    key, promotion, at = payload.get("key") or digest(payload), payload["promotion"], this.clock.now().isoformat(timespec="seconds")
    notification = _notification(this, payload)
    found: dict[str, str] = {}
    failing: list[str] = []
    channels = this.notifier.names(list(payload.get("channels") or []))
    if not channels:
        log.warning("neither PILOTAGE_NOTIFY_CHANNELS nor PILOTAGE_NOTIFY_WEBHOOK is set; not told: %s (%s, %s)",
                    payload["title"], payload["kind"], promotion)
    for channel in channels:
        if this.ledger.channels.told(promotion, key, channel):
            this.ledger.channels.note(promotion, key, channel, at)  # a crash may have come between the note and the channel's row
            found[channel] = "told before"
            continue
        try:
            this.notifier.send(notification, channel)
        except PilotageError as error:
            this.ledger.channels.note(promotion, key, channel, at, str(error))
            found[channel] = f"failed: {error}"
            failing += [str(error)] if isinstance(error, Unavailable | Throttled) else []
            continue
        this.ledger.channels.note(promotion, key, channel, at)
        found[channel] = "told"
    if failing:
        raise Unavailable("; ".join(failing))
    return {"channels": found}


def _notification(this: App, payload: dict) -> Notification:
    base, promotion = this.settings.base_url.rstrip("/"), payload["promotion"]
    link, token, decision = f"{base}/api/ui/promotions/{quote(promotion, safe='')}", "", ""
    facts = dict(payload["facts"])
    if payload["kind"] in DECISIONS:
        claims = LinkClaims(promotion=promotion, stage=payload["stage"], plan_hash=payload["plan_hash"], round=payload["round"])
        token = this.tickets.issue(claims, datetime.fromisoformat(payload["expires_at"]))
        link = f"{base}/api/ui/approvals/{quote(promotion, safe='')}?token={quote(token, safe='')}"
        decision = f"{base}/api/approvals/{promotion}/decision"
        row, asked = this.ledger.promotions.get(promotion), this.ledger.approvals.current(promotion)
        facts |= prospects(this, row, asked) if row is not None and asked is not None else {}
    return Notification(kind=payload["kind"], title=payload["title"], text=payload["text"], promotion=promotion, link=link,
                        decision_url=decision, link_token=token, facts=facts)
