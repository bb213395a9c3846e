"""A passport file proves itself: whatever is changed in it shows."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotage.domain.canonical import digest
from pilotage.domain.passport import CLOSING, GENESIS, Entry
from pilotage.domain.signatures import Jwk, entry_content, thumbprint
from pilotage.errors import Conflict, Unavailable
from pilotage.ledger.passports import Passports
from pilotage.passports.file import passport_file
from pilotage.passports.verifying import verify
from tests.support.crashes import Stores
from tests.support.memory import SIGNER, MemoryKey, MemoryRecords

AT = datetime(2026, 1, 5, 12, tzinfo=UTC)
STRANGER = MemoryKey()
STEPS = ("accepted", "pin", "share.models", "staging.gates", "plan", "approval", "rollout.traffic", "phase")
File = dict[str, Any]


def written(passport: str = "promote-a-1", *, closed: bool = True, key: Any = SIGNER) -> File:
    stores = Stores()
    passports = Passports(stores.records, key)
    previous = GENESIS
    kinds = [("outcome", step) for step in STEPS] + ([(CLOSING, "closed")] if closed else [])
    for sequence, (kind, step) in enumerate(kinds):
        data: dict[str, Any] = {"count": sequence, "head": previous} if kind == CLOSING else {"n": sequence, "text": step}
        entry = Entry(passport=passport, sequence=sequence, at=f"2026-01-05T10:00:{sequence:02d}.000+00:00", kind=kind, step=step,
                      phase="staging", data=data, previous=previous)
        passports.append(entry)
        previous = entry.digest
    ledger = type(stores.ledger)(stores.records, stores.rows, stores.clock, signer=key)
    return passport_file(ledger, passport, AT)


WHOLE, OPEN, OTHER, FOREIGN = written(), written(closed=False), written("promote-b-2"), written(key=STRANGER)
TRUSTED: dict[str, Jwk] = {thumbprint(SIGNER.public_key()): SIGNER.public_key()}


def rechained(file: File, start: int, key: MemoryKey | None) -> File:
    """The rest of the chain made to fit again, and signed again when there is a key."""
    previous = digest(file["entries"][start - 1]) if start else GENESIS
    for position in range(start, len(file["entries"])):
        file["entries"][position]["previous"] = previous
        file["entries"][position]["sequence"] = position
        previous = digest(file["entries"][position])
        if key is not None:
            signature = key.sign(entry_content(file["passport"], position, previous))
            file["signatures"][position] = signature.model_dump(mode="json")
    return file


def _set(*path: Any, to: Any) -> Callable[[File], None]:
    def tamper(file: File) -> None:
        place: Any = file
        for name in path[:-1]:
            place = place[name]
        place[path[-1]] = to

    return tamper


def _both(name: str, change: Callable[[list[Any]], Any]) -> Callable[[File], None]:
    def tamper(file: File) -> None:
        for what in ("entries", "signatures"):
            change(file[what])

    tamper.__name__ = name
    return tamper


def _drop(position: int) -> Callable[[File], None]:
    return _both("drop", lambda items: items.pop(position))


def _swap(items: list[Any]) -> None:
    items[3], items[4] = items[4], items[3]


def _rewrite(file: File) -> None:
    """A changed entry, the chain after it made to fit; the signatures can't be."""
    file["entries"][3]["data"]["text"] = "passed"
    rechained(file, 4, None)
    file["head"]["digest"] = digest(file["entries"][-1])


def _resign(file: File) -> None:
    """The same by somebody with another key, who puts that in the file too."""
    file["entries"][3]["data"]["text"] = "passed"
    rechained(file, 3, STRANGER)
    file["keys"].append({**STRANGER.public_key(), "kid": thumbprint(STRANGER.public_key())})
    file["head"]["digest"] = digest(file["entries"][-1])


def _renamed_key(file: File) -> None:
    """A stranger's key under the name of ours."""
    _resign(file)
    ours = thumbprint(SIGNER.public_key())
    file["keys"] = [{**STRANGER.public_key(), "kid": ours}]
    for signature in file["signatures"]:
        signature["kid"] = ours


def _truncate(file: File) -> None:
    """The last entries are gone, and the head says so; only its signature does not."""
    file["entries"], file["signatures"] = file["entries"][:5], file["signatures"][:5]
    file["head"] |= {"count": 5, "digest": digest(file["entries"][-1])}


def _after_the_end(file: File) -> None:
    entry = copy.deepcopy(file["entries"][2])
    entry |= {"sequence": len(file["entries"]), "previous": digest(file["entries"][-1])}
    file["entries"].append(entry)
    file["signatures"].append(copy.deepcopy(file["signatures"][2]))


TAMPERED: dict[str, tuple[Callable[[File], None], str]] = {
    "a value changed": (_set("entries", 3, "data", "text", to="passed"), "entry 4: does not follow"),
    "a time changed": (_set("entries", 1, "at", to="2025-01-01T00:00:00.000+00:00"), "entry 2: does not follow"),
    "a phase changed": (_set("entries", 8, "phase", to="succeeded"), "entry 8 (closed): its signature is not of this content"),
    "a kind changed": (_set("entries", 5, "kind", to="fact"), "entry 6: does not follow"),
    "a step changed": (_set("entries", 5, "step", to="approval.automatic"), "entry 6: does not follow"),
    "a field added": (_set("entries", 2, "note", to="ours"), "entry 2: has fields that no entry has"),
    "a field removed": (lambda file: file["entries"][2].pop("phase"), "entry 2: can't be read"),
    "the first entry missing": (_drop(0), "entry 0: sequence is 1"),
    "an entry missing": (_drop(4), "entry 4: sequence is 5"),
    "the closing entry missing": (_drop(-1), "head: it was exported with 9 entries"),
    "two entries swapped": (_both("swap", _swap), "entry 3: sequence is 4"),
    "all entries reversed": (_both("reverse", lambda items: items.reverse()), "entry 0: sequence is 8"),
    "an entry doubled": (_both("double", lambda items: items.insert(4, copy.deepcopy(items[4]))), "entry 5: sequence is 4"),
    "an entry of another passport": (lambda file: _graft(file), "entry 4: belongs to promote-b-2"),
    "an entry after the closing one": (_after_the_end, "entry 8: closes the passport, and others follow"),
    "the chain made to fit": (_rewrite, "entry 3 (staging.gates): its signature is not of this content"),
    "signed again by somebody else": (_resign, "which is not among the keys you trust"),
    "somebody else's key under our name": (_renamed_key, "is not the thumbprint of its key"),
    "cut off with its head": (_truncate, "head: its signature is not of this content"),
    "a signature removed": (_set("signatures", 3, to=None), "entry 3 (staging.gates): is not signed"),
    "a signature of another entry": (lambda file: _swap(file["signatures"]), "entry 3 (staging.gates): its signature is not of"),
    "all signatures removed": (_set("signatures", to=[]), "there are 0 signatures for 9 entries"),
    "the keys removed": (_set("keys", to=[]), "is not in the file"),
    "another passport's name": (_set("passport", to="promote-b-2"), "the entries are of promote-a-1"),
    "another passport's head": (_set("head", to=OTHER["head"]), "head: "),
    "another time of export": (_set("exported_at", to="2027-01-01T00:00:00+00:00"), "head: its signature is not of this content"),
    "an algorithm of none": (_set("signatures", 3, "alg", to="none"), "its signature can't be read"),
    "the format of another version": (_set("format", to="pilotage-passport/2"), "format is"),
    "a field of the file added": (_set("note", to="approved"), "fields that should not be there"),
    "no entries": (_set("entries", to=[]), "there are no entries"),
}


def _graft(file: File) -> None:
    file["entries"][4], file["signatures"][4] = copy.deepcopy(OTHER["entries"][4]), copy.deepcopy(OTHER["signatures"][4])


def test_a_whole_passport_is_sound_and_trusted() -> None:
    verdict = verify(json.dumps(WHOLE), TRUSTED, WHOLE["head"]["digest"])
    assert verdict.problems == []
    assert (verdict.sound, verdict.trusted, verdict.closed, verdict.entries) == (True, True, True, 9)
    assert verify(json.dumps(WHOLE, indent=3, sort_keys=True)).sound, "how it is laid out says nothing"


def test_one_that_goes_on_is_sound_and_not_closed() -> None:
    verdict = verify(json.dumps(OPEN), TRUSTED)
    assert (verdict.sound, verdict.closed) == (True, False)
    assert verify(json.dumps(OPEN), TRUSTED, anchor=OPEN["head"]["digest"]).problems != [], "what is anchored is closed"


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_found(name: str) -> None:
    assert len(TAMPERED) >= 20
    tamper, says = TAMPERED[name]
    file = copy.deepcopy(WHOLE)
    tamper(file)
    verdict = verify(json.dumps(file), TRUSTED, WHOLE["head"]["digest"])
    assert any(says in problem for problem in verdict.problems), verdict.problems
    assert not verdict.sound


def test_a_strangers_whole_passport_is_sound_and_not_trusted() -> None:
    assert verify(json.dumps(FOREIGN)).sound
    assert not verify(json.dumps(FOREIGN), TRUSTED).sound


def test_a_passport_of_two_keys_is_whole() -> None:
    """A key is rotated while a promotion waits."""
    records = MemoryRecords()
    for key, start in ((SIGNER, 0), (STRANGER, 1)):
        passports = Passports(records, key)
        previous = passports.tail("p").previous
        passports.append(Entry(passport="p", sequence=start, at="2026-01-05T10:00:00.000+00:00", kind="fact", step="s", phase="staging",
                               previous=previous))
    from pilotage.ledger import Ledger
    from tests.support.memory import MemoryRows

    file = passport_file(Ledger(records, MemoryRows(), signer=STRANGER), "p", AT)
    both = TRUSTED | {thumbprint(STRANGER.public_key()): STRANGER.public_key()}
    assert verify(json.dumps(file), both).problems == []
    assert len(file["keys"]) == 2


NO_PASSPORTS = {
    "empty": "", "a list": "[]", "cut off": "{", "null": "null", "nothing in it": '{"format": "pilotage-passport/1"}',
    "a name twice": '{"format": "pilotage-passport/1", "format": 1}', "no head": json.dumps(WHOLE | {"head": None}),
    "no key": json.dumps(WHOLE | {"keys": [{"kid": 1}]}), "no signatures": json.dumps(WHOLE | {"signatures": [1] * 9}),
    "no entries": json.dumps(WHOLE | {"entries": [[]] * 9}),
}


@pytest.mark.parametrize("text", NO_PASSPORTS.values(), ids=NO_PASSPORTS)
def test_what_is_no_passport_is_told(text: str) -> None:
    assert verify(text, TRUSTED).problems != []


_TEXT = json.dumps(WHOLE, separators=(",", ":"))


@given(st.integers(0, len(_TEXT) - 1), st.characters(min_codepoint=32, max_codepoint=126))
def test_any_changed_character_shows_or_changes_nothing(position: int, character: str) -> None:
    changed = _TEXT[:position] + character + _TEXT[position + 1:]
    verdict = verify(changed, TRUSTED)
    if verdict.sound:
        assert json.loads(changed) == WHOLE


class Unreachable(MemoryKey):
    """A vault that does not answer until it is back."""

    down = True

    def sign(self, content: bytes) -> Any:
        if self.down:
            raise Unavailable("the vault does not answer")
        return super().sign(content)


def test_a_vault_that_is_down_holds_entries_up_but_none_of_a_rollback() -> None:
    records, key = MemoryRecords(), Unreachable()
    passports = Passports(records, key)
    entry = Entry(passport="rollback-p-1", sequence=0, at="2026-01-05T10:00:00.000+00:00", kind="fact", step="s", phase="rolled_back")
    with pytest.raises(Unavailable):
        passports.append(entry.model_copy(update={"phase": "staging"}))
    passports.append(entry)
    passports.append(entry)
    assert passports.entries("rollback-p-1") == [entry]
    key.down = False
    [(_, late)] = passports.signed("rollback-p-1")
    assert passports.signed("rollback-p-1") == [(entry, late)], "it is signed once"


def test_an_entry_is_written_once_whoever_signs_it_again() -> None:
    records = MemoryRecords()
    entry = Entry(passport="p", sequence=0, at="2026-01-05T10:00:00.000+00:00", kind="fact", step="s", phase="staging")
    Passports(records, SIGNER).append(entry)
    before = dict(records.contents)
    Passports(records, SIGNER).append(entry)
    assert records.contents == before
    with pytest.raises(Conflict):
        Passports(records, SIGNER).append(entry.model_copy(update={"step": "t"}))
