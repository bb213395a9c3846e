"""Kinds of messages to people: why each is told, and which ask for a decision."""

from __future__ import annotations

DECISIONS = ("awaiting_approval", "plan_changed", "reminder", "escalated")
"""These carry a link that opens the review."""

WHY = {
    "awaiting_approval": "Its gates have passed and your decision is asked for.",
    "plan_changed": "What would happen has changed since you were asked: earlier approvals are void.",
    "reminder": "It still waits for a decision.",
    "escalated": "Those first asked have not decided, so you may now.",
    "decided": "The decision is taken.",
    "superseded": "A newer version asks for the same place.",
    "waiting_window": "A change window or a freeze holds it; it goes on by itself.",
    "review_due": "The glass was broken, and that must be reviewed by somebody else.",
    "drift_notified": "A model in production drifts, and its policy leaves the answer to people.",
    "drift_errored": "A model in production drifts, and the answer to it failed: somebody has to look.",
    "test": "Somebody tests this channel. There is nothing to do.",
}
ASKED_FOR_STAGING = "Nothing is measured yet: your decision on the test itself is asked for."
