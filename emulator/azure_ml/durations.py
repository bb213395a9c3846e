"""ISO 8601 durations, as requests' settings are written."""

from __future__ import annotations

import re

_TIME = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+(?:\.\d+)?)H)?(?:(?P<minutes>\d+(?:\.\d+)?)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?"
)


def seconds(duration: str | None, default: float) -> float:
    """`PT5S`, `PT1M30S` or `PT0.5S` in seconds; the default for None and for what isn't a duration.

    >>> seconds("PT1M30S", 5.0)
    90.0
    """
    found = _TIME.fullmatch(duration or "")
    if found is None or not any(found.groups()):
        return default
    days, hours, minutes, rest = (float(part or 0) for part in found.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + rest
