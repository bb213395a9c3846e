"""Signatures of passports: what is signed, and how a key is named. ES256 (RFC 7518); keys as JWK (RFC 7517)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pilotage.domain.assets import Frozen
from pilotage.domain.canonical import canonical_json

Jwk = dict[str, str]


class Signature(Frozen):
    """A signature and the key that made it."""

    kid: str
    """Thumbprint of the key (RFC 7638), so that no other key can bear its name."""
    alg: Literal["ES256"] = "ES256"
    value: str
    """R and S, 32 bytes each, base64url."""

    @classmethod
    def of(cls, kid: str, raw: bytes) -> Signature:
        return cls(kid=kid, value=_text(raw))

    @property
    def raw(self) -> bytes:
        """Raises ValueError when it is not 64 bytes of base64url."""
        content = _bytes(self.value)
        if len(content) != 64 or _text(content) != self.value:
            raise ValueError("a signature is 64 bytes in base64url")
        return content


def es256_jwk(x: int, y: int) -> Jwk:
    return {"kty": "EC", "crv": "P-256", "x": _text(x.to_bytes(32)), "y": _text(y.to_bytes(32))}


def coordinates(jwk: Jwk) -> tuple[int, int]:
    """Of a P-256 key. Raises ValueError for any other."""
    if (jwk.get("kty"), jwk.get("crv")) != ("EC", "P-256"):
        raise ValueError("only P-256 keys sign passports")
    return int.from_bytes(_bytes(jwk["x"])), int.from_bytes(_bytes(jwk["y"]))


def thumbprint(jwk: Jwk) -> str:
    """The key's name: RFC 7638 over its required members."""
    return _text(hashlib.sha256(canonical_json({name: jwk[name] for name in ("crv", "kty", "x", "y")})).digest())


def entry_content(passport: str, sequence: int, digest: str) -> bytes:
    """What is signed of one entry."""
    return canonical_json({"pilotage": "passport-entry/1", "passport": passport, "sequence": sequence, "digest": digest})


def head_content(passport: str, count: int, head: str, exported_at: str, rollbacks: Sequence[Mapping[str, Any]]) -> bytes:
    """What is signed of a passport as a whole when it is exported: an entry that is missing at its end shows."""
    return canonical_json({"pilotage": "passport-head/1", "passport": passport, "count": count, "head": head, "exported_at": exported_at,
                           "rollbacks": list(rollbacks)})


def manifest_content(statement: Mapping[str, Any]) -> bytes:
    """What is signed of an audit: what its manifest says of every file."""
    return canonical_json({"pilotage": "audit-manifest/1", "statement": dict(statement)})


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, UnicodeEncodeError) as error:
        raise ValueError("it is not base64url") from error
