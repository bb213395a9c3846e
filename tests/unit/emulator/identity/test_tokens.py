"""Keys and signatures."""

from __future__ import annotations

import stat
from pathlib import Path

import jwt
import pytest

from emulator.errors import Unauthorized
from emulator.identity.tokens import TokenSigner


def test_a_token_is_verified_with_the_published_key(tmp_path: Path) -> None:
    signer = TokenSigner(tmp_path)
    token = signer.sign({"aud": "a"})
    keys = jwt.PyJWKSet.from_dict(signer.key_set())
    assert jwt.decode(token, keys[jwt.get_unverified_header(token)["kid"]], algorithms=["RS256"], audience="a")["aud"] == "a"


def test_tokens_outlive_a_restart_and_a_rotation(tmp_path: Path) -> None:
    first = TokenSigner(tmp_path)
    old = first.sign({"n": 1})
    first.rotate()
    new = first.sign({"n": 2})
    assert jwt.get_unverified_header(old)["kid"] != jwt.get_unverified_header(new)["kid"]
    again = TokenSigner(tmp_path)
    assert [again.claims(token)["n"] for token in (old, new)] == [1, 2]
    assert jwt.get_unverified_header(again.sign({}))["kid"] == jwt.get_unverified_header(new)["kid"]


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    TokenSigner(tmp_path)
    assert [stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.pem")] == [0o600]


def test_what_it_did_not_sign_or_what_is_over_is_refused(tmp_path: Path) -> None:
    signer, stranger = TokenSigner(tmp_path / "a"), TokenSigner(tmp_path / "b")
    good = signer.sign({"n": 1})
    head, payload, signature = good.split(".")
    forged = jwt.encode({"n": 1}, "secret" * 8, algorithm="HS256", headers={"kid": jwt.get_unverified_header(good)["kid"]})
    altered = (f"{head}.{payload}.{signature[:-4]}AAAA", f"{head}.{payload}.", "", "x.y.z")
    for token in (stranger.sign({}), signer.sign({}, lifetime=-1), forged, *altered):
        with pytest.raises(Unauthorized):
            signer.claims(token)
