# ruff: noqa: DTZ001 - a rule's starts are times of the wall clock
"""Rules of RFC 5545: as dateutil reads them, without walking there, and refused with the fix where they mean nothing."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.domain.recurrence import RuleError, parse_rule


@pytest.mark.parametrize(("rule", "since"), [
    ("FREQ=WEEKLY;INTERVAL=2;BYDAY=TU,TH;BYHOUR=9", "2026-01-07"), ("FREQ=WEEKLY;INTERVAL=2;BYDAY=SU,MO;WKST=SU", "2026-01-07"),
    ("FREQ=DAILY;INTERVAL=3;BYHOUR=9,13", "2026-01-07"), ("FREQ=MONTHLY;INTERVAL=5;BYDAY=-1FR", "2026-01-07"),
    ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2026-01-07"), ("FREQ=YEARLY;INTERVAL=2;BYMONTH=8;BYMONTHDAY=15", "2025-01-07"),
    ("FREQ=YEARLY;BYWEEKNO=20;BYDAY=MO", "2026-01-07"), ("FREQ=DAILY;BYHOUR=9;COUNT=100", "2026-01-07"), ("FREQ=MONTHLY", "2026-01-31"),
    ("FREQ=YEARLY", "2026-02-28"), ("FREQ=WEEKLY", "2026-01-07"), ("FREQ=YEARLY;BYDAY=2MO", "2026-01-07"),
    ("FREQ=HOURLY;INTERVAL=6;BYDAY=SA", "2026-01-07"), ("FREQ=WEEKLY;INTERVAL=3;BYDAY=WE;COUNT=9", "2026-01-07"),
])
def test_a_rule_starts_as_dateutil_says(rule: str, since: str) -> None:
    """Asked in the middle of the rule's years, without walking there."""
    first = datetime.fromisoformat(since)
    zeros = ";BYMINUTE=0;BYSECOND=0" + ("" if "HOUR" in rule else ";BYHOUR=0")
    every = list(rrulestr(rule + zeros, dtstart=first).between(datetime(2026, 1, 1), datetime(2030, 1, 1), inc=True))
    read = parse_rule(rule, since)
    for begin in (datetime(2026, 1, 1), datetime(2026, 3, 4, 9, 1), datetime(2027, 8, 15)):
        end = begin + timedelta(days=800)
        assert list(read.starts(begin, end)) == [start for start in every if begin <= start < end]


@pytest.mark.parametrize(("rule", "since", "says"), [
    ("", None, "is no part of a rule"), ("BYDAY=MO", None, "no FREQ"), ("RRULE:FREQ=DAILY", None, "write the rule alone"),
    ("DTSTART=20260101;FREQ=DAILY", None, "first day goes to `from`"), ("FREQ=DAILY\nEXDATE=1", None, "write the rule alone"),
    ("FREQ=SECONDLY", None, "too fine"), ("FREQ=MINUTELY;INTERVAL=30", None, "too fine"), ("FREQ=FORTNIGHTLY", None, "unknown"),
    ("FREQ=DAILY;BYMINUTE=0,10,20;BYHOUR=1,2,3,4,5,6,7,8,9", None, "27 times a day"), ("FREQ=HOURLY;INTERVAL=5", "2026-01-01", "divide 24"),
    ("FREQ=DAILY;BYEASTER=1", None, "no part of a rule"), ("FREQ=DAILY;FREQ=DAILY", None, "given twice"),
    ("FREQ=DAILY;BYHOUR=24", None, "BYHOUR=24 is not a whole number of 0 to 23"), ("FREQ=DAILY;BYHOUR=9.5", None, "not a whole number"),
    ("FREQ=DAILY;BYHOUR=\u0669", None, "not a whole number"), ("FREQ=MONTHLY;BYMONTHDAY=0", None, "count from 1"),
    ("FREQ=WEEKLY;BYDAY=MON", None, "no weekday"), ("FREQ=WEEKLY;BYDAY=1MO", None, "counts weekdays"), ("FREQ=WEEKLY", None, "add BYDAY"),
    ("FREQ=MONTHLY", None, "add BYDAY or BYMONTHDAY"), ("FREQ=YEARLY;BYMONTH=12", None, "on which day"),
    ("FREQ=WEEKLY;BYMONTHDAY=1", "2026-01-01", "can't be used with FREQ=WEEKLY"),
    ("FREQ=DAILY;INTERVAL=2", None, "INTERVAL needs a first day"),
    ("FREQ=DAILY;COUNT=2", None, "COUNT needs a first day"), ("FREQ=DAILY;COUNT=2;UNTIL=20270101", "2026-01-01", "keep one"),
    ("FREQ=DAILY;UNTIL=20270101T120000", None, "a time without a zone: write it in UTC with a Z"),
    ("FREQ=DAILY;UNTIL=2027", None, "no day"),
    ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", None, "no date can match"), ("FREQ=DAILY;BYMONTH=4;BYMONTHDAY=31", None, "no date can match"),
    ("FREQ=DAILY;INTERVAL=7;BYDAY=TU", "2026-01-05", "INTERVAL skips every date"),
    ("FREQ=YEARLY;INTERVAL=2;BYMONTH=2;BYMONTHDAY=29", "2025-01-01", "INTERVAL skips every date"),
])
def test_a_rule_that_means_nothing_is_told_with_its_fix(rule: str, since: str | None, says: str) -> None:
    with pytest.raises(RuleError) as told:
        parse_rule(rule, since)
    assert says in str(told.value)


@given(st.text(alphabet="FREQ=DAILYWMONTHUR;BYSETPOS0123456789,-INTERVAL", max_size=60).map(lambda text: "FREQ=" + text)
       | st.lists(st.sampled_from(["FREQ=YEARLY", "FREQ=MONTHLY", "FREQ=WEEKLY", "FREQ=DAILY", "BYMONTH=2", "BYMONTHDAY=30,-31",
                                   "BYDAY=MO,-5TU",
                                   "BYDAY=WE", "BYSETPOS=-3", "BYWEEKNO=53", "BYYEARDAY=366", "INTERVAL=7", "COUNT=4", "UNTIL=20300101"]),
                  max_size=5, unique=True).map(";".join))
@settings(max_examples=150, deadline=None)
def test_no_rule_breaks_or_stalls_the_reader(rule: str) -> None:
    """What can be read can be searched: to its end, which is near."""
    try:
        read = parse_rule(rule, "2026-01-05")
    except RuleError:
        return
    assert len(list(read.starts(datetime(2026, 1, 5), datetime(2028, 1, 5)))) <= 24 * 731
