"""The evidence card: what, why now, what was found, what it costs, and where to decide. Plain text: every channel shows it."""

from __future__ import annotations

from pilotage.ports import Notification

LONGEST = 120
"""Characters of a title."""

_WHY = {
    "awaiting_approval": "Its gates have passed and your decision is asked for.",
    "plan_changed": "What would happen has changed since you were asked: earlier approvals are void.",
    "reminder": "It still waits for a decision.",
    "escalated": "Those first asked have not decided, so you may now.",
    "decided": "The decision is taken.",
    "superseded": "A newer version asks for the same place.",
    "waiting_window": "A change window or a freeze holds it; it goes on by itself.",
    "review_due": "The glass was broken, and that must be reviewed by somebody else.",
}


def card(notification: Notification) -> tuple[str, str]:
    """(title, text) for a channel of people."""
    title = " ".join(notification.title.split())
    lines = [_WHY.get(notification.kind, ""), notification.text, ""]
    lines += [f"{name}: {text}" for name, text in notification.facts.items()]
    what = "Look at it and decide" if notification.link_token else "Look at it"
    lines += ["", f"{what}: {notification.link}" if notification.link else ""]
    return title if len(title) <= LONGEST else title[: LONGEST - 1] + "…", "\n".join(lines).strip()
