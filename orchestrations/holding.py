"""Held by a change window or a freeze: the promotion waits for the next opening, and is never rejected for the hour.

What is open is decided in an activity: the zones' rules and the platform's freezes change while a promotion waits,
and a replay must not see that. Rollbacks never come here.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from durabletask import task

from activities.names import Activity
from orchestrations.evidence import Evidence, iso, now
from orchestrations.steps import PATIENT, Steps, call
from orchestrations.telling import tell
from pilotage.domain.phase import PromotionPhase
from pilotage.messages import PromotionRequest

LOOK_AGAIN = timedelta(hours=12)
"""A freeze may be lifted before its time: somebody looks twice a day."""


def hold(ctx: task.OrchestrationContext, wanted: PromotionRequest, evidence: Evidence, stage: str, what: Literal["approval", "rollout"],
         woken: list[task.Task[Any]] | None = None) -> Steps:
    """Wait until this may be done, and be in the same phase afterwards as before.

    Ends early, without looking further, when one of the tasks `woken` is complete: the caller knows what they mean.
    """
    policy = wanted.parsed_policy()
    place = policy.staging if stage == "staging" else policy.production
    before, told = evidence.phase, ""
    while True:
        state = yield from call(ctx, Activity.WINDOW_STATE, {
            "policy": wanted.policy, "stage": stage, "at": iso(now(ctx)), "what": what, "workspace": place.workspace,
            "model": wanted.source.name}, PATIENT)
        if state["open"]:
            break
        opens = state["opens_at"]
        if state["why"] != told:
            until = f"until {opens}" if opens else "and no opening is in sight"
            yield from evidence.enter(PromotionPhase.WAITING_WINDOW, f"the {what} is held {until}: {state['why']}", held_until=opens or "")
            if not told:
                tell(ctx, wanted, "waiting_window", f"{wanted.source.name}:{wanted.source.version} is held {until}", state["why"],
                     {"opens": opens or "not foreseen"}, key=f"{stage}/{what}/{opens}")
            told = state["why"]
        soonest = now(ctx) + LOOK_AGAIN
        opening = ctx.create_timer(min(datetime.fromisoformat(opens), soonest) if opens else soonest)
        winner = yield task.when_any([opening, *(woken or [])])
        if winner is not opening:
            opening.cancel()
            break
    if told:
        yield from evidence.enter(before, held_until="")
