"""Change windows: by the wall clock of their zone, with what denies above what allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pilotage.domain.windows import Freeze, Windows, against, freezes_for, state

OFFICE = {"rule": "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH;BYHOUR=9;BYMINUTE=0", "for": "PT8H"}


def windows(timezone: str = "UTC", **changes: Any) -> Windows:
    return Windows.model_validate({"timezone": timezone, **changes})


def freeze(begins: str, until: str, **changes: Any) -> Freeze:
    return Freeze.model_validate({"from": begins, "until": until, "reason": "audit", **changes})


def at(text: str) -> datetime:
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
    ("Europe/Berlin", {"allow": [{"rule": "FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "for": "PT1H"}]}, "2026-03-29T00:00", "2026-03-29T01:30"),
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
    found = state(windows(zone, **rules), [], at(moment))
    assert found.open == (opens is None), found
    assert found.opens_at == (at(opens) if opens else None)
    assert bool(found.why) != found.open


def test_a_freeze_outweighs_what_is_allowed_and_its_end_may_be_outside_the_windows() -> None:
    found = state(windows(allow=[OFFICE]), [freeze("2026-01-05", "2026-01-06T20:00")], at("2026-01-05T10:00"))
    assert (found.open, found.opens_at, found.why) == (False, at("2026-01-07T09:00"), "freeze: audit")


def test_freezes_follow_one_another() -> None:
    two = [freeze("2026-01-05T00:00", "2026-01-06T00:00"), freeze("2026-01-05T23:00:00+00:00", "2026-01-08T00:00", timezone="Europe/Paris")]
    assert state(None, two, at("2026-01-05T10:00")).opens_at == at("2026-01-07T23:00")


def test_a_freeze_is_for_whom_it_names() -> None:
    found = freeze("2026-01-05", "2026-01-06", workspaces=["mlw-prod*"], models=["air-*"])
    assert freezes_for([found], "MLW-prod-eu", "Air-time") == [found]
    assert freezes_for([found], "mlw-dev", "air-time") == freezes_for([found], "mlw-prod", "leaf") == []


def test_where_no_opening_is_in_sight_that_is_told() -> None:
    found = state(windows(allow=[{"rule": "FREQ=DAILY;COUNT=3;BYHOUR=9", "for": "PT1H"}]), [], at("2026-01-05T00:00"))
    assert (found.open, found.opens_at, found.why) == (False, None, "outside the policy's windows (UTC)")


@pytest.mark.parametrize(("value", "says"), [
    ({"timezone": "Europe/Atlantis"}, "timezone 'Europe/Atlantis' is not known"), ({"covers": []}, "at least 1 item"),
    ({"allow": [OFFICE | {"rule": "FREQ=SOMETIMES"}]}, "is no RFC 5545 rule"),
    ({"allow": [OFFICE | {"for": "PT0S"}]}, "for must be longer"),
    ({"allow": [OFFICE | {"rule": "FREQ=MINUTELY"}]}, "every hour at most"),
    ({"allow": [OFFICE | {"rule": "FREQ=DAILY;BYSECOND=1"}]}, "without BYSECOND"),
    ({"allow": [OFFICE | {"rule": "DTSTART:20260101T000000\nRRULE:FREQ=DAILY"}]}, "without DTSTART"),
    ({"allow": [OFFICE | {"rule": "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30"}]}, "never occurs"),
    ({"allow": [OFFICE | {"from": "soon"}]}, "'soon' is no day"), ({"allow": [OFFICE | {"hours": 3}]}, "hours"),
    ({"allow": [OFFICE | {"rule": "FREQ=DAILY;UNTIL=20260101T000000Z"}]}, "is no RFC 5545 rule"),
])
def test_what_is_no_window_says_why(value: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        windows(**value)
    assert says in str(caught.value)


@pytest.mark.parametrize(("begins", "until", "says"), [
    ("2026-01-06", "2026-01-05", "until must come after from"), ("soon", "2026-01-05", "from: 'soon' is no time"),
    ("2026-01-05", "later", "until: 'later' is no time"),
])
def test_what_is_no_freeze_says_why(begins: str, until: str, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        freeze(begins, until)
    assert says in str(caught.value)


HOURS = st.sampled_from([0, 1, 2, 3, 9, 13, 22, 23])
RULES = st.builds(lambda hour, days, length: {
    "rule": f"FREQ=WEEKLY;BYDAY={','.join(sorted(days))};BYHOUR={hour};BYMINUTE=0", "for": length},
                  HOURS, st.sets(st.sampled_from(["MO", "TU", "WE", "SA", "SU"]), min_size=1),
                  st.sampled_from(["PT1H", "PT5H", "P1D", "PT26H"]))
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])
MOMENTS = st.integers(0, 24 * 10).map(lambda hour: at("2026-03-24T00:00") + timedelta(hours=hour))
FREEZES = st.lists(st.builds(lambda start, length: freeze((at("2026-03-24T00:00") + timedelta(hours=start)).isoformat(),
                                                         (at("2026-03-24T00:00") + timedelta(hours=start + length)).isoformat()),
                             st.integers(0, 240), st.integers(1, 48)), max_size=2)


@settings(max_examples=60, deadline=None)
@given(ZONES, st.lists(RULES, max_size=2), st.lists(RULES, max_size=2), FREEZES, MOMENTS)
def test_the_opening_is_the_first_open_moment(
    zone: str, allow: list[Any], deny: list[Any], freezes: list[Freeze], moment: datetime
) -> None:
    rules = windows(zone, allow=allow, deny=deny)
    found = state(rules, freezes, moment)
    assert found.open == (found.opens_at is None and not found.why)
    if found.opens_at is not None:
        assert found.opens_at > moment
        assert state(rules, freezes, found.opens_at).open
    # Half hours are as fine as these rules and zones are.
    end = min(found.opens_at or moment + timedelta(days=10), moment + timedelta(days=10))
    step = moment
    while not found.open and step < end:
        assert against(rules, freezes, step) is not None, step
        step += timedelta(minutes=30)
