"""Faults of delivery on demand: a duplicate, another order, a delay, an answer that is lost. In memory only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from emulator.event_grid.store import Delivery

type Kind = Literal["duplicate", "reorder", "delay", "drop_ack"]


class DeliveryFault(BaseModel):
    """What a test asks for.

    `duplicate`: the next `count` requests are sent twice. `drop_ack`: the endpoint gets the next `count` requests and
    answers, and Event Grid behaves as if the answer was lost. `delay`: the next `count` events wait `delay_seconds`
    (virtual). `reorder`: the next `count` events, at least two, are delivered one after the other, the newest first;
    fewer of them once the first is overdue by `delay_seconds`.
    """

    model_config = ConfigDict(extra="forbid")

    subscription: str
    kind: Kind
    count: int = Field(1, ge=1, le=5000)
    delay_seconds: float = Field(10, ge=0, le=86400)


@dataclass
class _Fault:
    number: int
    rule: DeliveryFault
    since: datetime
    hits: int = 0
    seen: set[int] = field(default_factory=set)


class DeliveryFaults:
    """Those in force, oldest first. A fault that has had all of its hits stays in the list and does nothing."""

    def __init__(self) -> None:
        self._faults: dict[int, _Fault] = {}
        self._numbers = itertools.count(1)

    def add(self, rule: DeliveryFault, now: datetime) -> int:
        fault = _Fault(next(self._numbers), rule, now)
        self._faults[fault.number] = fault
        return fault.number

    def remove(self, number: int) -> bool:
        return self._faults.pop(number, None) is not None

    def clear(self) -> None:
        self._faults.clear()

    def list(self) -> Sequence[dict[str, Any]]:
        return [{"id": fault.number, "hits": fault.hits, **fault.rule.model_dump()} for fault in self._faults.values()]

    def takes(self, subscription: str, kind: Kind) -> bool:
        """True when a request of this subscription is hit; it is counted."""
        fault = self._open(subscription, kind)
        if fault is None:
            return False
        fault.hits += 1
        return True

    def delays(self, delivery: Delivery) -> timedelta | None:
        """How long an event has to wait that is due; each fault delays it once."""
        fault = self._open(delivery.subscription, "delay", delivery.number)
        if fault is None:
            return None
        fault.hits += 1
        fault.seen.add(delivery.number)
        return timedelta(seconds=fault.rule.delay_seconds)

    def held_for_order(self, subscription: str) -> int:
        """How many events the reordering of a subscription waits for; 0: none is in force."""
        fault = self._open(subscription, "reorder")
        return 0 if fault is None else max(fault.rule.count, 2)

    def reordered(self, subscription: str, waiting: Sequence[Delivery], now: datetime) -> Sequence[Delivery] | datetime:
        """Those to deliver now, one after the other in this order; or until when more are awaited."""
        fault = self._open(subscription, "reorder")
        assert fault is not None
        wanted = max(fault.rule.count, 2)
        until = max(fault.since, min(delivery.due for delivery in waiting)) + timedelta(seconds=fault.rule.delay_seconds)
        if len(waiting) < wanted and now < until:
            return until
        fault.hits = fault.rule.count
        return sorted(waiting[:wanted], key=lambda delivery: delivery.number, reverse=True)

    def _open(self, subscription: str, kind: Kind, unseen: int | None = None) -> _Fault | None:
        return next((fault for fault in self._faults.values()
                     if fault.rule.kind == kind and fault.rule.subscription == subscription and fault.hits < fault.rule.count
                     and unseen not in fault.seen), None)
