"""Rows that two tables share: the laws, and what counts as nearly equal."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pilotage.errors import InvalidInput
from pilotage.gates.overlap import exceeds, measure, similar_texts

CELL = st.one_of(st.none(), st.integers(-9, 9), st.integers(), st.floats(), st.booleans(), st.text(max_size=40),
                 st.lists(st.integers(0, 3)))
TABLE = st.lists(st.tuples(CELL, CELL, CELL), min_size=1, max_size=12)
COLUMNS = ["a", "b", "c"]
STORY = "the ship left the harbour at dawn with a cargo of oranges and reached the northern port nine days later, " \
        "where merchants stood on the quay and paid in silver for all that had not rotted on the way"


@settings(max_examples=80, deadline=None)
@given(TABLE, TABLE, st.randoms(use_true_random=False))
def test_order_does_not_matter(rows: list[Any], against: list[Any], shuffler: random.Random) -> None:
    expected = measure(COLUMNS, rows, COLUMNS, against)
    mixed, others = shuffler.sample(rows, len(rows)), [(row[2], row[0], row[1]) for row in shuffler.sample(against, len(against))]
    assert measure(COLUMNS, mixed, ["c", "a", "b"], others) == expected


@settings(max_examples=80, deadline=None)
@given(TABLE, TABLE, st.data())
def test_a_copied_row_is_always_found(rows: list[Any], against: list[Any], data: st.DataObject) -> None:
    copied = data.draw(st.lists(st.sampled_from(against), min_size=1, max_size=5))
    before, after = measure(COLUMNS, rows, COLUMNS, against), measure(COLUMNS, [*rows, *copied], COLUMNS, against)
    assert after.exact == before.exact + len(copied)
    assert after.exact + after.near <= after.rows == len(rows) + len(copied)


@pytest.mark.parametrize(("one", "other", "found"), [
    ((1, "x"), (1.0, " x "), (1, 0)),
    (("1", "x"), (1, "x"), (1, 0)),
    ((True, "x"), (1, "x"), (0, 0)),
    ((True, "x"), ("True", "x"), (1, 0)),
    ((None, ""), (float("nan"), None), (1, 0)),
    ((1.0005, "x"), (1, "x"), (0, 1)),
    ((1.5, "x"), (1, "x"), (0, 0)),
    ((1, "New  york"), (1, "new York"), (0, 1)),
    ((1, "x"), (1, "y"), (0, 0)),
    ((None, "x"), (0, "x"), (0, 0)),
    ((float("inf"), "x"), (float("inf"), "x"), (1, 0)),
])
def test_what_is_equal_and_nearly_equal(one: tuple[Any, Any], other: tuple[Any, Any], found: tuple[int, int]) -> None:
    # Others give the number a spread of about 1.
    others = [(number, "other") for number in (-1.3, -0.7, 0.0, 0.7, 1.3)]
    overlap = measure(["n", "t"], [one], ["n", "t"], [other, *others])
    assert (overlap.exact, overlap.near) == found


def test_prose_is_compared_by_its_shingles() -> None:
    changed = STORY.upper().replace("NINE", "ten") + "!"
    other = "an entirely different tale of two cities, a clockmaker and his daughter who never learned to read the tides"
    training = [(1, STORY), (2, other[::-1]), (3, STORY[::-1])]
    overlap = measure(["text", "n"], [(changed, 1), (changed, 5), (other, 1)], ["n", "text"], training)
    assert (overlap.exact, overlap.near) == (0, 1)
    assert similar_texts([changed.casefold()], [STORY, other], 0.8) == {changed.casefold(): [STORY]}


def test_rows_that_repeat_by_nature_are_no_leak_but_a_copy_beyond_it_is() -> None:
    draw = random.Random(1)
    training = [(draw.randrange(40), draw.randrange(40)) for _ in range(1000)]
    unseen = [(draw.randrange(40), draw.randrange(40)) for _ in range(500)]
    fresh, leaked = (measure(["a", "b"], table, ["a", "b"], training) for table in (unseen, [*unseen[:300], *training[:200]]))
    assert 0.3 < fresh.exact_share < 0.6
    assert fresh.chance_share == pytest.approx(fresh.exact_share, abs=0.1)
    assert (exceeds(fresh, 0), exceeds(leaked, 0)) == (False, True)


def test_training_data_that_was_copied_over_excuses_no_leak() -> None:
    draw = random.Random(2)
    training = [(draw.random(), draw.random()) for _ in range(1000)]
    holdout = [(draw.random(), draw.random()) for _ in range(500)]
    assert exceeds(measure(["a", "b"], [*holdout, *training[:60]], ["a", "b"], training * 2), 0)


def test_a_key_says_what_makes_a_row_the_same() -> None:
    overlap = measure(["id", "v"], [(1, 5), (2, 6)], ["v", "id"], [(9, 1)], key=["id"])
    assert (overlap.exact, overlap.columns) == (1, ["id"])


@pytest.mark.parametrize(("given", "words"), [({"key": ["id"]}, "key: id not in both"), ({"distance": 0.7}, "distance is 0.7")])
def test_what_can_not_be_measured_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        measure(["a"], [(1,)], ["a"], [(1,)], **given)
    with pytest.raises(InvalidInput, match="no column is common"):
        measure(["a"], [(1,)], ["b"], [(1,)])


def test_an_empty_table_shares_nothing() -> None:
    assert measure(["a"], [], ["a"], [(1,)]).exact_share == 0
    assert measure(["a"], [(1,)], ["a"], []).exact == 0
