"""Which events go to an endpoint together.

Source: "Event Grid message delivery and retry", batching: never more events than asked for; about the preferred size,
but an event that is larger than it goes alone; nothing waits for a batch to fill; all or none of it is acknowledged.
"""

from __future__ import annotations

from collections.abc import Sequence

from emulator.config import SubscriptionConfig
from emulator.event_grid.store import Delivery, State


def batches(deliveries: Sequence[Delivery], subscription: SubscriptionConfig) -> list[list[Delivery]]:
    """In the order of the first of each. Events that have had as many attempts go together, so that their count is true."""
    limit = subscription.preferred_batch_size_in_kilobytes * 1024
    found: list[list[Delivery]] = []
    growing: dict[int, tuple[list[Delivery], int]] = {}
    for delivery in deliveries:
        if delivery.state is not State.PENDING:
            found.append([delivery])
            continue
        batch, size = growing.get(delivery.attempts, ([], 0))
        if not batch or len(batch) == subscription.max_events_per_batch or size + delivery.size > limit:
            batch, size = [], 0
            found.append(batch)
        batch.append(delivery)
        growing[delivery.attempts] = batch, size + delivery.size
    return found
