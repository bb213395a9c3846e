"""Event Grid triggers receive what was sent, as it was sent.

azure-functions' own converter raises on an event whose time it can't read or that is no object, before any
of our code runs: that is a 5xx, and so a redelivery storm for an event that will never become better. Ours
hands the text on, and pilotage.events says what is wrong with it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import azure.functions as func
from azure.functions.eventgrid import EventGridEventInConverter
from azure.functions.meta import Datum, get_binding_registry

from pilotage.bootstrap import app
from pilotage.errors import InvalidEvent
from pilotage.events import read_json

BINDING = "eventGridTrigger"


class ReceivedEvent(func.EventGridEvent):
    """An event of either schema as the bytes that were delivered."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(id="", data={}, topic="", subject="", event_type="", event_time=None, data_version="")
        self.payload = payload


class AnyEventConverter(EventGridEventInConverter, binding=None):
    """Decodes every payload, whatever it holds."""

    @classmethod
    def decode(cls, data: Datum, *, trigger_metadata: Any) -> ReceivedEvent:
        value = data.value if data is not None else None
        return ReceivedEvent(value if isinstance(value, bytes) else str(value or "").encode(errors="replace"))


# The public `register_converter` is for durable bindings only; a contract test holds that this one takes effect.
get_binding_registry()._bindings[BINDING] = AnyEventConverter


def receive(kind: str, event: func.EventGridEvent, handle: Callable[[Any], None]) -> None:
    """Hand the decoded event to `handle`; what can't be understood is kept with its reason, and the delivery succeeds.

    Everything else that `handle` raises goes up: a 5xx, after which Event Grid delivers again.
    """
    assert isinstance(event, ReceivedEvent)
    try:
        handle(read_json(event.payload))
    except InvalidEvent as error:
        reject(kind, str(error), event.payload)


def reject(kind: str, reason: str, payload: bytes) -> None:
    """Keep what can't be acted on under `rejected/`. Raises when the ledger does: then it must be delivered again."""
    this = app()
    this.ledger.rejected.add(kind, reason, payload, this.clock.now())
