"""Where a promotion's time went, from its passport and from its row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.durations import PARTS, of_phases, settled, split, stretches, told
from pilotage.domain.passport import Entry
from pilotage.domain.phase import PromotionPhase
from pilotage.web import bar

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def passport(*lines: tuple[int, str, str, str]) -> list[Entry]:
    """(minute, kind, step, phase) each."""
    return [Entry(passport="p", sequence=number, at=(NOON + timedelta(minutes=minute)).isoformat(), kind=kind, step=step, phase=phase,
                  data={}, previous="") for number, (minute, kind, step, phase) in enumerate(lines)]


WAY = passport(
    (0, "fact", "phase", "accepted"), (1, "fact", "phase", "staging"), (3, "intent", "staging.deploy", "staging"),
    (10, "fact", "phase", "awaiting_approval"), (70, "outcome", "approval", "awaiting_approval"), (72, "fact", "phase", "waiting_window"),
    (100, "fact", "phase", "queued"), (105, "fact", "phase", "rolling_out"), (107, "outcome", "rollout.traffic", "rolling_out"),
    (137, "outcome", "rollout.check", "rolling_out"), (138, "fact", "phase", "succeeded"))


def test_each_part_has_its_time() -> None:
    found = stretches(WAY, NOON + timedelta(days=9))
    assert {part: took // timedelta(minutes=1) for part, took in split(found).items()} == {
        "work": 10 + 2 + 2 + 1, "people": 60, "window": 28, "queue": 5, "bake": 30}
    assert [(item.phase, item.part) for item in found] == [
        ("accepted", "work"), ("staging", "work"), ("awaiting_approval", "people"), ("awaiting_approval", "work"),
        ("waiting_window", "window"), ("queued", "queue"), ("rolling_out", "work"), ("rolling_out", "bake"), ("rolling_out", "work")]


def test_one_that_goes_on_counts_until_now() -> None:
    assert split(stretches(WAY[:4], NOON + timedelta(minutes=30)))["people"] == timedelta(minutes=20)
    assert split(stretches(WAY[:4]))["people"] == timedelta(0)
    assert stretches([], NOON) == of_phases([], NOON) == []


def test_a_rollback_of_a_month_later_is_no_part_of_the_way() -> None:
    marks = [(entry.phase, entry.at) for entry in WAY if entry.step == "phase"]
    late = [*marks, ("rolled_back", (NOON + timedelta(days=30)).isoformat())]
    assert of_phases(late, NOON + timedelta(days=31)) == of_phases(marks, NOON + timedelta(days=31))
    assert split(of_phases(marks, NOON)) == {**split(stretches(WAY)), "people": timedelta(minutes=62), "work": timedelta(minutes=10),
                                            "bake": timedelta(minutes=33)}


PHASES = st.sampled_from([phase.value for phase in PromotionPhase])
STEPS = st.sampled_from([("fact", "phase"), ("outcome", "approval"), ("outcome", "rollout.traffic"), ("intent", "rollout.deploy")])


@given(st.lists(st.tuples(st.integers(-60, 600), STEPS, PHASES), max_size=12), st.integers(0, 600))
def test_the_parts_are_the_whole_whatever_the_clock_did(lines: list[tuple[int, tuple[str, str], str]], until: int) -> None:
    entries = passport(*((minute, kind, step, phase) for minute, (kind, step), phase in lines))
    found = stretches(entries, NOON + timedelta(minutes=until))
    assert all(item.took >= timedelta(0) and item.part in PARTS for item in found)
    assert all(one.end == other.start for one, other in pairwise(found))
    assert sum(split(found).values(), timedelta(0)) == (found[-1].end - found[0].start if found else timedelta(0))
    drawn = bar(found, "succeeded")["segments"]
    assert all(segment["width"] > 0 for segment in drawn)
    assert not drawn or abs(drawn[-1]["x"] + drawn[-1]["width"] - 1000) < 1


def test_a_bar_says_what_it_shows() -> None:
    assert bar(stretches(WAY), "succeeded")["told"] == (
        "accepted 1 min, then staging 9 min, then awaiting approval 1 h, then awaiting approval 2 min, then waiting window 28 min, "
        "then queued 5 min, then rolling out 2 min, then rolling out 30 min, then rolling out 1 min, then succeeded")
    assert bar([], "accepted") == {"segments": [], "told": "accepted"}


@pytest.mark.parametrize(("seconds", "shown"), [(0, 0), (4, 0), (59, 55), (60, 60), (3659, 3600), (-5, 0)])
def test_what_waits_long_is_told_anew_once_a_minute(seconds: int, shown: int) -> None:
    assert settled(NOON + timedelta(seconds=seconds), NOON) == NOON + timedelta(seconds=shown)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0 s"), (59, "59 s"), (3600, "1 h"), (3605, "1 h"), (93784, "1 d 2 h")])
def test_durations_in_words(seconds: int, text: str) -> None:
    assert told(timedelta(seconds=seconds)) == text
