"""Bearer tokens: signed by the issuer, for us, now, by somebody with an object id."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from pilotage.errors import TokenExpired, Unauthenticated, Unavailable
from pilotage.identity import BearerIdentity, SigningKeys
from pilotage.identity.keys import KEEP_FOR, REFRESH_AFTER

ISSUER = "https://login.example/tenant/v2.0"
AUDIENCE = "api://pilotage"
KEYS = {name: rsa.generate_private_key(public_exponent=65537, key_size=2048) for name in ("k1", "k2", "stranger")}


class Issuer:
    """An issuer's two documents; counts how often they are read."""

    def __init__(self, *published: str) -> None:
        self.published, self.reads, self.down = list(published), 0, False
        self.issuer = ISSUER
        self.extra: list[dict[str, Any]] = []

    def fetch(self, url: str) -> dict[str, Any]:
        if self.down:
            raise Unavailable("down")
        if url == f"{ISSUER}/.well-known/openid-configuration":
            self.reads += 1
            return {"issuer": self.issuer, "jwks_uri": "https://login.example/keys"}
        assert url == "https://login.example/keys"
        keys = [{**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(KEYS[name].public_key())), "kid": name, "use": "sig"}
                for name in self.published]
        return {"keys": keys + self.extra}


class Watch:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def _identity(issuer: Issuer, watch: Watch | None = None) -> BearerIdentity:
    return BearerIdentity(ISSUER, AUDIENCE, SigningKeys(ISSUER, issuer.fetch, watch or Watch()))


def _token(key: str = "k1", kid: str | None = None, algorithm: str = "RS256", **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": AUDIENCE, "iat": now, "nbf": now, "exp": now + 600, "tid": "tenant", "oid": "oid-grace",
              "name": "Grace Hopper", "preferred_username": "grace@example.org", "roles": ["Pilotage.Approver"], "groups": ["ml-leads"],
              **changes}
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, KEYS[key], algorithm=algorithm, headers={"kid": kid or key})


def test_a_good_token_tells_who_it_is() -> None:
    actor = _identity(Issuer("k1")).verify(f"Bearer {_token()}")
    assert (actor.object_id, actor.name, actor.roles, actor.groups) == ("oid-grace", "Grace Hopper", ["Pilotage.Approver"], ["ml-leads"])
    assert "example.org" not in actor.model_dump_json(), "no e-mail address goes further"


def test_a_service_without_name_roles_or_groups_is_somebody_too() -> None:
    actor = _identity(Issuer("k1")).verify(f"bearer {_token(name=None, roles=None, groups='not-a-list')}")
    assert (actor.name, actor.roles, actor.groups) == ("", [], [])


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic Z3JhY2U6aG9wcGVy", "Bearer not.a.token", "Bearer a.b.c",
                                    f"Token {_token()}"], ids=["none", "empty", "scheme", "blank", "basic", "dots", "letters",
                                                        "other-scheme"])
def test_what_is_no_bearer_token_is_refused(header: str | None) -> None:
    with pytest.raises(Unauthenticated):
        _identity(Issuer("k1")).verify(header)


@pytest.mark.parametrize("changes", [
    {"exp": 1}, {"nbf": 4102444800}, {"iat": 4102444800}, {"aud": "api://other"}, {"aud": None}, {"iss": "https://login.example/other/v2.0"},
    {"iss": None}, {"exp": None}, {"nbf": None}, {"iat": None}, {"oid": None}, {"oid": ""}, {"oid": ["oid-grace"]},
    {"tid": None}, {"tid": "other"}, {"tid": ["tenant"]}, {"aud": "client-of-another"}, {"aud": [AUDIENCE[:-1]]},
    {"key": "stranger"}, {"key": "stranger", "kid": "k1"}, {"algorithm": "RS512"},
], ids=str)
def test_a_token_that_is_wrong_in_one_thing_is_refused(changes: dict[str, Any]) -> None:
    token = _token(**changes)
    with pytest.raises(Unauthenticated) as caught:
        _identity(Issuer("k1")).verify(f"Bearer {token}")
    assert token not in str(caught.value)
    assert caught.value.__cause__ is None, "the cause may quote the token"


def test_only_a_token_that_was_good_is_told_to_have_expired() -> None:
    """Who is told so signs in again; a forged token must not become a round trip to the issuer."""
    with pytest.raises(TokenExpired):
        _identity(Issuer("k1")).verify(f"Bearer {_token(exp=1)}")
    for changes in ({"key": "stranger", "kid": "k1"}, {"kid": "made-up"}):
        with pytest.raises(Unauthenticated) as caught:
            _identity(Issuer("k1")).verify(f"Bearer {_token(exp=1, **changes)}")
        assert not isinstance(caught.value, TokenExpired)


def test_a_token_for_the_client_id_is_for_us_too() -> None:
    identity = BearerIdentity(ISSUER, [AUDIENCE, "client-pilotage"], SigningKeys(ISSUER, Issuer("k1").fetch))
    assert identity.verify(f"Bearer {_token(aud='client-pilotage')}").object_id == "oid-grace"
    with pytest.raises(Unauthenticated, match="not for api://pilotage or client-pilotage"):
        identity.verify(f"Bearer {_token(aud='client-other')}")


@pytest.mark.parametrize("claims", [
    {"_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://evil.example/steal"}}},
    {"_claim_names": {"groups": "src1"}}, {"hasgroups": True}, {"hasgroups": "true"}])
def test_a_token_that_leaves_groups_out_says_so(claims: dict[str, Any]) -> None:
    actor = _identity(Issuer("k1")).verify(f"Bearer {_token(groups=None, **claims)}")
    assert (actor.groups, actor.groups_overage) == ([], True)


@pytest.mark.parametrize("claims", [
    {}, {"groups": None}, {"_claim_names": "groups"}, {"_claim_names": {"other": "src1"}, "groups": None}, {"hasgroups": False}])
def test_a_token_with_its_groups_or_none_needs_nobody_to_ask(claims: dict[str, Any]) -> None:
    assert not _identity(Issuer("k1")).verify(f"Bearer {_token(**claims)}").groups_overage


def test_clocks_may_differ_a_little() -> None:
    _identity(Issuer("k1")).verify(f"Bearer {_token(nbf=int(time.time()) + 20)}")


@pytest.mark.parametrize("form", [serialization.PublicFormat.SubjectPublicKeyInfo, serialization.PublicFormat.PKCS1])
@pytest.mark.parametrize("algorithm", ["none", "None", "", "HS256", "RS256"])
def test_an_unsigned_token_and_one_signed_with_the_public_key_are_refused(algorithm: str, form: serialization.PublicFormat) -> None:
    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    body = jwt.decode(_token(), options={"verify_signature": False})
    signed = f"{part(json.dumps({'alg': algorithm, 'kid': 'k1'}).encode())}.{part(json.dumps(body).encode())}"
    public = KEYS["k1"].public_key().public_bytes(serialization.Encoding.PEM, form)
    signature = part(hmac.digest(public, signed.encode(), "sha256")) if "S256" in algorithm else ""
    with pytest.raises(Unauthenticated):
        _identity(Issuer("k1")).verify(f"Bearer {signed}.{signature}")


# --- the issuer's keys ----------------------------------------------------------------------------

def test_keys_are_read_once_and_again_for_a_new_one() -> None:
    issuer, watch = Issuer("k1"), Watch()
    identity = _identity(issuer, watch)
    for _ in range(5):
        identity.verify(f"Bearer {_token()}")
    assert issuer.reads == 1
    issuer.published.append("k2")
    watch.now += REFRESH_AFTER + 1
    identity.verify(f"Bearer {_token('k2')}")
    assert issuer.reads == 2


def test_made_up_key_ids_do_not_become_requests() -> None:
    issuer, watch = Issuer("k1"), Watch()
    identity = _identity(issuer, watch)
    identity.verify(f"Bearer {_token()}")
    for number in range(20):
        with pytest.raises(Unauthenticated):
            identity.verify(f"Bearer {_token('stranger', kid=f'made-up-{number}')}")
    assert issuer.reads == 1
    watch.now += REFRESH_AFTER + 1
    for number in range(20):
        with pytest.raises(Unauthenticated):
            identity.verify(f"Bearer {_token('stranger', kid=f'made-up-{number}')}")
    assert issuer.reads == 2


def test_a_withdrawn_key_is_forgotten() -> None:
    issuer, watch = Issuer("k1", "k2"), Watch()
    identity = _identity(issuer, watch)
    identity.verify(f"Bearer {_token('k2')}")
    issuer.published.remove("k2")
    watch.now += KEEP_FOR + 1
    identity.verify(f"Bearer {_token('k1')}")
    with pytest.raises(Unauthenticated):
        identity.verify(f"Bearer {_token('k2')}")


def test_known_keys_outlast_a_short_outage_of_the_issuer() -> None:
    issuer, watch = Issuer("k1"), Watch()
    identity = _identity(issuer, watch)
    identity.verify(f"Bearer {_token()}")
    issuer.down = True
    watch.now += KEEP_FOR + 1
    identity.verify(f"Bearer {_token()}")
    watch.now += KEEP_FOR
    with pytest.raises(Unavailable):
        identity.verify(f"Bearer {_token()}")


def test_an_issuer_that_cannot_be_read_is_our_trouble_not_the_callers() -> None:
    issuer = Issuer("k1")
    issuer.down = True
    with pytest.raises(Unavailable):
        _identity(issuer).verify(f"Bearer {_token()}")


def test_another_issuers_document_is_refused() -> None:
    issuer = Issuer("k1")
    issuer.issuer = "https://login.example/other/v2.0"
    with pytest.raises(Unavailable, match="PILOTAGE_AUTH_ISSUER"):
        _identity(issuer).verify(f"Bearer {_token()}")


def test_keys_for_other_uses_are_left_out() -> None:
    issuer = Issuer("k1")
    issuer.extra = [{"kty": "oct", "kid": "shared", "k": "AAAA"}, {"kty": "RSA", "use": "enc", "kid": "k2", "n": "AQAB", "e": "AQAB"},
                    {"kty": "RSA", "n": "AQAB", "e": "AQAB"}]
    _identity(issuer).verify(f"Bearer {_token()}")
    with pytest.raises(Unauthenticated):
        _identity(issuer).verify(f"Bearer {_token('k2')}")
