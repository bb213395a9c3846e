"""Event Grid's dead letters: events it could not deliver, as it leaves them in a blob container.

Layout (Event Grid, dead-letter and retry policies): `{TOPIC}/{SUBSCRIPTION}/{yyyy}/{M}/{d}/{H}/{guid}.json`,
each a JSON list of events with the delivery's outcome beside the event's own fields.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import AliasChoices, Field, ValidationError

from pilotage.domain.assets import Frozen
from pilotage.ports import Records


class DeadLetter(Frozen):
    """One event that was given up. The fields' casing is Event Grid's in both event schemas."""

    record: str = ""
    """Name of the blob."""
    topic: str = Field("", validation_alias=AliasChoices("topic", "source"))
    event_id: str = Field("", validation_alias=AliasChoices("id", "event_id"))
    event_type: str = Field("", validation_alias=AliasChoices("eventType", "type", "event_type"))
    subject: str = ""
    reason: str = Field("", validation_alias=AliasChoices("deadLetterReason", "deadletterreason", "reason"))
    attempts: int = Field(0, validation_alias=AliasChoices("deliveryAttempts", "deliveryattempts", "attempts"))
    outcome: str = Field("", validation_alias=AliasChoices("lastDeliveryOutcome", "lastdeliveryoutcome", "outcome"))
    last_attempt_at: str = Field(
        "", validation_alias=AliasChoices("lastDeliveryAttemptTime", "lastdeliveryattempttime", "last_attempt_at"))
    event: dict[str, Any] = {}
    """The event as it was published, with Event Grid's delivery fields."""


def read_dead_letters(records: Records, limit: int = 100) -> list[DeadLetter]:
    """The dead letters of a container, the last given up first. A blob that isn't Event Grid's is told as such."""
    letters = [letter for name in records.names("") for letter in _read(name, records.read(name))]
    return sorted(letters, key=lambda letter: letter.last_attempt_at, reverse=True)[:limit]


def dead_letters(account_url: str, container: str, limit: int = 100) -> list[DeadLetter]:
    """As `read_dead_letters`, of a blob container. Raises PermissionDenied, Unavailable, Throttled."""
    from pilotage.ledger.azure import BlobRecords

    return read_dead_letters(BlobRecords(account_url, container), limit)


def _read(name: str, content: bytes | None) -> list[DeadLetter]:
    if content is None:
        return []
    try:
        events = json.loads(content)
        return [DeadLetter.model_validate({**event, "record": name, "event": event})
                for event in (events if isinstance(events, list) else [events])]
    except (ValueError, TypeError, ValidationError) as error:
        return [DeadLetter(record=name, reason=f"unreadable: {type(error).__name__}")]
