"""Whether something may be done now, by the policy's windows and the platform's freezes."""

from __future__ import annotations

from activities.effect import effect


@effect
def window_state(payload: dict) -> dict:
    """{"policy", "stage", "at", "what", "workspace", "model"} -> {"open", "opens_at", "why"}."""
    return {"open": True, "opens_at": None, "why": ""}
