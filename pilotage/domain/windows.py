"""Change windows and freezes: when a stage may be approved or rolled out, and when next if not now.

Rules recur as in RFC 5545 and are read by the wall clock of their zone: a window from 9 for eight hours ends at 17 also on
the days on which the clock is changed. Intervals are half-open. What denies outweighs what allows.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dateutil.rrule import rrule, rrulestr
from pydantic import ConfigDict, Field, field_validator, model_validator

from pilotage.domain.assets import Frozen
from pilotage.domain.strict import Duration, Strict

HORIZON = timedelta(days=730)
"""How far an opening is looked for."""
EPOCH = date(2020, 1, 1)
"""Where rules begin that say nothing of it; it matters to those with an INTERVAL."""
SHIFT = timedelta(hours=3)
"""More than any zone changes its clock by."""
_JUMPS = 10_000
_TOO_FINE = re.compile(r"FREQ=(SECONDLY|MINUTELY)|BYSECOND")

Interval = tuple[datetime, datetime]


class Window(Strict):
    """A time that recurs."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)

    rule: str = Field(description="RFC 5545 recurrence, such as FREQ=WEEKLY;BYDAY=MO,TU,WE,TH;BYHOUR=9;BYMINUTE=0.")
    lasts: Duration = Field(alias="for", description="How long it lasts from there, by the wall clock.")
    since: str | None = Field(None, alias="from", description="First day, such as 2026-01-05, for rules with an INTERVAL.")
    reason: str = ""

    @model_validator(mode="after")
    def _recurs(self) -> Self:
        if self.lasts <= timedelta(0):
            raise ValueError("for must be longer than zero")
        if self.lasts > timedelta(days=366):
            raise ValueError("for must be a year at most")
        found = _rule(self.rule, self.since)
        if next(iter(found), None) is None:
            raise ValueError(f"rule {self.rule!r} never occurs")
        return self

    def starts(self, after: datetime, before: datetime) -> list[datetime]:
        """Beginnings between two wall-clock times, both included."""
        found = [start for year in range(after.year, before.year + 1) for start in _year(self.rule, self.since, year)]
        return found[bisect_left(found, after):bisect_right(found, before)]

    def next_start(self, after: datetime) -> datetime | None:
        """The first beginning after a wall-clock time, within the horizon."""
        for year in range(after.year, (after + HORIZON).year + 1):
            found = _year(self.rule, self.since, year)
            place = bisect_right(found, after)
            if place < len(found):
                return found[place]
        return None


class Windows(Strict):
    """When a stage may change things."""

    timezone: str = Field("UTC", description="IANA name, such as Europe/Paris.")
    allow: list[Window] = Field(default_factory=list, description="Only then; without any, always but when denied.")
    deny: list[Window] = Field(default_factory=list, description="Never then, whatever is allowed.")
    covers: Annotated[list[Literal["approval", "rollout"]], Field(min_length=1)] = ["rollout"]

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        return _zone_name(value)


class Freeze(Strict):
    """No change from one time until another, for a reason."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=True)

    begins: str = Field(alias="from", description="Such as 2026-12-20T18:00 (in the timezone) or 2026-12-20T18:00:00Z.")
    until: str
    reason: Annotated[str, Field(min_length=1)]
    timezone: str = "UTC"
    workspaces: list[str] = Field(default_factory=lambda: ["*"], description="Names or globs; all when not given.")
    models: list[str] = Field(default_factory=lambda: ["*"], description="Names or globs; all when not given.")

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        return _zone_name(value)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        start, end = self.interval
        if start >= end:
            raise ValueError("until must come after from")
        return self

    @property
    def interval(self) -> Interval:
        return _moment("from", self.begins, self.timezone), _moment("until", self.until, self.timezone)

    def covers(self, workspace: str, model: str) -> bool:
        return (any(fnmatchcase(workspace.casefold(), name.casefold()) for name in self.workspaces)
                and any(fnmatchcase(model.casefold(), name.casefold()) for name in self.models))


class WindowState(Frozen):
    """Whether something may be done at a time."""

    open: bool
    opens_at: datetime | None = None
    """The next time at which it may; None while it may now, and where none is in sight."""
    why: str = ""
    """What stands against it now."""


def state(windows: Windows | None, freezes: Sequence[Freeze], at: datetime) -> WindowState:
    """Whether it is open at a time (aware), and when next if not."""
    why = against(windows, freezes, at)
    if why is None:
        return WindowState(open=True)
    moment, limit = at, at + HORIZON
    for _ in range(_JUMPS):
        further = _jump(windows, freezes, moment)
        if further is None or further > limit:
            return WindowState(open=False, why=why)
        if further == moment:
            return WindowState(open=False, opens_at=moment, why=why)
        moment = further
    return WindowState(open=False, why=why)


def against(windows: Windows | None, freezes: Sequence[Freeze], at: datetime) -> str | None:
    """What stands against it at a time; None when nothing does."""
    for freeze in freezes:
        start, end = freeze.interval
        if start <= at < end:
            return f"freeze: {freeze.reason}"
    if windows is None:
        return None
    zone = ZoneInfo(windows.timezone)
    for window in windows.deny:
        if any(start <= at < end for start, end in _around(window, zone, at)):
            return f"denied by the policy's window: {window.reason or window.rule}"
    if windows.allow and not any(start <= at < end for window in windows.allow for start, end in _around(window, zone, at)):
        return f"outside the policy's windows ({windows.timezone})"
    return None


def _jump(windows: Windows | None, freezes: Sequence[Freeze], at: datetime) -> datetime | None:
    """`at` when it is open then; otherwise the next time at which it may be, None when there is none."""
    ends = [end for start, end in (freeze.interval for freeze in freezes) if start <= at < end]
    if windows is not None:
        zone = ZoneInfo(windows.timezone)
        ends += [end for window in windows.deny for start, end in _around(window, zone, at) if start <= at < end]
    if ends:
        return max(ends)
    if windows is None or not windows.allow:
        return at
    if any(start <= at < end for window in windows.allow for start, end in _around(window, zone, at)):
        return at
    return min((start for window in windows.allow if (start := _next(window, zone, at)) is not None), default=None)


def _around(window: Window, zone: ZoneInfo, at: datetime) -> Iterator[Interval]:
    """The occurrences that may cover a time. The clock may have been changed in between: hence some more."""
    wall = at.astimezone(zone).replace(tzinfo=None)
    for start in window.starts(wall - window.lasts - SHIFT, wall + SHIFT):
        begins = _aware(start, zone)
        # One that would begin in an hour that the clock skips begins later, and lasts as long from there.
        yield begins, _aware(begins.astimezone(zone).replace(tzinfo=None) + window.lasts, zone)


def _next(window: Window, zone: ZoneInfo, at: datetime) -> datetime | None:
    wall: datetime | None = at.astimezone(zone).replace(tzinfo=None) - SHIFT
    while wall is not None:
        wall = window.next_start(wall)
        if wall is not None and (start := _aware(wall, zone)) > at:
            return start
    return None


def _aware(wall: datetime, zone: ZoneInfo) -> datetime:
    """A wall-clock time in UTC: of two the first, and one that the clock skips as much later as it skips."""
    return wall.replace(tzinfo=zone).astimezone(UTC)


@lru_cache(maxsize=256)
def _year(text: str, since: str | None, year: int) -> list[datetime]:
    """Beginnings in a year. A rule is gone through from its first day each time: hence a year at a time, kept."""
    return _rule(text, since).between(datetime(year, 1, 1), datetime(year, 12, 31, 23, 59, 59), inc=True)  # noqa: DTZ001


@lru_cache(maxsize=256)
def _rule(text: str, since: str | None) -> rrule:
    if "\n" in text or "DTSTART" in text.upper():
        raise ValueError("rule: one RFC 5545 rule without DTSTART; say in `from` when it begins")
    if _TOO_FINE.search(text.upper()):
        raise ValueError("rule: it recurs every hour at most, at named minutes; without BYSECOND")
    try:
        begins = date.fromisoformat(since) if since else EPOCH
    except ValueError:
        raise ValueError(f"from: {since!r} is no day; write it such as 2026-01-05") from None
    try:
        found = rrulestr(text.removeprefix("RRULE:"), dtstart=datetime(begins.year, begins.month, begins.day), cache=True)  # noqa: DTZ001
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"rule: {text!r} is no RFC 5545 rule ({error}); such as FREQ=WEEKLY;BYDAY=MO;BYHOUR=9;BYMINUTE=0") from None
    if not isinstance(found, rrule):
        raise ValueError("rule: it is one rule, not a set of them")
    return found


def _zone_name(value: str) -> str:
    try:
        ZoneInfo(value)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"timezone {value!r} is not known: write an IANA name such as Europe/Paris") from None
    return value


def _moment(name: str, text: str, timezone: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name}: {text!r} is no time; write it such as 2026-12-20T18:00") from None
    return found.astimezone(UTC) if found.tzinfo else _aware(found, ZoneInfo(timezone))


def freezes_for(freezes: Iterable[Freeze], workspace: str, model: str) -> list[Freeze]:
    """Those that concern a model in a workspace."""
    return [freeze for freeze in freezes if freeze.covers(workspace, model)]
