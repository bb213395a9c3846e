"""Schedules of timer triggers: NCRONTAB of six fields (five are taken at second 0), or a TimeSpan.

Source: learn.microsoft.com, functions-bindings-timer, and NCrontab, which the host uses: fields are seconds, minutes, hours, days,
months and days of the week (0 is Sunday), and a day must fit both of its fields. A zone comes from WEBSITE_TIME_ZONE.
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from croniter import CroniterBadDateError, croniter

from emulator.errors import EmulatorError
from emulator.functions_host.settings import time_span

_FIELDS = (("second", 0, 59), ("minute", 0, 59), ("hour", 0, 23), ("day", 1, 31), ("month", 1, 12), ("day of the week", 0, 6))
_NAMES = {4: {name.lower(): number for number, name in enumerate(calendar.month_name) if name},
          5: {name: number for number, name in enumerate(("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"))}}
_YEARS = 30
"""A day that does not come within so many years (30 February) never comes. 29 February on one weekday comes every 28."""


class InvalidSchedule(EmulatorError):
    """A timer's schedule can't be read; the message names the function."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Every so often, from the moment it is asked about."""

    interval: timedelta

    def after(self, moment: datetime) -> datetime | None:
        return moment + self.interval

    @property
    def frequent(self) -> bool:
        return self.interval < timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Crontab:
    """Six fields as sorted values. NCrontab's grammar is not croniter's (no wrapping ranges, names by prefix), so the text is ours."""

    fields: tuple[tuple[int, ...], ...]
    zone: tzinfo

    def after(self, moment: datetime) -> datetime | None:
        """The first time after a moment, in UTC; None when there is none."""
        times = croniter(" ".join(",".join(map(str, values)) for values in self.fields),
                         moment.astimezone(self.zone).replace(tzinfo=None, microsecond=0),
                         second_at_beginning=True, day_or=False, max_years_between_matches=_YEARS)
        while True:
            try:
                local = times.get_next(datetime)
            except CroniterBadDateError:
                return None
            # A time that daylight saving leaves out happens an hour later; one that it repeats happens the first time only,
            # so the local times of a repeated hour may have been although they are not before this one.
            if (there := local.replace(tzinfo=self.zone).astimezone(UTC)) > moment:
                return there

    @property
    def frequent(self) -> bool:
        """More often than once a minute: such a timer is not monitored, as in the host."""
        return len(self.fields[0]) > 1


type Schedule = Constant | Crontab


def parse(text: str, zone_name: str | None = None) -> Schedule:
    """Raises InvalidSchedule."""
    if (span := time_span(text)) is not None:
        if span <= timedelta():
            raise InvalidSchedule(f"{text!r} is not an interval that passes")
        return Constant(span)
    fields = text.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise InvalidSchedule(f"{text!r} is neither an NCRONTAB expression of six fields nor a time span")
    values = [_field(index, field, text) for index, field in enumerate(fields)]
    try:
        zone: tzinfo = ZoneInfo(zone_name) if zone_name else UTC
    except (OSError, ValueError, KeyError) as error:
        raise InvalidSchedule(f"WEBSITE_TIME_ZONE {zone_name!r} is not a known time zone") from error
    return Crontab(tuple(values), zone)


def _field(index: int, field: str, text: str) -> tuple[int, ...]:
    name, least, most = _FIELDS[index]
    found: set[int] = set()
    for part in field.split(","):
        match = re.fullmatch(r"(?P<from>\*|\w+)(?:-(?P<to>\w+))?(?:/(?P<step>\d{1,4}))?", part, re.ASCII)
        if match is None or (match["from"] == "*" and match["to"]):
            raise InvalidSchedule(f"{text!r}: '{part}' is not a value of the field {name}")
        begin = least if match["from"] == "*" else _number(index, match["from"], text)
        # NCrontab: a single value with a step goes on to the end of the field.
        end = _number(index, match["to"], text) if match["to"] else most if match["from"] == "*" or match["step"] else begin
        step = int(match["step"] or 1)
        if step < 1 or begin > end:
            raise InvalidSchedule(f"{text!r}: '{part}' is not a range of the field {name}")
        found.update(range(begin, end + 1, step))
    return tuple(sorted(found))


def _number(index: int, value: str, text: str) -> int:
    name, least, most = _FIELDS[index]
    if value.isdigit() and len(value) < 5 and least <= int(value) <= most:
        return int(value)
    if len(value) >= 3:
        for known, number in _NAMES.get(index, {}).items():
            if known.startswith(value.lower()):
                return number
    raise InvalidSchedule(f"{text!r}: {value!r} is not a {name} ({least} to {most})")
