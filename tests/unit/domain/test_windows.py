# ruff: noqa: DTZ001 - a rule's starts are times of the wall clock
"""Change windows: by the wall clock of their zone, with what denies above what allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pilotage.domain.strict import format_duration
from pilotage.domain.window_specs import Freeze, Windows
from pilotage.domain.windows import against, freezes_for, over, state

BERLIN, NEW_YORK, LORD_HOWE, KOLKATA = "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"
OFFICE = {"rule": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH;BYHOUR=9;BYMINUTE=0", "for": "PT8H"}


def windows(timezone: str = "UTC", allow: Any = (), deny: Any = (), **changes: Any) -> Windows:
    return Windows.model_validate({"timezone": timezone, "allow": list(allow), "deny": list(deny), **changes})


def freeze(begins: str, until: str, **changes: Any) -> Freeze:
    return Freeze.model_validate({"from": begins, "until": until, "reason": "audit", **changes})


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(("zone", "rules", "moment", "opens"), [
    ("UTC", {}, "2026-01-05T03:00", None),
    ("UTC", {"allow": [OFFICE]}, "2026-01-05T09:00", None),                      # a Monday
    ("UTC", {"allow": [OFFICE]}, "2026-01-05T16:59", None),
    ("UTC", {"allow": [OFFICE]}, "2026-01-05T17:00", "2026-01-06T09:00"),        # half-open
    ("UTC", {"allow": [OFFICE]}, "2026-01-08T17:00", "2026-01-12T09:00"),        # Thursday evening
    ("UTC", {"deny": [OFFICE]}, "2026-01-05T10:00", "2026-01-05T17:00"),
    ("UTC", {"allow": [OFFICE], "deny": [{"rule": "FREQ=DAILY;BYHOUR=12", "for": "PT1H"}]}, "2026-01-05T12:30", "2026-01-05T13:00"),
    ("UTC", {"allow": [OFFICE], "deny": [{"rule": "FREQ=DAILY;BYHOUR=16", "for": "PT18H"}]}, "2026-01-05T16:30", "2026-01-06T10:00"),
    # Berlin: 9 by the wall clock is 8 UTC in winter, 7 in summer; the clock jumps from 2 to 3 on 2026-03-29 and back on 2026-10-25.
    ("Europe/Berlin", {"allow": [OFFICE]}, "2026-03-27T12:00", "2026-03-30T07:00"),
    ("Europe/Berlin", {"allow": [OFFICE]}, "2026-10-23T12:00", "2026-10-26T08:00"),
    ("Europe/Berlin", {"allow": [{"rule": "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "for": "PT1H"}]}, "2026-03-29T00:00", "2026-03-29T01:00"),
    ("Europe/Berlin", {"allow": [{"rule": "FREQ=DAILY;BYHOUR=1", "for": "PT4H"}]}, "2026-03-29T02:59", None),
    ("Europe/Berlin", {"allow": [{"rule": "FREQ=DAILY;BYHOUR=1", "for": "PT4H"}]}, "2026-03-29T03:00", "2026-03-29T23:00"),
    ("Europe/Berlin", {"allow": [{"rule": "FREQ=DAILY;BYHOUR=1", "for": "PT4H"}]}, "2026-10-25T03:59", None),
    ("America/New_York", {"allow": [OFFICE]}, "2026-03-06T23:00", "2026-03-09T13:00"),
    ("Australia/Lord_Howe", {"allow": [OFFICE]}, "2026-04-02T12:00", "2026-04-05T22:30"),
    ("Asia/Kolkata", {"allow": [OFFICE]}, "2026-01-04T00:00", "2026-01-05T03:30"),
    ("UTC", {"allow": [{"rule": "FREQ=WEEKLY;INTERVAL=2;BYDAY=WE;BYHOUR=10", "for": "PT2H", "from": "2026-01-07"}]},
     "2026-01-08T00:00", "2026-01-21T10:00"),
    ("UTC", {"allow": [{"rule": "FREQ=MONTHLY;BYDAY=1TU;BYHOUR=8", "for": "PT4H"}]}, "2026-01-07T00:00", "2026-02-03T08:00"),
])
def test_when_it_opens(zone: str, rules: dict[str, Any], moment: str, opens: str | None) -> None:
    found = state(windows(zone, **rules), [], utc(moment))
    assert found.open == (opens is None), found
    assert found.opens_at == (utc(opens) if opens else None)
    assert bool(found.why) != found.open


def test_a_freeze_outweighs_what_is_allowed_and_its_end_may_be_outside_the_windows() -> None:
    found = state(windows(allow=[OFFICE]), [freeze("2026-01-05", "2026-01-06T20:00")], utc("2026-01-05T10:00"))
    assert (found.open, found.opens_at, found.why) == (False, utc("2026-01-07T09:00"), "freeze: audit")


def test_freezes_follow_one_another() -> None:
    two = [freeze("2026-01-05T00:00", "2026-01-06T00:00"), freeze("2026-01-05T23:00:00+00:00", "2026-01-08T00:00", timezone="Europe/Paris")]
    assert state(None, two, utc("2026-01-05T10:00")).opens_at == utc("2026-01-07T23:00")


def test_a_freeze_is_for_whom_it_names() -> None:
    found = freeze("2026-01-05", "2026-01-06", workspaces=["mlw-prod*"], models=["air-*"])
    assert freezes_for([found], "MLW-prod-eu", "Air-time") == [found]
    assert freezes_for([found], "mlw-dev", "air-time") == freezes_for([found], "mlw-prod", "leaf") == []


def test_where_no_opening_is_in_sight_that_is_told() -> None:
    thrice = {"rule": "FREQ=DAILY;COUNT=3;BYHOUR=9", "for": "PT1H", "from": "2026-01-01"}
    found = state(windows(allow=[thrice]), [], utc("2026-01-05T00:00"))
    assert (found.open, found.opens_at, found.why) == (False, None, "outside the policy's windows (UTC)")


@pytest.mark.parametrize(("value", "says"), [
    ({"timezone": "Europe/Atlantis"}, "timezone 'Europe/Atlantis' is not known"), ({"covers": []}, "at least 1 item"),
    ({"allow": [OFFICE | {"rule": "FREQ=SOMETIMES"}]}, "FREQ=SOMETIMES is unknown"),
    ({"allow": [OFFICE | {"for": "PT0S"}]}, "for must be longer"), ({"allow": [OFFICE | {"for": "P8D"}]}, "use at most P7D"),
    ({"deny": [{"rule": "FREQ=HOURLY;INTERVAL=4", "for": "PT5H", "from": "2026-01-01"}]}, "use at most PT4H"),
    ({"allow": [OFFICE | {"from": "soon"}]}, "'soon' is no day"), ({"allow": [OFFICE | {"from": "2026-1-1"}]}, "is no day"),
    ({"allow": [OFFICE | {"hours": 3}]}, "hours"),
])
def test_what_is_no_window_says_why(value: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        windows(**value)
    assert says in str(caught.value)


@pytest.mark.parametrize(("begins", "until", "says"), [
    ("2026-01-06", "2026-01-05", "until must come after from"), ("soon", "2026-01-05", "from\n  Value error, 'soon' is no time"),
    ("2026-01-05", "later", "until\n  Value error, 'later' is no time"),
])
def test_what_is_no_freeze_says_why(begins: str, until: str, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        freeze(begins, until)
    assert says in str(caught.value)


@pytest.mark.parametrize(("zone", "moment", "opens"), [
    ("UTC", "2026-01-06T18:00", "2026-01-07T09:00"), ("UTC", "2026-01-07T18:00", None),
    # 9 in New York is 14 UTC: the 7th is after the last start
    ("America/New_York", "2026-01-05T23:00", "2026-01-06T14:00"), ("America/New_York", "2026-01-06T23:00", None),
])
def test_a_last_time_in_utc_is_a_moment_whatever_the_zone(zone: str, moment: str, opens: str | None) -> None:
    """RFC 5545 wants UNTIL in UTC where starts are of a zone."""
    rules = windows(zone, [{"rule": "FREQ=DAILY;BYHOUR=9;UNTIL=20260107T090000Z", "for": "PT8H"}])
    assert state(rules, [], utc(moment)).opens_at == (utc(opens) if opens else None)


def test_a_freeze_ends_at_the_last_showing_of_its_end() -> None:
    frozen = [freeze("2026-10-24T00:00", "2026-10-25T02:30", timezone=BERLIN)]
    assert state(None, frozen, utc("2026-10-25T00:45")).opens_at == utc("2026-10-25T01:30")


@pytest.mark.parametrize(("rules", "places"), [
    ({"allow": [OFFICE]}, []), ({}, []),
    ({"allow": [OFFICE, OFFICE | {"rule": OFFICE["rule"] + ";UNTIL=20251231T000000Z"}]}, ["allow.1.rule"]),
    ({"deny": [{"rule": "FREQ=DAILY;COUNT=3", "for": "PT1H", "from": "2025-01-01"}]}, ["deny.0.rule"]),
    ({"allow": [{"rule": "FREQ=DAILY;UNTIL=20200101", "for": "PT1H"}]}, ["allow.0.rule", "allow"]),
    ({"deny": [{"rule": "FREQ=DAILY", "for": "P1D"}]}, ["deny"]),
    ({"allow": [OFFICE | {"rule": OFFICE["rule"] + ";UNTIL=20260105T090000Z"}]}, []),                # its last window is not over
], ids=["lasting", "none", "one is over", "counted", "all over", "all denied", "the last"])
def test_what_is_over_is_told(rules: dict[str, Any], places: list[str]) -> None:
    assert [".".join(map(str, path)) for path, _ in over(windows(**rules), utc("2026-01-05T12:00"))] == places
    assert over(None, utc("2026-01-05T12:00")) == []


# --- spans across moved clocks ------------------------------------------------------------------------

@pytest.mark.parametrize(("zone", "starts", "lasts", "day", "opens", "closes"), [
    # as usual: 09:00 to 17:00 of the wall clock, in winter and in summer
    (BERLIN, "9:0", "PT8H", "2026-01-12", "2026-01-12T08:00", "2026-01-12T16:00"),
    (BERLIN, "9:0", "PT8H", "2026-07-13", "2026-07-13T07:00", "2026-07-13T15:00"),
    (KOLKATA, "9:0", "PT8H", "2026-03-29", "2026-03-29T03:30", "2026-03-29T11:30"),
    # forward: 02:00 to 03:00 is skipped in Berlin and New York, 02:00 to 02:30 on Lord Howe
    (BERLIN, "1:0", "PT3H", "2026-03-29", "2026-03-29T00:00", "2026-03-29T02:00"),
    (BERLIN, "2:30", "PT1H", "2026-03-29", "2026-03-29T01:00", "2026-03-29T01:30"),
    (BERLIN, "1:0", "PT1H30M", "2026-03-29", "2026-03-29T00:00", "2026-03-29T01:00"),
    (NEW_YORK, "2:30", "PT1H", "2026-03-08", "2026-03-08T07:00", "2026-03-08T07:30"),
    (LORD_HOWE, "2:15", "PT1H", "2026-10-04", "2026-10-03T15:30", "2026-10-03T16:15"),
    # back: 02:00 to 03:00 is shown twice in Berlin, 01:00 to 02:00 in New York, 01:30 to 02:00 on Lord Howe
    (BERLIN, "0:0", "PT12H", "2026-10-25", "2026-10-24T22:00", "2026-10-25T11:00"),
    (BERLIN, "2:15", "PT30M", "2026-10-25", "2026-10-25T00:15", "2026-10-25T00:45"),
    (NEW_YORK, "1:30", "PT1H", "2026-11-01", "2026-11-01T05:30", "2026-11-01T07:30"),
    (LORD_HOWE, "1:45", "PT30M", "2026-04-05", "2026-04-04T14:45", "2026-04-04T15:45"),
])
def test_a_window_is_of_the_wall_clock(zone: str, starts: str, lasts: str, day: str, opens: str, closes: str) -> None:
    hour, minute = starts.split(":")
    rule = {"rule": f"FREQ=DAILY;BYHOUR={hour};BYMINUTE={minute}", "for": lasts, "from": day}
    before = state(windows(zone, [rule]), [], utc(opens) - timedelta(seconds=1))
    assert (before.open, before.opens_at) == (False, utc(opens))
    inside = state(windows(zone, [rule]), [], utc(opens))
    assert (inside.open, inside.opens_at, inside.closes_at) == (True, None, utc(closes))
    assert not state(windows(zone, [rule]), [], utc(closes)).open, "half-open"


def test_a_window_inside_the_gap_does_not_happen() -> None:
    nightly = windows(BERLIN, [{"rule": "FREQ=DAILY;BYHOUR=2;BYMINUTE=15", "for": "PT30M"}])
    assert state(nightly, [], utc("2026-03-28T12:00")).opens_at == utc("2026-03-30T00:15")


def test_what_is_denied_lasts_to_the_last_showing_of_its_end() -> None:
    denied = windows(BERLIN, deny=[{"rule": "FREQ=DAILY;BYHOUR=2;BYMINUTE=15", "for": "PT30M"}])
    assert state(denied, [], utc("2026-10-25T00:15")).opens_at == utc("2026-10-25T01:45")


def test_what_is_denied_until_the_clock_is_put_back_to_ends_once() -> None:
    """Nothing before 01:00 is shown again."""
    denied = windows(NEW_YORK, deny=[{"rule": "FREQ=DAILY", "for": "PT1H"}])
    assert state(denied, [], utc("2026-11-01T04:30")).opens_at == utc("2026-11-01T05:00")


def test_a_whole_day_that_a_zone_skips() -> None:
    """Samoa had no 30 December 2011."""
    daily = windows("Pacific/Apia", [{"rule": "FREQ=DAILY;BYHOUR=9", "for": "PT1H"}])
    assert state(daily, [], utc("2011-12-29T20:00")).opens_at == utc("2011-12-30T19:00")


def test_days_that_meet_are_one_window_through_both_changes() -> None:
    daily = windows(BERLIN, [{"rule": "FREQ=DAILY", "for": "P1D"}])
    found = state(daily, [], utc("2026-01-01T12:00"))
    assert (found.open, found.closes_at) == (True, None)


# --- laws ---------------------------------------------------------------------------------------------

ZONES = st.sampled_from([BERLIN, NEW_YORK, LORD_HOWE, KOLKATA, "UTC", "Africa/Casablanca"])
# Around moved clocks more often than not.
NEAR = st.sampled_from([
    (BERLIN, utc("2026-03-29T00:00")), (BERLIN, utc("2026-10-25T00:00")), (NEW_YORK, utc("2026-03-08T06:00")),
    (NEW_YORK, utc("2026-11-01T05:00")),
    (LORD_HOWE, utc("2026-04-04T14:00")), (LORD_HOWE, utc("2026-10-03T15:00")), (KOLKATA, utc("2026-06-14T20:00"))])
RULES = st.builds(
    lambda freq, hours, minute, length: {"rule": f"{freq};BYHOUR={','.join(map(str, hours))};BYMINUTE={minute}",
                                         "for": format_duration(timedelta(minutes=length))},
    st.sampled_from(["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=SU", "FREQ=WEEKLY;BYDAY=SA,SU", "FREQ=MONTHLY;BYDAY=-1SU"]),
    st.sets(st.sampled_from([0, 1, 2, 3, 20]), min_size=1, max_size=2).map(sorted), st.sampled_from([0, 15, 30]),
    st.integers(1, 16).map(lambda n: n * 15))


QUARTER = timedelta(minutes=15)


def oracle(given: Windows, freezes: list[Freeze], begin: datetime, hours: int) -> dict[datetime, bool]:
    """Minute by minute, by what the wall clock has shown and will show; it knows neither spans of UTC nor folds.

    Allowed: the latest time shown so far lies in a span. Denied: its start has been shown, and a time before its end is or will be.
    """
    zone, minute, margin = ZoneInfo(given.timezone), timedelta(minutes=1), 240
    walls = [(begin + n * minute).astimezone(zone).replace(tzinfo=None) for n in range(-margin, hours * 60 + margin)]
    furthest = [max(walls[max(0, n - margin):n + 1]) for n in range(len(walls))]
    yet = [min(walls[n:n + margin + 1]) for n in range(len(walls))]
    first = datetime(walls[0].year, 1, 1)

    def spans(rule: Any) -> list[tuple[datetime, datetime]]:
        starts = rrulestr(rule.rule + ";BYSECOND=0", dtstart=first).between(walls[0] - timedelta(days=2), walls[-1], inc=True)
        return [(start, start + rule.lasts) for start in starts]

    allow = [span for rule in given.allow for span in spans(rule)]
    deny = [span for rule in given.deny for span in spans(rule)]
    return {
        begin + n * minute:
            (not given.allow or any(start <= furthest[n + margin] < end for start, end in allow))
            and not any(start <= furthest[n + margin] and yet[n + margin] < end for start, end in deny)
            and not any(item.interval[0] <= begin + n * minute < item.interval[1] for item in freezes)
        for n in range(hours * 60)}


LAW = given(st.lists(RULES, max_size=2), st.lists(RULES, max_size=2), NEAR, st.integers(0, 6), st.booleans())


def follows_the_clock(allow: list[Any], deny: list[Any], where: tuple[str, datetime], shift: int, frozen: bool) -> None:
    zone, near = where
    if not allow and not deny:
        deny = [{"rule": "FREQ=DAILY;BYHOUR=2;BYMINUTE=15", "for": "PT30M"}]
    given_windows = windows(zone, allow, deny)
    begin = near - shift * QUARTER
    freezes = [freeze((near + QUARTER).isoformat(), (near + 3 * QUARTER).isoformat())] if frozen else []
    expected = oracle(given_windows, freezes, begin, 4)
    at = begin
    while at < begin + timedelta(hours=4):
        for moment in (at, at + timedelta(minutes=14)):
            found = state(given_windows, freezes, moment)
            assert found.open is expected[moment], moment
            opening = next((then for then, is_open in expected.items() if then >= moment and is_open), None)
            if found.open:
                assert found.opens_at is None
            elif opening is not None:
                assert found.opens_at == opening
            else:
                assert found.opens_at is None or found.opens_at >= begin + timedelta(hours=4)
            if found.closes_at is not None and found.closes_at in expected:
                assert not expected[found.closes_at]
        at += QUARTER


@settings(max_examples=10, deadline=None)
@LAW
def test_open_is_what_the_wall_clock_says_minute_by_minute(
        allow: list[Any], deny: list[Any], where: tuple[str, datetime], shift: int, frozen: bool) -> None:
    follows_the_clock(allow, deny, where, shift, frozen)


@pytest.mark.exhaustive
@settings(max_examples=300, deadline=None)
@LAW
def test_open_is_what_the_wall_clock_says_for_many_more(
        allow: list[Any], deny: list[Any], where: tuple[str, datetime], shift: int, frozen: bool) -> None:
    follows_the_clock(allow, deny, where, shift, frozen)


@settings(max_examples=60, deadline=None)
@given(ZONES, st.lists(RULES, max_size=2), st.lists(RULES, max_size=2),
       st.datetimes(datetime(2026, 1, 1), datetime(2036, 1, 1), timezones=st.just(UTC)))
def test_it_opens_and_closes_when_it_was_said_to(zone: str, allow: list[Any], deny: list[Any], moment: datetime) -> None:
    given_windows = windows(zone, allow, deny)
    found, instantly = state(given_windows, [], moment), timedelta(microseconds=1)
    assert found.open == (not found.why) == (against(given_windows, [], moment) is None)
    if found.opens_at is not None:
        assert found.opens_at > moment
        assert state(given_windows, [], found.opens_at).open
        assert not state(given_windows, [], found.opens_at - instantly).open
    if found.closes_at is not None:
        assert found.closes_at > moment
        assert not state(given_windows, [], found.closes_at).open
        assert state(given_windows, [], found.closes_at - instantly).open
