"""Recurrence rules of RFC 5545, as far as change windows need them: local starts within a span of local time.

dateutil expands a rule; two things are ours. A rule that matches seldom or never must not be searched to the year 9999,
and a search must not begin at the rule's first day, years ago: so dateutil is asked without INTERVAL, COUNT and UNTIL,
from near the span on, and these three are applied here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice

from dateutil.rrule import rrule, rrulestr

MOST_STARTS = 24
"""In one day. More is a rule for a clock, not for a change window."""
MOST_COUNTED = 1000
COUNTED_FOR = timedelta(days=3660)
"""COUNT is counted for this long after `from`."""
FAR = datetime(9972, 1, 1)  # noqa: DTZ001 - local
"""The last 28 years that datetime knows: every kind of year is among them, and a search ends at their end."""
_ANCHOR = date(2024, 1, 1)
_PERIODS = {"YEARLY": 365, "MONTHLY": 28, "WEEKLY": 7, "DAILY": 1}
_RANGES = {"BYMONTH": (1, 12), "BYMONTHDAY": (-31, 31), "BYYEARDAY": (-366, 366), "BYWEEKNO": (-53, 53), "BYHOUR": (0, 23),
           "BYMINUTE": (0, 59), "BYSECOND": (0, 59), "BYSETPOS": (-366, 366)}
_DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
_KEYS = ("FREQ", "INTERVAL", "COUNT", "UNTIL", *_RANGES, "BYDAY", "WKST")
_NEEDS = {"WEEKLY": ("BYDAY",), "MONTHLY": ("BYDAY", "BYMONTHDAY"), "YEARLY": ("BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO"), "DAILY": ()}


class RuleError(ValueError):
    """What is wrong with a rule, and the fix."""


@dataclass(frozen=True)
class Rule:
    """A rule as read. Times are local and naive."""

    freq: str
    interval: int
    plain: str
    """The rule without INTERVAL, COUNT and UNTIL, and with a time of day."""
    weekstart: int
    since: date | None
    count: int | None
    until: datetime | None
    """The last start: local, or aware when the rule gives it in UTC."""
    period: timedelta
    """The shortest time in which the rule's pattern comes again."""

    def starts(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        """Starts in [begin, end), in order. UNTIL in UTC is the caller's to apply: it needs a zone."""
        if self.since is not None:
            begin = max(begin, datetime.combine(self.since, time()))
        if self.count is None:
            yield from self._within(begin, end)
            return
        assert self.since is not None
        first = datetime.combine(self.since, time())
        for start in islice(self._within(first, min(end, first + COUNTED_FOR)), self.count):
            if start >= begin:
                yield start

    def _within(self, begin: datetime, end: datetime) -> Iterator[datetime]:
        if begin >= end:
            return
        for start in _expander(self.plain, self._aligned(begin)):
            if start >= end or (self.until is not None and self.until.tzinfo is None and start > self.until):
                return
            if start >= begin and (self.interval == 1 or self._turn(start.date()) % self.interval == 0):
                yield start

    def ever(self) -> bool:
        """False when no date can match, such as the 30th of February. INTERVAL, COUNT and UNTIL aside."""
        return next(iter(_expander(self.plain, FAR)), None) is not None

    def _aligned(self, at: datetime) -> datetime:
        """The start of the period around `at`, so that BYSETPOS counts whole periods."""
        day = at.date()
        if self.freq == "WEEKLY":
            day -= timedelta(days=(day.weekday() - self.weekstart) % 7)
        elif self.freq in ("MONTHLY", "YEARLY"):
            day = day.replace(day=1, month=1 if self.freq == "YEARLY" else day.month)
        return datetime.combine(day, time())

    def _turn(self, day: date) -> int:
        """How many periods after the rule's first one."""
        first = self.since or _ANCHOR
        if self.freq == "YEARLY":
            return day.year - first.year
        if self.freq == "MONTHLY":
            return (day.year - first.year) * 12 + day.month - first.month
        if self.freq == "WEEKLY":
            weeks = [date.toordinal(d) - (d.weekday() - self.weekstart) % 7 for d in (first, day)]
            return (weeks[1] - weeks[0]) // 7
        return (day - first).days


def _expander(plain: str, start: datetime) -> rrule:
    found = rrulestr(plain, dtstart=start)
    assert isinstance(found, rrule)
    return found


@lru_cache(maxsize=512)
def parse_rule(text: str, since: str | None = None) -> Rule:
    """Read a rule and the local day from which it counts. Raises RuleError with the fix."""
    parts = _parts(text)
    freq = parts.pop("FREQ", None)
    if freq is None:
        raise RuleError("the rule has no FREQ: begin with FREQ=DAILY, WEEKLY, MONTHLY or YEARLY")
    if freq in ("SECONDLY", "MINUTELY"):
        raise RuleError(f"FREQ={freq} is too fine for a window: use DAILY with BYHOUR, and a longer `for`")
    if freq not in (*_PERIODS, "HOURLY"):
        raise RuleError(f"FREQ={freq} is unknown: use DAILY, WEEKLY, MONTHLY or YEARLY")
    first = date.fromisoformat(since) if since else None
    interval = _number(parts.pop("INTERVAL", "1"), "INTERVAL", 1, 366)
    count = _number(parts.pop("COUNT"), "COUNT", 1, MOST_COUNTED) if "COUNT" in parts else None
    until = _until(parts.pop("UNTIL")) if "UNTIL" in parts else None
    if count is not None and until is not None:
        raise RuleError("COUNT and UNTIL can't both be given: keep one")
    if first is None and (interval > 1 or count is not None):
        raise RuleError(f"{'INTERVAL' if interval > 1 else 'COUNT'} needs a first day to count from: add `from`, such as 2026-01-31")
    period = timedelta(hours=interval) if freq == "HOURLY" else timedelta(days=_PERIODS[freq] * interval)
    if freq == "HOURLY":
        freq, interval = "DAILY", _hourly(parts, interval)
    _check(freq, parts)
    if first is not None:
        _from_first(freq, parts, first)
    elif _NEEDS[freq] and not any(key in parts for key in _NEEDS[freq]):
        raise RuleError(f"the rule does not say on which day: add {' or '.join(_NEEDS[freq])}, or `from`")
    for key in ("BYHOUR", "BYMINUTE", "BYSECOND"):
        parts.setdefault(key, "0")
    each = [len(set(parts[key].split(","))) for key in ("BYHOUR", "BYMINUTE", "BYSECOND")]
    if (starts := each[0] * each[1] * each[2]) > MOST_STARTS:
        raise RuleError(f"the rule starts {starts} times a day, and {MOST_STARTS} are the most: give fewer times, and a longer `for`")
    plain = ";".join([f"FREQ={freq}", *(f"{key}={value}" for key, value in parts.items())])
    rule = Rule(freq, interval, plain, _DAYS.index(parts.get("WKST", "MO")), first, count, until, period)
    if not rule.ever():
        raise RuleError("no date can match this rule: correct its BY parts")
    begin = datetime.combine(first or _ANCHOR, time())
    if interval > 1 and next(rule._within(begin, begin + timedelta(days=366 * 28)), None) is None:
        raise RuleError("INTERVAL skips every date that the rule matches: correct `from` or INTERVAL")
    return rule


def _parts(text: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for item in text.strip().upper().removesuffix(";").split(";"):
        key, sign, value = item.partition("=")
        if key.startswith(("DTSTART", "RRULE:", "EXDATE", "RDATE")) or "\n" in item:
            raise RuleError("write the rule alone, such as FREQ=WEEKLY;BYDAY=MO: the first day goes to `from`, the zone to `timezone`")
        if key not in _KEYS or not sign or not value:
            raise RuleError(f"{item!r} is no part of a rule: use {', '.join(_KEYS)}")
        if key in parts:
            raise RuleError(f"{key} is given twice: keep one")
        parts[key] = value
    return parts


def _check(freq: str, parts: dict[str, str]) -> None:
    for key, (low, high) in _RANGES.items():
        for value in parts.get(key, "").split(",") if key in parts else ():
            if _number(value, key, low, high) == 0 and low < 0:
                raise RuleError(f"{key}=0 means nothing: count from 1, or from -1 at the end")
    for value in parts.get("BYDAY", "").split(",") if "BYDAY" in parts else ():
        nth, day = value[:-2], value[-2:]
        if day not in _DAYS:
            raise RuleError(f"BYDAY={value} is no weekday: use {', '.join(_DAYS)}")
        if nth and (_number(nth, "BYDAY", -53, 53) == 0 or freq not in ("MONTHLY", "YEARLY") or "BYWEEKNO" in parts):
            raise RuleError(f"BYDAY={value} counts weekdays: only FREQ=MONTHLY and YEARLY can; write {day}")
    if parts.get("WKST", "MO") not in _DAYS:
        raise RuleError(f"WKST={parts['WKST']} is no weekday: use {', '.join(_DAYS)}")
    for key, only in (("BYWEEKNO", ("YEARLY",)), ("BYYEARDAY", ("YEARLY",)), ("BYMONTHDAY", ("YEARLY", "MONTHLY", "DAILY"))):
        if key in parts and freq not in only:
            raise RuleError(f"{key} can't be used with FREQ={freq}: use FREQ={' or '.join(only)}")
    if "BYSETPOS" in parts and not any(key in parts for key in ("BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYMONTH")):
        raise RuleError("BYSETPOS chooses among other BY parts: add one, such as BYDAY")


def _hourly(parts: dict[str, str], interval: int) -> int:
    """FREQ=HOURLY as hours of a day, where it is the same each day."""
    if 24 % interval:
        raise RuleError("the INTERVAL of FREQ=HOURLY must divide 24, or each day would have other hours: use FREQ=DAILY with BYHOUR")
    given = {_number(value, "BYHOUR", 0, 23) for value in parts["BYHOUR"].split(",")} if "BYHOUR" in parts else set(range(24))
    hours = [str(hour) for hour in range(0, 24, interval) if hour in given]
    if not hours:
        raise RuleError("INTERVAL skips every hour of BYHOUR: correct one of them")
    parts["BYHOUR"] = ",".join(hours)
    return 1


def _from_first(freq: str, parts: dict[str, str], first: date) -> None:
    """RFC 5545: a day that the rule leaves open is the first day's."""
    if any(key in parts for key in ("BYDAY", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO")):
        return
    if freq == "WEEKLY":
        parts["BYDAY"] = _DAYS[first.weekday()]
    elif freq in ("MONTHLY", "YEARLY"):
        parts["BYMONTHDAY"] = str(first.day)
        if freq == "YEARLY":
            parts.setdefault("BYMONTH", str(first.month))


def _until(text: str) -> datetime:
    """A day (whole, local), or a time in UTC."""
    try:
        if text.endswith("Z"):
            return datetime.strptime(text, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if "T" in text:
            raise RuleError(f"UNTIL={text} is a time without a zone: write it in UTC with a Z, or a day such as 20261231")
        return datetime.combine(datetime.strptime(text, "%Y%m%d").date(), time.max)  # noqa: DTZ007 - a local day
    except RuleError:
        raise
    except ValueError:
        raise RuleError(f"UNTIL={text} is no day: write 20261231, or a time in UTC such as 20261231T170000Z") from None


def _number(text: str, key: str, low: int, high: int) -> int:
    digits = text.removeprefix("-") if low < 0 else text
    value = int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 6 else None
    if value is None or not low <= value <= high:
        raise RuleError(f"{key}={text} is not a whole number of {low} to {high}")
    return value
