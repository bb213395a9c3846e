"""Verifying a passport file, anywhere: no settings, no network. What is wrong is told by entry.

Trust comes from outside the file: a set of keys (JWKS) that the reader has from the issuer, and the digest of the
closing entry, which stands on the registry's model. A file that is sound by its own keys only proves that nobody
without those keys has changed it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import ValidationError

from pilotage.domain.names import promotion_of
from pilotage.domain.passport import CLOSING, Entry, verify_chain
from pilotage.domain.signatures import Jwk, Signature, coordinates, entry_content, head_content, thumbprint
from pilotage.passports.file import FORMAT

_FIELDS = {"format", "passport", "exported_at", "entries", "signatures", "rollbacks", "head", "keys"}


@dataclass
class Verdict:
    """What a file is worth."""

    passport: str = ""
    problems: list[str] = field(default_factory=list)
    entries: int = 0
    closed: bool = False
    """True when it ends with its closing entry."""
    digest: str = ""
    """Of the last entry: what the registry's model bears once the passport is closed."""
    keys: list[str] = field(default_factory=list)
    """Thumbprints of the keys that signed."""
    trusted: bool = False
    """True when all of them are among the keys that the reader trusts."""

    @property
    def sound(self) -> bool:
        return not self.problems


def verify(text: str | bytes, trusted: Mapping[str, Jwk] | None = None, anchor: str | None = None) -> Verdict:
    """Every problem of a file, in the order of its entries. `trusted`: keys by thumbprint; `anchor`: digest of the closing entry."""
    verdict = Verdict()
    try:
        value = json.loads(text, object_pairs_hook=no_doubles)
    except (ValueError, RecursionError) as error:
        verdict.problems.append(f"it is not JSON: {error}")
        return verdict
    try:
        _verify(value, verdict, trusted, anchor)
    except (KeyError, TypeError, ValueError, AttributeError, ValidationError) as error:
        verdict.problems.append(f"it is not a passport file: {type(error).__name__}: {str(error)[:200]}")
    return verdict


def _verify(value: dict[str, Any], verdict: Verdict, trusted: Mapping[str, Jwk] | None, anchor: str | None) -> None:
    problems = verdict.problems
    if value.get("format") != FORMAT:
        problems.append(f"format is {value.get('format')!r}, not {FORMAT!r}")
        return
    if value.keys() != _FIELDS:
        problems.append(f"fields that should not be there or are missing: {sorted(value.keys() ^ _FIELDS)}")
    verdict.passport = str(value["passport"])
    entries = _entries(value["entries"], problems)
    verdict.entries = len(entries)
    if not entries:
        problems.append("there are no entries")
        return
    problems += verify_chain(entries)
    if entries[0].passport != verdict.passport:
        problems.append(f"the entries are of {entries[0].passport}, the file says {verdict.passport}")
    keys = _keys(value["keys"], problems)
    signed = value["signatures"]
    if len(signed) != len(entries):
        problems.append(f"there are {len(signed)} signatures for {len(entries)} entries")
    for position, (entry, signature) in enumerate(zip(entries, signed, strict=False)):
        if signature is None:
            problems.append(f"entry {position} ({entry.step}): is not signed")
        else:
            what = entry_content(verdict.passport, position, entry.digest)
            check_signature(f"entry {position} ({entry.step})", signature, what, keys, verdict)
    head = value["head"]
    verdict.digest = entries[-1].digest
    if head.keys() != {"count", "digest", "signature"} or type(head["count"]) is not int:
        problems.append("head: it has a count, a digest and a signature")
    if (head["count"], head["digest"]) != (len(entries), verdict.digest):
        problems.append(f"head: it was exported with {head['count']} entries up to {head['digest']}; "
                        f"here are {len(entries)} up to {verdict.digest}")
    for rollback in value["rollbacks"]:
        if rollback.keys() != {"passport", "count", "digest"} or promotion_of(rollback["passport"]) != verdict.passport:
            problems.append(f"rollbacks: {rollback.get('passport')} is none of {verdict.passport}")
    statement = head_content(verdict.passport, head["count"], head["digest"], value["exported_at"], value["rollbacks"])
    check_signature("head", head["signature"], statement, keys, verdict)
    _closing(entries, verdict, anchor)
    verdict.keys = sorted(set(verdict.keys))
    if trusted is not None:
        strangers = [kid for kid in verdict.keys if kid not in trusted]
        problems += [f"it is signed by {kid}, which is not among the keys you trust" for kid in strangers]
        verdict.trusted = not strangers


def _entries(values: list[Any], problems: list[str]) -> list[Entry]:
    found = []
    for position, item in enumerate(values):
        try:
            entry = Entry.model_validate(item, strict=True)
        except ValidationError as error:
            problems.append(f"entry {position}: can't be read: {error.errors(include_url=False, include_input=False)[0]['msg']}")
            continue
        # What is not part of an entry is part of no digest either.
        if isinstance(item, dict) and item.keys() != entry.model_dump(mode="json").keys():
            problems.append(f"entry {position}: has fields that no entry has, or lacks some")
        found.append(entry)
    return found


def _keys(values: list[Jwk], problems: list[str]) -> dict[str, Jwk]:
    found = {}
    for jwk in values:
        about = {name: text for name, text in jwk.items() if name != "kid"}
        if about.keys() != {"kty", "crv", "x", "y"} or thumbprint(about) != jwk.get("kid"):
            problems.append(f"keys: {jwk.get('kid')} is not the thumbprint of its key")
        else:
            found[jwk["kid"]] = about
    return found


class Judged(Protocol):
    """What is being verified: where problems and the keys that signed are noted."""

    problems: list[str]
    keys: list[str]


def check_signature(what: str, signature: dict[str, Any], content: bytes, keys: Mapping[str, Jwk], verdict: Judged) -> None:
    """Note why a signature is none of this content; `keys`: by thumbprint."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    try:
        found = Signature.model_validate(signature, strict=True)
        if signature.keys() != {"kid", "alg", "value"}:
            raise ValueError("fields that no signature has")
        raw = found.raw
    except (ValidationError, ValueError, AttributeError) as error:
        verdict.problems.append(f"{what}: its signature can't be read: {str(error).splitlines()[0]}")
        return
    jwk = keys.get(found.kid)
    if jwk is None:
        verdict.problems.append(f"{what}: its key {found.kid} is not in the file")
        return
    verdict.keys.append(found.kid)
    try:
        public = ec.EllipticCurvePublicNumbers(*coordinates(jwk), ec.SECP256R1()).public_key()
        public.verify(encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:])), content, ec.ECDSA(SHA256()))
    except (InvalidSignature, ValueError):
        verdict.problems.append(f"{what}: its signature is not of this content")


def _closing(entries: list[Entry], verdict: Verdict, anchor: str | None) -> None:
    closings = [position for position, entry in enumerate(entries) if entry.kind == CLOSING]
    verdict.closed = closings[-1:] == [len(entries) - 1]
    for position in closings:
        data = entries[position].data
        if position != len(entries) - 1:
            verdict.problems.append(f"entry {position}: closes the passport, and others follow")
        if (data.get("count"), data.get("head")) != (position, entries[position].previous):
            verdict.problems.append(f"entry {position}: closes {data.get('count')} entries up to {data.get('head')}, "
                                    "which is not what is before it")
    if anchor is not None and (not verdict.closed or anchor != verdict.digest):
        verdict.problems.append(f"the closing entry is {verdict.digest if verdict.closed else 'not there'}, not {anchor} as anchored")


def no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A name that is there twice would let two readers read two files."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found
