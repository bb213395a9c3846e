"""What follows a delivery that failed: another attempt, or giving up. Pure decisions.

Source: "Event Grid message delivery and retry" of the Azure documentation. Its randomisation and its delays for
endpoints that keep failing are asked for by a subscription: without, tests which move the clock know where they are.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

SCHEDULE = tuple(timedelta(seconds=s) for s in (10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600))
"""From one attempt to the next; the last goes on to the end of the event's time to live."""
_AT_LEAST = {404: timedelta(minutes=5), 408: timedelta(minutes=2), 503: timedelta(seconds=30)}
_OUTCOMES = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 408: "TimedOut", 413: "PayloadTooLarge",
             429: "Busy", 503: "Busy"}
_UNDELIVERABLE = {400: "BadRequest", 401: "Unauthorized", 403: "Forbidden", 413: "RequestEntityTooLarge"}
"""No attempt would do better; for webhooks 401 is one of them."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt went: the HTTP status (None: no answer) and Event Grid's word for it."""

    status: int | None
    word: str

    @classmethod
    def of(cls, status: int) -> Outcome:
        return cls(status, "Success" if 200 <= status <= 204 else _OUTCOMES.get(status, "GenericError"))

    @property
    def delivered(self) -> bool:
        return self.word == "Success"


@dataclass(frozen=True, slots=True)
class Again:
    """Try again at a time."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Dead-letter, or drop; `reason` is what the dead letter says."""

    reason: str


def after(outcome: Outcome, attempts: int, max_attempts: int, now: datetime, spread: float = 0) -> Again | GiveUp:
    """What follows attempt number `attempts`, which failed. The wait grows by a share of it, `spread`."""
    if outcome.status in _UNDELIVERABLE:
        return GiveUp(f"UndeliverableDueToHttp{_UNDELIVERABLE[outcome.status]}")
    if attempts >= max_attempts:
        return GiveUp("MaxDeliveryAttemptsExceeded")
    wait = SCHEDULE[min(attempts, len(SCHEDULE)) - 1]
    return Again(now + max(wait, _AT_LEAST.get(outcome.status or 0, timedelta())) * (1 + spread))


def spread(jitter: float, seed: int, number: int, attempt: int) -> float:
    """Between 0 and `jitter`: the same for the same delivery, attempt and seed, whatever else happens."""
    return random.Random(f"{seed}/{number}/{attempt}").random() * jitter  # noqa: S311 - spreads load, guards nothing


class Health:
    """How an endpoint has been doing: after ten failures in a row it is left alone for a while, then tried once.

    Azure documents the number ("the first 10 events") and how long an outcome keeps an endpoint in probation.
    """

    PATIENCE = 10
    _PROBATION = {"NotFound": 300, "SocketError": 30, "Unauthorized": 300, "Forbidden": 300}
    _OTHERWISE = 10

    def __init__(self) -> None:
        self.failures = 0
        self.until: datetime | None = None
        """End of the probation."""

    @property
    def is_doubtful(self) -> bool:
        """One attempt at a time is enough to see whether it is back."""
        return self.failures >= self.PATIENCE

    def saw(self, outcome: Outcome, now: datetime) -> None:
        if outcome.delivered:
            self.failures, self.until = 0, None
            return
        self.failures += 1
        if self.is_doubtful:
            self.until = now + timedelta(seconds=self._PROBATION.get(outcome.word, self._OTHERWISE))


def expired(published: datetime, now: datetime, ttl_minutes: int) -> bool:
    """Looked at when an attempt is due, and only then: as in Azure, an event may outlive its time while it waits."""
    return now - published > timedelta(minutes=ttl_minutes)
