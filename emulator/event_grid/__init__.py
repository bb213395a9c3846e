"""Event Grid: topics, subscriptions with filters, at-least-once delivery, dead letters."""

from emulator.event_grid.service import EventGrid

__all__ = ["EventGrid"]
