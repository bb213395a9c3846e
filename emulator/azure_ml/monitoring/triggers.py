"""When a schedule runs: Azure ML's recurrence and cron triggers, in their time zone.

Rules from "Schedule machine learning pipeline jobs" and the SDK's trigger classes:
- `startTime` and `endTime` are in `timeZone` unless they carry an offset; without a start time it is the
  time the schedule was created. A start in the past means: run at the next calculated time.
- Day, week and month recurrences keep to the clock on the wall; minute and hour recurrences count time.
- Cron: minutes, hours, days, months, days of the week (0 is Sunday). Azure ignores the days and months of
  an expression and treats them as `*`, and so does this.
Assumed, for the documentation is silent: a wall-clock time that daylight saving skips runs an hour later,
one that it repeats runs once, the first time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from croniter import croniter

from emulator.azure_ml.errors import ValidationError
from emulator.azure_ml.monitoring.time_zones import zone

Json = dict[str, Any]

WEEK_DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_LENGTH = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1)}
_FREQUENCIES = (*_LENGTH, "day", "week", "month")
_YEARS = (1970, 9000)
"""Starts and ends outside of them would leave the calendar when something is added to them."""
_LARGEST_GAP = timedelta(hours=2)
"""More than any daylight saving moves a clock."""
_LONGEST_WAIT = 1200
"""Periods without an occurrence after which there is none: a hundred years of months (the 31st of Februaries)."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """`anchor` is what a recurrence counts from, `end` its last moment, both in UTC."""

    anchor: datetime
    end: datetime | None
    zone: ZoneInfo
    cron: str | None = None
    frequency: str = ""
    interval: int = 1
    hours: tuple[int, ...] = ()
    minutes: tuple[int, ...] = ()
    week_days: tuple[int, ...] = ()
    """0 is Monday."""
    month_days: tuple[int, ...] = ()

    def first(self) -> datetime | None:
        """The first occurrence at or after the anchor."""
        return self.after(self.anchor - timedelta(microseconds=1))

    def after(self, moment: datetime) -> datetime | None:
        """The next occurrence after a moment; None when there is none."""
        floor = max(moment, self.anchor - timedelta(microseconds=1))
        best: datetime | None = None
        try:
            for found in self._from(floor):
                if best is not None and found > best + _LARGEST_GAP:
                    break
                # Where the wall's clock skips an hour, times come out of order: look on a little before deciding.
                if found > floor and (best is None or found < best):
                    best = found
        except (OverflowError, ValueError):
            pass  # the calendar ends, or the expression names no day that exists
        return best if best is None or self.end is None or best <= self.end else None

    def last(self, since: datetime, until: datetime) -> datetime | None:
        """The latest occurrence in `[since, until]`, where `since` is one (what a schedule missed ends with it)."""
        if since > until:
            return None
        # Halve the way to the last one, so that a minute's schedule over a year isn't walked minute by minute.
        found, step = since, until - since
        while True:
            upcoming = self.after(found + step)
            if upcoming is not None and upcoming <= until:
                found = upcoming
            elif step <= timedelta(0):
                return found
            else:
                step = step // 2 if step > timedelta(seconds=1) else timedelta(0)

    def _from(self, floor: datetime) -> Iterator[datetime]:
        """Occurrences in order, beginning with one that is not after the first after `floor`."""
        if self.cron is not None:
            yield from (self._utc(found) for found in self._cron(floor - _LARGEST_GAP))
        elif self.frequency in _LENGTH:
            period = self.interval * _LENGTH[self.frequency]
            passed = max(0, (floor - self.anchor) // period)
            yield from (self.anchor + (passed + number) * period for number in count())
        else:
            yield from (self._utc(found) for found in self._wall(floor))

    def _cron(self, floor: datetime) -> Iterator[datetime]:
        times = croniter(self.cron, floor.astimezone(self.zone).replace(tzinfo=None))
        while True:
            yield times.get_next(datetime)

    def _wall(self, floor: datetime) -> Iterator[datetime]:
        """Naive times on the wall, period by period from the one before `floor`'s."""
        start = self.anchor.astimezone(self.zone).replace(tzinfo=None)
        here = floor.astimezone(self.zone).replace(tzinfo=None)
        if self.frequency == "month":
            passed = ((here.year - start.year) * 12 + here.month - start.month) // self.interval
        else:
            days = 7 * self.interval if self.frequency == "week" else self.interval
            passed = (here.date() - self._period(start, 0).date()).days // days
        for number in range(max(0, passed - 1), max(0, passed) + _LONGEST_WAIT):
            for day in self._days(self._period(start, number), start):
                for hour in self.hours or (start.hour,):
                    for minute in self.minutes or (start.minute,):
                        second = 0 if self.hours or self.minutes else start.second
                        yield day.replace(hour=hour, minute=minute, second=second, microsecond=0)

    def _period(self, start: datetime, number: int) -> datetime:
        """The first day of a period: a day, a week's Monday or a month's first."""
        if self.frequency == "day":
            return start + timedelta(days=number * self.interval)
        if self.frequency == "week":
            return start + timedelta(days=7 * number * self.interval - start.weekday())
        months = start.year * 12 + start.month - 1 + number * self.interval
        return start.replace(year=months // 12, month=months % 12 + 1, day=1)

    def _days(self, first: datetime, start: datetime) -> Iterator[datetime]:
        if self.frequency == "day":
            yield first
        elif self.frequency == "week":
            for week_day in self.week_days or (start.weekday(),):
                yield first + timedelta(days=week_day)
        else:
            for month_day in self.month_days or (start.day,):
                day = first + timedelta(days=month_day - 1)
                if day.month == first.month:  # a month without that day is left out
                    yield day

    def _utc(self, wall: datetime) -> datetime:
        # fold=0: the first of two; and in a gap the offset from before it, which is an hour later on the new wall.
        return wall.replace(tzinfo=self.zone, fold=0).astimezone(UTC)


def parse(body: Any, created: datetime) -> Trigger:
    """Read a schedule's `trigger`; raises `ValidationError`, which names the property."""
    if not isinstance(body, dict):
        raise ValidationError("properties.trigger is required.")
    try:
        where = zone(str(body.get("timeZone") or "UTC"))
    except KeyError:
        raise ValidationError(f"properties.trigger.timeZone {body['timeZone']!r} is not a time zone of Azure.") from None
    start = moment(body.get("startTime"), where, "properties.trigger.startTime")
    end = moment(body.get("endTime"), where, "properties.trigger.endTime")
    anchor = start if start is not None else created.replace(microsecond=0)
    if end is not None and end < anchor:
        raise ValidationError("properties.trigger.endTime must not be before the start.")
    match str(body.get("triggerType", "")).lower():
        case "cron":
            return Trigger(anchor, end, where, cron=cron(body.get("expression")))
        case "recurrence":
            return _recurrence(body, anchor, end, where)
        case other:
            raise ValidationError(f"properties.trigger.triggerType must be Recurrence or Cron, not {other!r}.")


def starts_by_itself(body: Json) -> bool:
    """Whether a recurrence has neither a start nor a pattern: Azure runs such a schedule when it is created."""
    pattern = body.get("schedule") or {}
    return not body.get("startTime") and str(body.get("triggerType")).lower() == "recurrence" and not any(pattern.values())


def cron(expression: Any) -> str:
    """A checked expression as it is acted on: with its days and months taken as `*`."""
    fields = str(expression or "").split()
    if len(fields) != 5:
        raise ValidationError(f"properties.trigger.expression {expression!r} must have five fields.")
    minutes, hours, _, _, week_days = fields
    text = f"{minutes} {hours} * * {week_days}"
    if not croniter.is_valid(text):
        raise ValidationError(f"properties.trigger.expression {expression!r} is not a cron expression.")
    return text


def moment(text: Any, where: ZoneInfo, field: str) -> datetime | None:
    """A time of a trigger in UTC."""
    if text is None or text == "":
        return None
    try:
        found = datetime.fromisoformat(str(text))
        if not _YEARS[0] <= found.year <= _YEARS[1]:
            raise ValueError(found)
        return (found if found.tzinfo is not None else found.replace(tzinfo=where)).astimezone(UTC)
    except (OverflowError, ValueError):
        raise ValidationError(f"{field} {text!r} is not a time such as 2026-01-31T06:00:00.") from None


def _recurrence(body: Json, anchor: datetime, end: datetime | None, where: ZoneInfo) -> Trigger:
    frequency = str(body.get("frequency", "")).lower()
    if frequency not in _FREQUENCIES:
        raise ValidationError(f"properties.trigger.frequency must be one of {', '.join(_FREQUENCIES)}, not {body.get('frequency')!r}.")
    interval = body.get("interval")
    if not isinstance(interval, int) or isinstance(interval, bool) or not 1 <= interval <= 10000:
        raise ValidationError(f"properties.trigger.interval must be a whole number from 1, not {interval!r}.")
    pattern = body.get("schedule") or {}
    if not isinstance(pattern, dict):
        raise ValidationError("properties.trigger.schedule must be an object.")
    return Trigger(
        anchor, end, where, frequency=frequency, interval=interval,
        hours=_numbers(pattern, "hours", 0, 23), minutes=_numbers(pattern, "minutes", 0, 59),
        week_days=_week_days(pattern) if frequency == "week" else (),
        month_days=_numbers(pattern, "monthDays", 1, 31) if frequency == "month" else (),
    )  # fmt: skip


def _listed(pattern: Json, name: str) -> list[Any]:
    values = pattern.get(name) or []
    if not isinstance(values, list):
        raise ValidationError(f"properties.trigger.schedule.{name} must be a list.")
    return values


def _numbers(pattern: Json, name: str, low: int, high: int) -> tuple[int, ...]:
    values = _listed(pattern, name)
    for value in values:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ValidationError(f"properties.trigger.schedule.{name} must be from {low} to {high}, not {value!r}.")
    return tuple(sorted(set(values)))


def _week_days(pattern: Json) -> tuple[int, ...]:
    names = [str(value).lower() for value in _listed(pattern, "weekDays")]
    for name in names:
        if name not in WEEK_DAYS:
            raise ValidationError(f"properties.trigger.schedule.weekDays must be names of days, not {name!r}.")
    return tuple(sorted({WEEK_DAYS.index(name) for name in names}))
