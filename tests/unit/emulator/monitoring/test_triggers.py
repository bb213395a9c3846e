"""When schedules run, checked against times worked out by hand, and against a slow but plain search."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.azure_ml.errors import ValidationError
from emulator.azure_ml.monitoring.time_zones import zone
from emulator.azure_ml.monitoring.triggers import WEEK_DAYS, Trigger, parse, starts_by_itself

CREATED = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
BERLIN = "W. Europe Standard Time"


def recurrence(frequency: str = "Day", interval: int = 1, created: datetime = CREATED, **settings: Any) -> Trigger:
    return parse({"triggerType": "Recurrence", "frequency": frequency, "interval": interval, **settings}, created)


def cron(expression: str, created: datetime = CREATED, **settings: Any) -> Trigger:
    return parse({"triggerType": "Cron", "expression": expression, **settings}, created)


def coming(trigger: Trigger, count: int, after: datetime | None = None) -> list[str]:
    """The next occurrences in UTC, as far as the minute."""
    found: list[str] = []
    moment = trigger.after(after) if after else trigger.first()
    while moment is not None and len(found) < count:
        found.append(f"{moment.astimezone(UTC):%m-%d %H:%M}")
        moment = trigger.after(moment)
    return found


def test_without_a_pattern_it_counts_from_the_start() -> None:
    assert coming(recurrence("Day", 2), 3) == ["01-01 12:00", "01-03 12:00", "01-05 12:00"]
    assert coming(recurrence("Hour", 5, startTime="2026-01-01T22:30:00"), 3) == ["01-01 22:30", "01-02 03:30", "01-02 08:30"]
    assert coming(recurrence("Minute", 90), 3) == ["01-01 12:00", "01-01 13:30", "01-01 15:00"]
    assert coming(recurrence("Week"), 2) == ["01-01 12:00", "01-08 12:00"]


def test_patterns() -> None:
    day = recurrence("Day", 1, schedule={"hours": [3, 15], "minutes": [0, 45]})
    assert coming(day, 5) == ["01-01 15:00", "01-01 15:45", "01-02 03:00", "01-02 03:45", "01-02 15:00"]
    week = recurrence("Week", 2, schedule={"hours": [6], "minutes": [0], "weekDays": ["Friday", "Monday"]})
    assert coming(week, 4) == ["01-02 06:00", "01-12 06:00", "01-16 06:00", "01-26 06:00"], "every second week from the start's"
    month = recurrence("Month", 1, schedule={"hours": [0], "minutes": [5], "monthDays": [1, 31]})
    assert coming(month, 4) == ["01-31 00:05", "02-01 00:05", "03-01 00:05", "03-31 00:05"], "months without a 31st have none"


def test_a_start_in_the_past_runs_at_the_next_calculated_time() -> None:
    trigger = recurrence("Day", 3, startTime="2025-12-20 08:00:00")
    assert coming(trigger, 2, after=CREATED) == ["01-04 08:00", "01-07 08:00"]


def test_nothing_after_the_end() -> None:
    trigger = recurrence("Day", 1, startTime="2026-01-05T00:00:00", endTime="2026-01-06T12:00:00")
    assert coming(trigger, 9) == ["01-05 00:00", "01-06 00:00"]
    assert trigger.after(datetime(2026, 1, 6, tzinfo=UTC)) is None


def test_start_and_end_are_in_the_time_zone_unless_they_have_one() -> None:
    assert coming(recurrence(startTime="2026-01-10T08:00:00", timeZone="Tokyo Standard Time"), 1) == ["01-09 23:00"]
    assert coming(recurrence(startTime="2026-01-10T08:00:00Z", timeZone="Tokyo Standard Time"), 1) == ["01-10 08:00"]


def test_days_keep_to_the_wall_clock_over_daylight_saving() -> None:
    trigger = recurrence(schedule={"hours": [9], "minutes": [0]}, timeZone=BERLIN)
    assert coming(trigger, 3, after=datetime(2026, 3, 27, 12, tzinfo=UTC)) == ["03-28 08:00", "03-29 07:00", "03-30 07:00"]


def test_a_time_that_is_skipped_runs_an_hour_later_and_one_that_is_repeated_once() -> None:
    trigger = recurrence(schedule={"hours": [2], "minutes": [30]}, timeZone=BERLIN)
    assert coming(trigger, 3, after=datetime(2026, 3, 27, 12, tzinfo=UTC)) == ["03-28 01:30", "03-29 01:30", "03-30 00:30"]
    assert coming(trigger, 3, after=datetime(2026, 10, 23, 12, tzinfo=UTC)) == ["10-24 00:30", "10-25 00:30", "10-26 01:30"]


def test_hours_count_time_over_daylight_saving() -> None:
    trigger = recurrence("Hour", 12, startTime="2026-03-28T12:00:00", timeZone=BERLIN)
    assert coming(trigger, 3) == ["03-28 11:00", "03-28 23:00", "03-29 11:00"]


def test_cron_has_the_minutes_hours_and_week_days_that_azure_looks_at() -> None:
    assert coming(cron("15 16 * * 1"), 2) == ["01-05 16:15", "01-12 16:15"], "1 is Monday"
    assert coming(cron("0 8,20 * * 0,6"), 3) == ["01-03 08:00", "01-03 20:00", "01-04 08:00"], "0 is Sunday"
    assert coming(cron("30 10 15 6 *"), 2) == ["01-02 10:30", "01-03 10:30"], "days and months are ignored, as documented"
    assert coming(cron("0 9 * * *", timeZone=BERLIN), 1, after=datetime(2026, 7, 1, 12, tzinfo=UTC)) == ["07-02 07:00"]


def test_where_the_wall_clock_skips_times_come_in_order() -> None:
    trigger = cron("10,30 2,3 * * *", timeZone=BERLIN)
    spring = datetime(2026, 3, 29, 0, 59, tzinfo=UTC)
    # 02:10 and 02:30 do not exist and become 03:10 and 03:30, which are there besides: each once.
    assert coming(trigger, 3, after=spring) == ["03-29 01:10", "03-29 01:30", "03-30 00:10"]


def test_only_a_recurrence_without_start_and_pattern_runs_when_it_is_created() -> None:
    body = {"triggerType": "Recurrence", "frequency": "Day", "interval": 1}
    assert starts_by_itself(body)
    assert starts_by_itself(body | {"schedule": {"hours": [], "minutes": []}})
    assert not starts_by_itself(body | {"schedule": {"hours": [3], "minutes": []}})
    assert not starts_by_itself(body | {"startTime": "2026-01-01T00:00:00"})
    assert not starts_by_itself({"triggerType": "Cron", "expression": "* * * * *"})


REFUSED: list[tuple[Any, str]] = [
    (None, "properties.trigger is required"),
    ({"triggerType": "Sometimes"}, "triggerType"),
    ({"triggerType": "Cron"}, "expression"),
    ({"triggerType": "Cron", "expression": "* * * *"}, "expression"),
    ({"triggerType": "Cron", "expression": "99 * * * *"}, "expression"),
    ({"triggerType": "Recurrence", "frequency": "Year", "interval": 1}, "frequency"),
    ({"triggerType": "Recurrence", "frequency": "Day", "interval": 0}, "interval"),
    ({"triggerType": "Recurrence", "frequency": "Day", "interval": "1"}, "interval"),
    ({"triggerType": "Recurrence", "frequency": "Day", "interval": 1, "schedule": {"hours": [24]}}, "hours"),
    ({"triggerType": "Recurrence", "frequency": "Week", "interval": 1, "schedule": {"weekDays": ["Noday"]}}, "weekDays"),
    ({"triggerType": "Recurrence", "frequency": "Month", "interval": 1, "schedule": {"monthDays": [0]}}, "monthDays"),
    ({"triggerType": "Recurrence", "frequency": "Day", "interval": 1, "schedule": [1]}, "schedule"),
    ({"triggerType": "Recurrence", "frequency": "Day", "interval": 1, "startTime": "tomorrow"}, "startTime"),
    ({"triggerType": "Recurrence", "frequency": "Day", "interval": 1, "timeZone": "Europe/Berlin"}, "timeZone"),
    ({"triggerType": "Cron", "expression": "* * * * *", "endTime": "2025-01-01T00:00:00"}, "endTime"),
]


@pytest.mark.parametrize(("body", "field"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_is_wrong_is_named(body: Any, field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        parse(body, CREATED)


def test_every_time_zone_of_the_sdk_is_known() -> None:
    from azure.ai.ml.constants import TimeZone

    for item in TimeZone:
        assert isinstance(zone(item.value), ZoneInfo)


@st.composite
def wall_triggers(draw: st.DrawFn) -> dict[str, Any]:
    frequency = draw(st.sampled_from(["Day", "Week", "Month"]))
    pattern: dict[str, Any] = {
        "hours": draw(st.lists(st.integers(0, 23), min_size=1, max_size=3)),
        "minutes": draw(st.lists(st.sampled_from([0, 10, 30]), min_size=1, max_size=2)),
        "weekDays": draw(st.lists(st.sampled_from(WEEK_DAYS), max_size=3)),
        "monthDays": draw(st.lists(st.integers(1, 31), max_size=3)),
    }
    zones = ["UTC", BERLIN, "AUS Eastern Standard Time", "Newfoundland Standard Time", "Nepal Standard Time"]
    return {
        "triggerType": "Recurrence", "frequency": frequency, "interval": draw(st.integers(1, 3)),
        "schedule": pattern, "timeZone": draw(st.sampled_from(zones)),
    }  # fmt: skip


def plainly(body: dict[str, Any], created: datetime, start: datetime, end: datetime) -> list[datetime]:
    """Every wall-clock minute that fits, found by looking at each day: what the quick way must agree with."""
    where, pattern, interval = zone(body["timeZone"]), body["schedule"], body["interval"]
    first = created.astimezone(where)
    found = set()
    day = start.astimezone(where).date() - timedelta(days=1)
    while day <= end.astimezone(where).date():
        if body["frequency"] == "Day":
            fits = (day - first.date()).days % interval == 0
        elif body["frequency"] == "Week":
            names = [name.lower() for name in pattern["weekDays"]] or [WEEK_DAYS[first.weekday()]]
            weeks = (day - (first.date() - timedelta(days=first.weekday()))).days // 7
            fits = WEEK_DAYS[day.weekday()] in names and weeks % interval == 0
        else:
            months = (day.year - first.year) * 12 + day.month - first.month
            fits = day.day in (pattern["monthDays"] or [first.day]) and months % interval == 0
        if fits:
            for hour in pattern["hours"]:
                for minute in pattern["minutes"]:
                    found.add(datetime(day.year, day.month, day.day, hour, minute, tzinfo=where).astimezone(UTC))
        day += timedelta(days=1)
    return sorted(moment for moment in found if max(start, created) < moment <= end)


@settings(max_examples=60, deadline=None)
@given(body=wall_triggers(), day=st.integers(0, 400), span=st.integers(1, 60))
def test_recurrences_agree_with_looking_at_every_day(body: dict[str, Any], day: int, span: int) -> None:
    start = CREATED + timedelta(days=day, hours=day % 24)
    end = start + timedelta(days=span)
    trigger = parse(body, CREATED)
    found: list[datetime] = []
    moment = trigger.after(start)
    while moment is not None and moment <= end and len(found) < 400:
        found.append(moment)
        moment = trigger.after(moment)
    assert found == plainly(body, CREATED, start, end)[:400]


@settings(max_examples=60, deadline=None)
@given(frequency=st.sampled_from(["Minute", "Hour", "Day", "Week"]), interval=st.integers(1, 50), minutes=st.integers(0, 200_000))
def test_the_last_missed_one_is_the_last_before_now(frequency: str, interval: int, minutes: int) -> None:
    trigger = recurrence(frequency, interval)
    first = trigger.first()
    assert first == CREATED
    now = CREATED + timedelta(minutes=minutes)
    last = trigger.last(first, now)
    assert last is not None
    assert last <= now
    following = trigger.after(last)
    assert following is not None
    assert following > now
    assert (last - CREATED) % timedelta(minutes={"Minute": 1, "Hour": 60, "Day": 1440, "Week": 10080}[frequency] * interval) == timedelta(0)
