"""The zip of an audit: what is in it, and that whatever is changed in it shows."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from pilotage.domain.delegation import Comment, Refusal, Review
from pilotage.domain.passport import CLOSING, GENESIS, Entry
from pilotage.domain.signatures import Jwk, thumbprint
from pilotage.errors import TooLarge
from pilotage.ledger import Ledger
from pilotage.passports.audit import MANIFEST, audit_zip
from pilotage.passports.verifying import verify
from pilotage.passports.verifying_audits import verify_audit
from tests.support.crashes import Stores
from tests.support.memory import SIGNER, MemoryKey

JULY, AUGUST = datetime(2026, 7, 1, tzinfo=UTC), datetime(2026, 8, 1, tzinfo=UTC)
NOW = datetime(2026, 9, 1, 12, tzinfo=UTC)
TRUSTED: dict[str, Jwk] = {thumbprint(SIGNER.public_key()): SIGNER.public_key()}
A, B, BACK = "promote-a-1-abc-1", "promote-b-1-abc-1", "rollback-promote-a-1-abc-1-1"
CHILD = f"{A}:rollout:rollback"


def write(ledger: Ledger, passport: str, *days: str, closed: bool = True) -> None:
    """One entry a day (`07-04`)."""
    previous = GENESIS
    for sequence, day in enumerate(days):
        last = closed and sequence == len(days) - 1
        entry = Entry(passport=passport, sequence=sequence, at=f"2026-{day}T10:00:00.000+00:00", kind=CLOSING if last else "fact",
                      step="closed" if last else "step", phase="staging", previous=previous,
                      data={"count": sequence, "head": previous} if last else {"n": sequence})
        ledger.passports.append(entry)
        previous = entry.digest


def refusal(promotion: str, day: str) -> Refusal:
    return Refusal(promotion=promotion, actor="oid-eve", attempted="approve", code="forbidden", status=403, message="no",
                   at=f"2026-{day}T10:00:00.000+00:00")


@pytest.fixture
def ledger() -> Ledger:
    stores = Stores()
    ledger = Ledger(stores.records, stores.rows, stores.clock, signer=SIGNER)
    write(ledger, A, "07-04", "07-05", "07-06")
    write(ledger, BACK, "07-07", "07-08")
    write(ledger, CHILD, "06-07", "06-08")
    write(ledger, B, "06-01", "06-02")
    ledger.voices.refuse(refusal(A, "07-05"))
    ledger.voices.refuse(refusal(A, "06-20"))
    ledger.voices.refuse(refusal(B, "07-30"))
    ledger.voices.refuse(refusal(B, "06-03"))
    ledger.voices.comment(Comment(promotion=A, author="oid-ann", text="why now?", at="2026-07-05T11:00:00.000+00:00"))
    ledger.voices.review(Review(promotion=A, reviewer="oid-bob", justified=True, reason="fire", at="2026-07-09T11:00:00.000+00:00"))
    return ledger


def members(content: bytes) -> dict[str, Any]:
    with ZipFile(io.BytesIO(content)) as archive:
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}


def test_it_holds_what_was_written_refused_and_said_in_the_period(ledger: Ledger) -> None:
    content = audit_zip(ledger, JULY, AUGUST, NOW)
    found = members(content)
    assert set(found) == {MANIFEST, "keys.json", f"passports/{A}.json", f"passports/{BACK}.json", f"refusals/{A}.json",
                          f"refusals/{B}.json", f"said/{A}.json"}
    assert [item["at"][:10] for item in found[f"refusals/{A}.json"]] == ["2026-06-20", "2026-07-05"], "of a promotion that is in it: all"
    assert [item["at"][:10] for item in found[f"refusals/{B}.json"]] == ["2026-07-30"], "of others: the period's"
    assert found[f"said/{A}.json"]["review"]["reviewer"] == "oid-bob"
    assert (found[MANIFEST]["passports"], found[MANIFEST]["passports_in_ledger"]) == (2, 4)
    verdict = verify_audit(content, TRUSTED)
    assert (verdict.problems, verdict.passports, verdict.entries, verdict.trusted) == ([], 2, 5, True)
    assert verdict.period == "2026-07-01T00:00:00.000+00:00 to 2026-08-01T00:00:00.000+00:00"
    assert audit_zip(ledger, JULY, AUGUST, NOW) == content, "equal evidence at an equal time gives equal bytes"


@pytest.mark.parametrize(("days", "inside"), [
    (("06-30",), False), (("07-01",), True), (("07-31",), True), (("08-01",), False), (("06-30", "08-01"), False),
    (("06-30", "07-15", "08-01"), True), (("06-30", "07-15"), True), (("07-15", "08-15"), True)], ids=range(8))
def test_a_passport_with_an_entry_of_the_period_is_in_it_whole(days: tuple[str, ...], inside: bool) -> None:
    stores = Stores()
    ledger = Ledger(stores.records, stores.rows, stores.clock, signer=SIGNER)
    write(ledger, A, *days)
    found = members(audit_zip(ledger, JULY, AUGUST, NOW))
    assert (f"passports/{A}.json" in found) is inside
    if inside:
        assert len(found[f"passports/{A}.json"]["entries"]) == len(days)


def test_a_file_names_the_rollbacks_of_its_promotion(ledger: Ledger) -> None:
    file = members(audit_zip(ledger, JULY, AUGUST, NOW))[f"passports/{A}.json"]
    assert [(item["passport"], item["count"]) for item in file["rollbacks"]] == [(BACK, 2), (CHILD, 2)]
    assert verify(json.dumps(file)).problems == []
    for change in ([], [{**file["rollbacks"][0], "count": 1}], [{**file["rollbacks"][0], "passport": f"rollback-{B}-1"}]):
        assert verify(json.dumps(file | {"rollbacks": change})).problems != [], "the statement of the end covers them"


def test_a_period_that_is_too_large_is_refused_with_what_to_do(ledger: Ledger) -> None:
    with pytest.raises(TooLarge, match="month by month"):
        audit_zip(ledger, JULY, AUGUST, NOW, limit=1000)


Contents = dict[str, bytes]


def _drop(name: str) -> Callable[[Contents], None]:
    return lambda files: files.pop(name) and None


def _change(name: str, old: bytes, new: bytes) -> Callable[[Contents], None]:
    def change(files: Contents) -> None:
        assert old in files[name]
        files[name] = files[name].replace(old, new, 1)

    return change


def _hide_a_passport(files: Contents) -> None:
    """Also from the manifest, whose signature can't be made."""
    del files[f"passports/{BACK}.json"]
    manifest = json.loads(files[MANIFEST])
    manifest["files"] = [file for file in manifest["files"] if BACK not in file["name"] or file["name"].startswith("refusals")]
    manifest["passports"] -= 1
    files[MANIFEST] = json.dumps(manifest).encode()


def _resign(files: Contents) -> None:
    """The whole of another ledger, with another key, under the same names."""
    stores = Stores()
    other = Ledger(stores.records, stores.rows, stores.clock, signer=MemoryKey())
    write(other, A, "07-04")
    files.clear()
    with ZipFile(io.BytesIO(audit_zip(other, JULY, AUGUST, NOW))) as archive:
        files.update({name: archive.read(name) for name in archive.namelist()})


TAMPERINGS: dict[str, Callable[[Contents], None]] = {
    "a passport is gone": _drop(f"passports/{A}.json"), "refusals are gone": _drop(f"refusals/{B}.json"),
    "keys are gone": _drop("keys.json"),
    "the manifest is gone": _drop(MANIFEST), "the review is changed": _change(f"said/{A}.json", b"fire", b"fine"),
    "a refusal is changed": _change(f"refusals/{A}.json", b"oid-eve", b"oid-ann"),
    "an entry is changed": _change(f"passports/{A}.json", b'"n": 1', b'"n": 2'),
    "the period is changed": _change(MANIFEST, b"2026-07-01", b"2026-06-01"),
    "the count is changed": _change(MANIFEST, b'"passports_in_ledger": 4', b'"passports_in_ledger": 2'),
    "a passport is hidden": _hide_a_passport, "something is added": lambda files: files.update({"passports/x.json": b"{}"}),
    "another's passport under the name": lambda files: files.update({f"passports/{A}.json": files[f"passports/{BACK}.json"]}),
    "the manifest is no JSON": lambda files: files.update({MANIFEST: b"["}),
    "the manifest is another thing": lambda files: files.update({MANIFEST: b'{"format": "x"}'}),
    "somebody else's key": _resign,
}


@pytest.mark.parametrize("tampering", TAMPERINGS)
def test_whatever_is_changed_shows(ledger: Ledger, tampering: str) -> None:
    with ZipFile(io.BytesIO(audit_zip(ledger, JULY, AUGUST, NOW))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    TAMPERINGS[tampering](files)
    target = io.BytesIO()
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    verdict = verify_audit(target.getvalue(), TRUSTED)
    assert verdict.problems != []


def test_a_file_that_is_there_twice_shows(ledger: Ledger) -> None:
    target = io.BytesIO(audit_zip(ledger, JULY, AUGUST, NOW))
    with ZipFile(target, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("keys.json", b"{}")
    assert any("twice" in problem for problem in verify_audit(target.getvalue()).problems)


@pytest.mark.parametrize("cut", [4, 100, -30, -1])
def test_half_a_zip_is_none(ledger: Ledger, cut: int) -> None:
    assert verify_audit(audit_zip(ledger, JULY, AUGUST, NOW)[:cut]).problems != []


def test_without_keys_to_compare_with_it_says_so(ledger: Ledger) -> None:
    verdict = verify_audit(audit_zip(ledger, JULY, AUGUST, NOW))
    assert (verdict.problems, verdict.trusted, verdict.keys) == ([], False, sorted(TRUSTED))
