"""Schedules of timer triggers: NCRONTAB of six fields (five are taken at second 0), or a TimeSpan.

Source: learn.microsoft.com, functions-bindings-timer, and NCrontab, which the host uses: fields are seconds, minutes, hours, days,
months and days of the week (0 is Sunday), and a day must fit both of its fields. A zone comes from WEBSITE_TIME_ZONE.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

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
    seconds: tuple[int, ...]
    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: tuple[int, ...]
    weekdays: frozenset[int]
    zone: tzinfo

    def after(self, moment: datetime) -> datetime | None:
        """The first time after a moment, in UTC; None when there is none."""
        local = moment.astimezone(self.zone).replace(microsecond=0, tzinfo=None) + timedelta(seconds=1)
        for year in range(local.year, min(local.year + _YEARS, MAXYEAR)):
            for month in self.months:
                if (year, month) < (local.year, local.month):
                    continue
                for day in self._days(year, month):
                    if (year, month, day) < (local.year, local.month, local.day):
                        continue
                    for found in self._in_day(local.replace(year=year, month=month, day=day, hour=0, minute=0, second=0), local):
                        # An hour that daylight saving repeats has local times that have been, though they are not before this one.
                        if (there := self._absolute(found)) > moment:
                            return there
        return None

    def _days(self, year: int, month: int) -> list[int]:
        first, count = calendar.monthrange(year, month)
        # calendar's Monday is 0, crontab's Sunday.
        return [day for day in range(1, count + 1) if day in self.days and (first + day) % 7 in self.weekdays]

    def _in_day(self, day: datetime, not_before: datetime) -> Iterator[datetime]:
        for hour in self.hours:
            for minute in self.minutes:
                candidate = day.replace(hour=hour, minute=minute)
                if candidate + timedelta(minutes=1) <= not_before:
                    continue
                for second in self.seconds:
                    if (found := candidate.replace(second=second)) >= not_before:
                        yield found

    def _absolute(self, local: datetime) -> datetime:
        """In UTC. A time that daylight saving leaves out happens an hour later; one that it repeats happens the first time."""
        return local.replace(tzinfo=self.zone).astimezone(UTC)

    @property
    def frequent(self) -> bool:
        """More often than once a minute: such a timer is not monitored, as in the host."""
        return len(self.seconds) > 1


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
    return Crontab(values[0], values[1], values[2], frozenset(values[3]), values[4], frozenset(values[5]), zone)


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
