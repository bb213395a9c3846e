"""Whether something may be done now, by the policy's windows and the platform's freezes."""

from __future__ import annotations

from datetime import datetime

from activities.effect import effect
from pilotage.bootstrap import app
from pilotage.domain.policy import PromotionPolicy
from pilotage.domain.windows import freezes_for, state
from pilotage.errors import InvalidPolicy


@effect
def window_state(payload: dict) -> dict:
    """{"policy", "stage", "at", "what", "workspace", "model"} -> {"open", "opens_at", "closes_at", "why"}.

    Windows are those of the pinned policy; freezes are the policy's and those of the guardrails as they are now. Guardrails that
    can't be read hold: whoever froze the platform would not want a typo to let a rollout through.
    """
    policy = PromotionPolicy.from_wire(payload["policy"])
    stage = policy.staging if payload["stage"] == "staging" else policy.production
    try:
        freezes = [*policy.freezes, *app().policies.guardrails().freezes]
    except InvalidPolicy as error:
        return {"open": False, "opens_at": None, "closes_at": None, "why": f"the guardrails can't be read: {error}"}
    windows = stage.windows if stage.windows and payload["what"] in stage.windows.covers else None
    found = state(windows, freezes_for(freezes, payload["workspace"], payload["model"]), datetime.fromisoformat(payload["at"]))
    return found.model_dump(mode="json")
