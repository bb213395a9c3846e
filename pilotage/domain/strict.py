"""How policies are read: strictly. No unknown keys, no coercion of types, durations in ISO 8601."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

_DURATION = re.compile(r"^P(?:(\d{1,12})W)?(?:(\d{1,12})D)?(?:T(?:(\d{1,12})H)?(?:(\d{1,12})M)?(?:(\d{1,12})S)?)?\Z", re.ASCII)
LONGEST = timedelta(days=3650)
"""What a policy may ask to wait: a typing error must not make a time that no calendar has."""


def parse_duration(value: Any) -> timedelta:
    """An ISO 8601 duration of weeks, days, hours, minutes and seconds, such as `PT10M` or `P1D`."""
    if isinstance(value, timedelta):
        return value
    match = _DURATION.match(value) if isinstance(value, str) else None
    if match is None or value in ("P", "PT") or value.endswith("T"):
        raise ValueError(f"{value!r} is not a duration: write ISO 8601 such as PT10M, PT24H or P3D")
    weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    if ((weeks * 7 + days) * 24 + hours) * 3600 + minutes * 60 + seconds > LONGEST.total_seconds():
        raise ValueError(f"{value!r} is longer than {LONGEST.days} days")
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def format_duration(value: timedelta) -> str:
    """The inverse of `parse_duration`, in seconds below a day's fraction."""
    days, seconds = divmod(int(value.total_seconds()), 86400)
    text = "P" + (f"{days}D" if days else "")
    if seconds or not days:
        hours, rest = divmod(seconds, 3600)
        minutes, secs = divmod(rest, 60)
        text += "T" + (f"{hours}H" if hours else "") + (f"{minutes}M" if minutes else "")
        text += f"{secs}S" if secs or not (hours or minutes) else ""
    return text


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    Field(json_schema_extra={"type": "string", "format": "duration", "examples": ["PT10M", "P1D"]}),
]


class Strict(BaseModel):
    """Policies are read strictly: no unknown keys, no coercion of types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
