"""The phases of a promotion, and which of them are final."""

from __future__ import annotations

from enum import StrEnum


class PromotionPhase(StrEnum):
    """Where a promotion stands. Failed is the model's fault; Errored is ours or Azure's."""

    ACCEPTED = "accepted"
    RESOLVING = "resolving"
    REGISTERING = "registering"
    STAGING = "staging"
    PLANNING = "planning"
    AWAITING_APPROVAL = "awaiting_approval"
    WAITING_WINDOW = "waiting_window"
    """Held by a change window or a freeze, until the next opening."""
    QUEUED = "queued"
    ROLLING_OUT = "rolling_out"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    ERRORED = "errored"
    REJECTED = "rejected"
    EXPIRED = "expired"
    SUPERSEDED = "superseded"
    """A newer version asks for the same place, and this one was not decided on."""
    HELD = "held"
    SKIPPED = "skipped"
    ROLLED_BACK = "rolled_back"
    TERMINATED = "terminated"

    @property
    def terminal(self) -> bool:
        """True when nothing more happens by itself."""
        return self in _TERMINAL

    @property
    def retryable(self) -> bool:
        """True when `POST /promotions/{id}/retry` may start the next attempt."""
        return self.terminal and self not in (PromotionPhase.SUCCEEDED, PromotionPhase.SKIPPED)

    @property
    def touches_production(self) -> bool:
        """True when production traffic may have been changed: what a rollback acts on.

        A window may hold a rollout between two of its steps, and a rollback passes then too.
        """
        return self in (PromotionPhase.ROLLING_OUT, PromotionPhase.WAITING_WINDOW, PromotionPhase.SUCCEEDED, PromotionPhase.ERRORED,
                        PromotionPhase.TERMINATED, PromotionPhase.ROLLED_BACK)


_TERMINAL = frozenset({
    PromotionPhase.SUCCEEDED, PromotionPhase.FAILED, PromotionPhase.INCONCLUSIVE, PromotionPhase.ERRORED,
    PromotionPhase.REJECTED, PromotionPhase.EXPIRED, PromotionPhase.SUPERSEDED, PromotionPhase.HELD, PromotionPhase.SKIPPED,
    PromotionPhase.ROLLED_BACK, PromotionPhase.TERMINATED,
})
