"""Times of a zone's wall clock as moments, also where the clock is moved."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo


def known_zone(name: str) -> str:
    """The name of a zone that there is. Raises ValueError with the fix."""
    try:
        ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise ValueError(f"timezone {name!r} is not known: write an IANA name such as Europe/Paris") from None
    return name


def instant(local: datetime, zone: ZoneInfo, *, last: bool = False) -> datetime:
    """The UTC moment of a naive local time. Shown twice: the first showing or the `last`. Never shown: when the clock jumps over it."""
    one, two = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if one <= two:
        # At the very beginning of what is shown twice, all that is before was shown once: an end there is the first showing.
        earlier = local - timedelta(microseconds=1)
        again = one < two and earlier.replace(tzinfo=zone).utcoffset() != earlier.replace(tzinfo=zone, fold=1).utcoffset()
        return two if last and again else one
    before, after = two, one  # in a gap, fold 0 reads the clock as before the jump: later
    offset = before.astimezone(zone).utcoffset()
    while after - before > timedelta(seconds=1):
        middle = before + timedelta(seconds=(after - before) // timedelta(seconds=2))
        before, after = (middle, after) if middle.astimezone(zone).utcoffset() == offset else (before, middle)
    return after.replace(microsecond=0)
