"""What follows a failed attempt."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from emulator.event_grid.retry import Again, GiveUp, Outcome, after, expired

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE, HOUR = 60, 3600


def test_the_waits_are_those_of_the_documentation() -> None:
    waits = []
    for attempt in range(1, 13):
        decision = after(Outcome.of(500), attempt, 30, NOW)
        assert isinstance(decision, Again)
        waits.append((decision.at - NOW).total_seconds())
    assert waits == [10, 30, MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 12 * HOUR, 12 * HOUR]


@pytest.mark.parametrize(("status", "seconds"), [(404, 300), (408, 120), (503, 30), (429, 10), (302, 10), (205, 10), (None, 10)])
def test_some_answers_ask_for_a_longer_wait(status: int | None, seconds: int) -> None:
    outcome = Outcome(None, "TimedOut") if status is None else Outcome.of(status)
    assert after(outcome, 1, 30, NOW) == Again(NOW + timedelta(seconds=seconds))
    assert after(outcome, 5, 30, NOW) == Again(NOW + timedelta(minutes=10))


@pytest.mark.parametrize(("status", "reason"), [
    (400, "UndeliverableDueToHttpBadRequest"), (401, "UndeliverableDueToHttpUnauthorized"), (403, "UndeliverableDueToHttpForbidden"),
    (413, "UndeliverableDueToHttpRequestEntityTooLarge")])
def test_what_no_attempt_would_better_is_given_up_at_once(status: int, reason: str) -> None:
    assert after(Outcome.of(status), 1, 30, NOW) == GiveUp(reason)


def test_attempts_are_limited() -> None:
    assert isinstance(after(Outcome.of(500), 2, 3, NOW), Again)
    assert after(Outcome.of(500), 3, 3, NOW) == GiveUp("MaxDeliveryAttemptsExceeded")


@pytest.mark.parametrize(("status", "word"), [
    (200, "Success"), (201, "Success"), (202, "Success"), (203, "Success"), (204, "Success"), (205, "GenericError"), (206, "GenericError"),
    (301, "GenericError"), (404, "NotFound"), (503, "Busy"), (500, "GenericError")])
def test_success_is_200_to_204_only(status: int, word: str) -> None:
    outcome = Outcome.of(status)
    assert outcome.word == word
    assert outcome.delivered == (word == "Success")


def test_the_time_to_live_includes_its_last_moment() -> None:
    assert not expired(NOW, NOW + timedelta(minutes=5), 5)
    assert expired(NOW, NOW + timedelta(minutes=5, microseconds=1), 5)
