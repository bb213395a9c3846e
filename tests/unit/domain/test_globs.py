"""Two policies clash when some model name matches both patterns: checked against fnmatch itself."""

from __future__ import annotations

import fnmatch
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.globs import globs_meet

PATTERNS = st.text(alphabet="ab*?", max_size=4)
NAMES = [""] + ["".join(letters) for size in range(1, 9) for letters in itertools.product("ab", repeat=size)]


@pytest.mark.parametrize(("first", "second", "meet"), [
    ("air-time", "air-time", True),
    ("air-time", "air-tide", False),
    ("air-*", "*-time", True),
    ("air-*", "sea-*", False),
    ("*", "", True),
    ("a*b*b*c", "a?c", False),
    ("a*b*c", "a?b?c", True),
    ("v[0-9]", "v7", True),
    ("v[0-9]", "vx", False),
    ("v[!0-9]", "vx", True),
    ("v[]]", "v]", True),
    ("v[0", "v[0", True),
    ("v[0", "v0", False),
    ("v[ab]", "v[cd]", True),
    ("*" * 3000 + "a", "b" * 3000, False),
])
def test_examples(first: str, second: str, meet: bool) -> None:
    assert globs_meet(first, second) is meet
    assert globs_meet(second, first) is meet


@given(PATTERNS, PATTERNS)
def test_they_meet_exactly_when_some_name_matches_both(first: str, second: str) -> None:
    """The shortest common name needs no more letters than both patterns together."""
    matched = [name for name in NAMES if fnmatch.fnmatchcase(name, first) and fnmatch.fnmatchcase(name, second)]
    assert globs_meet(first, second) is bool(matched)
