"""Telling people. A decision link is made here and goes nowhere else: it is a secret, and histories are readable."""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime
from urllib.parse import quote

from activities.effect import effect
from pilotage.bootstrap import App, app
from pilotage.domain.approval import tally
from pilotage.domain.canonical import digest
from pilotage.domain.notices import ASKED_FOR_STAGING, DECISIONS, WHY
from pilotage.errors import PilotageError, Throttled, Unavailable
from pilotage.messages import ApprovalRequest, PromotionRow
from pilotage.planning import prospects, signature_changes
from pilotage.ports import LinkClaims, Notification

log = logging.getLogger("pilotage.notify")
CHANGES = 5
"""Differences of a signature that a message tells; the page tells all."""
WORST = ("failed", "errored", "inconclusive", "waived")


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
    base, promotion, kind = this.settings.base_url.rstrip("/"), payload["promotion"], payload["kind"]
    row = this.ledger.promotions.get(promotion)
    # An incident of drift has no page of its own.
    link, token, decision = f"{base}/api/ui/promotions/{quote(promotion, safe='')}" if row is not None else "", "", ""
    facts, gates, prospect = {str(name): str(text) for name, text in payload["facts"].items()}, {}, {}
    if kind in DECISIONS:
        claims = LinkClaims(promotion=promotion, stage=payload["stage"], plan_hash=payload["plan_hash"], round=payload["round"])
        token = this.tickets.issue(claims, datetime.fromisoformat(payload["expires_at"]))
        link = f"{base}/api/ui/approvals/{quote(promotion, safe='')}?token={quote(token, safe='')}"
        decision = f"{base}/api/approvals/{promotion}/decision"
        asked = this.ledger.approvals.current(promotion)
        if row is not None and asked is not None and asked.plan_hash == payload["plan_hash"]:
            facts, prospect = _about(this, row, asked) | facts, prospects(this, row, asked)
            gates = _gates(this, promotion) if asked.stage == "production" else {}
    why = ASKED_FOR_STAGING if (kind, payload.get("stage")) == ("awaiting_approval", "staging") else WHY.get(kind, "")
    return Notification(
        kind=kind, title=payload["title"], why=why, text=payload["text"], promotion=promotion, link=link, decision_url=decision,
        link_token=token, facts=facts, gates=gates, outlook=prospect)


def _about(this: App, row: PromotionRow, asked: ApprovalRequest) -> dict[str, str]:
    """What is asked: which version, against what serves now, and of whom."""
    plan, rule = asked.plan, asked.ballot.rule
    serving = ", ".join(f"{_version(plan.prior.models.get(name, ''))} {share} %" for name, share in plan.prior.traffic.items())
    counted = tally(asked.ballot, this.ledger.approvals.votes(asked))
    endpoint = this.ledger.endpoints.get(plan.workspace, plan.endpoint)
    changes = [str(change) for change in signature_changes(this, endpoint.live.promotion, row.id)] if endpoint and endpoint.live else []
    more = f"; {len(changes) - CHANGES} more" if len(changes) > CHANGES else ""
    found = {
        "version": f"{row.model}:{row.version}", "target": f"{plan.workspace}/{plan.endpoint}",
        "serves now": serving or ("nothing" if asked.stage == "production" else ""), "signature": "; ".join(changes[:CHANGES]) + more,
        "votes": f"{len(counted.approvals)} of {rule.quorum} approvals",
        "who may decide": ", ".join(asked.ballot.approvers(this.clock.now())), "one of each": ", ".join(rule.one_of_each)}
    return {name: text for name, text in found.items() if text}


def _gates(this: App, promotion: str) -> dict[str, str]:
    """How many of each outcome, then what each gate found, the worst first."""
    entries = this.ledger.passports.entries(promotion)
    results: list[dict] = next((entry.data.get("results", []) for entry in reversed(entries)
                                if (entry.kind, entry.step) == ("outcome", "staging.gates")), [])
    told = [("waived" if result.get("waived") else str(result["outcome"]), result) for result in results]
    counts = Counter(outcome for outcome, _ in told)
    worst = sorted(told, key=lambda item: WORST.index(item[0]) if item[0] in WORST else len(WORST))
    lines = {str(result["gate"]): f"{outcome}: {result['message']}" for outcome, result in worst}
    return {"in all": ", ".join(f"{number} {outcome}" for outcome, number in counts.items()), **lines} if lines else {}


def _version(asset_id: str) -> str:
    """`air-time:1` of an asset's id."""
    parts = asset_id.split("/")
    return f"{parts[-3]}:{parts[-1]}" if len(parts) > 3 and parts[-2] == "versions" else asset_id
