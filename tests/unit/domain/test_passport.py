"""The chain: whatever is changed, left out, moved or slipped in shows."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.passport import GENESIS, Entry, verify_chain

STEPS = st.lists(st.tuples(st.sampled_from(["intent", "outcome", "fact"]), st.text(max_size=5), st.dictionaries(st.text(), st.integers())),
                 min_size=2, max_size=8)


def chain(steps: list[tuple[str, str, dict[str, Any]]], passport: str = "p") -> list[Entry]:
    entries: list[Entry] = []
    for sequence, (kind, step, data) in enumerate(steps):
        entries.append(Entry(passport=passport, sequence=sequence, at=f"2026-01-05T09:00:{sequence:02}.000+00:00", kind=kind, step=step,
                             phase="staging", data=data, previous=entries[-1].digest if entries else GENESIS))
    return entries


@given(STEPS)
def test_what_was_written_verifies_also_after_storage(steps: list[tuple[str, str, dict[str, Any]]]) -> None:
    entries = chain(steps)
    assert verify_chain(entries) == []
    stored = [Entry.model_validate_json(entry.to_bytes()) for entry in entries]
    assert stored == entries
    assert [entry.to_bytes() for entry in stored] == [entry.to_bytes() for entry in entries]


@given(STEPS, st.data())
def test_a_changed_entry_shows(steps: list[tuple[str, str, dict[str, Any]]], data: st.DataObject) -> None:
    """All but the last, whose digest only the head tells (`passport.head` of the API)."""
    entries = chain(steps)
    at = data.draw(st.integers(0, len(entries) - 2))
    field, value = data.draw(st.sampled_from([("step", "x" * 6), ("kind", "other"), ("at", "2027"), ("phase", "succeeded"),
                                              ("data", {"a": {"b": 1}}), ("passport", "q"), ("sequence", 99)]))
    changed = entries[at].model_copy(update={field: value})
    assert verify_chain([*entries[:at], changed, *entries[at + 1:]])


@given(STEPS, st.data())
def test_a_missing_entry_shows(steps: list[tuple[str, str, dict[str, Any]]], data: st.DataObject) -> None:
    entries = chain(steps)
    at = data.draw(st.integers(0, len(entries) - 2))
    assert verify_chain([*entries[:at], *entries[at + 1:]])


@given(STEPS, st.data())
def test_a_moved_entry_shows(steps: list[tuple[str, str, dict[str, Any]]], data: st.DataObject) -> None:
    entries = chain(steps)
    order = data.draw(st.permutations(range(len(entries))))
    assert bool(verify_chain([entries[at] for at in order])) is (list(order) != list(range(len(entries))))


@given(STEPS, st.data())
def test_an_entry_that_is_slipped_in_shows(steps: list[tuple[str, str, dict[str, Any]]], data: st.DataObject) -> None:
    entries = chain(steps)
    at = data.draw(st.integers(0, len(entries) - 1))
    previous = entries[at].previous
    forged = entries[at].model_copy(update={"step": "forged", "previous": previous})
    assert verify_chain([*entries[:at], forged, *entries[at:]])


def test_another_promotions_last_entry_shows() -> None:
    steps: list[tuple[str, str, dict[str, Any]]] = [("fact", "accepted", {})]
    assert verify_chain(chain(steps)) == []
    first, second = chain([*steps, ("fact", "phase", {})])
    strange = second.model_copy(update={"passport": "q"})
    assert verify_chain([first, strange]) == ["entry 1: belongs to q, not to p"]
