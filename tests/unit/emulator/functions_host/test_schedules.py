"""NCRONTAB and time spans: when a timer is due."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest
from croniter import croniter

from emulator.functions_host.schedules import InvalidSchedule, parse

NOW = datetime(2026, 11, 23, 12, 34, 56, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(("text", "expected"), [
    ("0 */5 * * * *", "2026-11-23T12:35:00"),
    ("*/5 * * * *", "2026-11-23T12:35:00"),
    ("*/30 * * * * *", "2026-11-23T12:35:00"),
    ("56 34 12 * * *", "2026-11-24T12:34:56"),
    ("57 34 12 * * *", "2026-11-23T12:34:57"),
    ("0 0 9-17 * * *", "2026-11-23T13:00:00"),
    ("0 30 9 * * 1-5", "2026-11-24T09:30:00"),
    ("0 30 9 * * Mon", "2026-11-30T09:30:00"),
    ("0 30 9 * * sunday", "2026-11-29T09:30:00"),
    ("0 30 9 * Jan *", "2027-01-01T09:30:00"),
    ("0 0 0 1 1 *", "2027-01-01T00:00:00"),
    ("0 0 0 29 2 *", "2028-02-29T00:00:00"),
    ("0 0 0 29 2 1", "2044-02-29T00:00:00"),
    ("0 5/20 * * * *", "2026-11-23T12:45:00"),
    ("0 0 0 13 * 5", "2027-08-13T00:00:00"),  # both fields must fit: Friday the 13th
    ("01:00:00", "2026-11-23T13:34:56"),
    ("1.00:00", "2026-11-24T12:34:56"),
])
def test_the_next_time(text: str, expected: str) -> None:
    assert parse(text).after(NOW) == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize("text", ["", "* * * *", "0 0 0 * * * *", "60 * * * * *", "0 60 * * * *", "0 0 24 * * *", "0 0 0 0 * *",
                                  "0 0 0 32 * *",
                                  "0 0 0 * 13 *", "0 0 0 * * 7", "0 5-1 * * * *", "0 */0 * * * *", "0 a * * * *", "0 0 0 ? * *",
                                  "0 0 0 L * *",
                                  "00:00:00", "-01:00:00", "25:00", "0 0 0 * * mo", "1,, * * * * *"])
def test_what_is_not_a_schedule_is_refused(text: str) -> None:
    with pytest.raises(InvalidSchedule):
        parse(text)


def test_a_day_that_never_comes_has_no_next_time() -> None:
    assert parse("0 0 0 30 2 *").after(NOW) is None


def test_daylight_saving_neither_skips_nor_repeats_a_day() -> None:
    schedule = parse("0 30 2 * * *", "Europe/Berlin")
    moment, seen = datetime(2026, 3, 27, tzinfo=UTC), []
    for _ in range(4):
        found = schedule.after(moment)
        assert found is not None
        seen.append(found)
        moment = found
    # 02:30 does not exist on 29 March: it happens an hour later, at 03:30 there.
    assert [f"{found:%d %H:%M}" for found in seen] == ["27 01:30", "28 01:30", "29 01:30", "30 00:30"]
    autumn, moment = [], datetime(2026, 10, 24, tzinfo=UTC)
    for _ in range(3):
        found = schedule.after(moment)
        assert found is not None
        autumn.append(f"{found:%d %H:%M}")
        moment = found
    assert autumn == ["24 00:30", "25 00:30", "26 01:30"]
    assert parse("0 0 * * * *", "Europe/Berlin").after(datetime(2026, 10, 25, 1, 0, tzinfo=UTC)) == datetime(2026, 10, 25, 2, 0, tzinfo=UTC)


def test_an_unknown_zone_is_refused() -> None:
    with pytest.raises(InvalidSchedule, match="WEBSITE_TIME_ZONE"):
        parse("0 0 * * * *", "Middle/Earth")


def test_it_agrees_with_croniter_on_random_expressions() -> None:
    chance = random.Random(7)

    def field(least: int, most: int) -> str:
        low, high = sorted(chance.sample(range(least, most + 1), 2))
        return chance.choice(["*", str(low), f"{low}-{high}", f"{low},{high}", f"*/{chance.randint(1, 9)}"])

    for _ in range(150):
        text = " ".join(field(*limits) for limits in ((0, 59), (0, 59), (0, 23), (1, 28), (1, 12), (0, 6)))
        moment = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=chance.randrange(10**8))
        expected = croniter(text, moment, second_at_beginning=True, day_or=False, max_years_between_matches=30)
        assert parse(text).after(moment) == expected.get_next(datetime), f"{text} after {moment}"


@pytest.mark.parametrize(("text", "frequent"), [("*/30 * * * * *", True), ("0 * * * * *", False), ("00:00:30", True), ("00:01", False)])
def test_what_comes_more_often_than_once_a_minute(text: str, frequent: bool) -> None:
    assert parse(text).frequent is frequent
